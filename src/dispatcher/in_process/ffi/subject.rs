//! Which request something is for that outlives it: a body that the application still makes, an upgraded connection.

use http::{Method, request::Parts, uri::PathAndQuery};

use super::{Detached, Exchange};
use crate::{
    facts::{Facts, RequestId},
    recorder::About,
};

/// What is kept of a request, to name it.
pub(super) struct Subject {
    pub(super) request: RequestId,
    method: Method,
    path: Option<PathAndQuery>,
}

impl Subject {
    pub(super) fn of((parts, facts): (&Parts, &Facts)) -> Self {
        Self {
            request: facts.request_id,
            method: parts.method.clone(),
            path: parts.uri.path_and_query().cloned(),
        }
    }
}

impl About for Subject {
    fn request(&self) -> RequestId {
        self.request
    }

    fn line(&self) -> Option<(&str, &str)> {
        Some((self.method.as_str(), self.path.as_ref().map_or("", PathAndQuery::path)))
    }
}

impl About for Exchange {
    fn request(&self) -> RequestId {
        self.facts.request_id
    }

    fn line(&self) -> Option<(&str, &str)> {
        Some((self.parts.method.as_str(), self.parts.uri.path()))
    }
}

impl About for Detached {
    fn request(&self) -> RequestId {
        self.made_of().1.request_id
    }

    fn line(&self) -> Option<(&str, &str)> {
        let (parts, _) = self.made_of();
        Some((parts.method.as_str(), parts.uri.path()))
    }
}
