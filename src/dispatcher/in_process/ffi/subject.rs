//! Which request something is for that outlives it: a body that the application still makes, an upgraded connection.

use http::{Method, request::Parts, uri::PathAndQuery};

use super::{Detached, Exchange};
use crate::{
    dispatcher::in_process::{generation::Lease, threads},
    facts::{Facts, RequestId},
    recorder::{About, Registered},
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

/// Whose functions are called later (a waker, a callback, the release of bytes), and for which request. The recorder
/// knows its method and path as long as a thread does that was inside the application for it.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    watch: Registered,
    pub(super) request: RequestId,
}

impl Owner {
    pub(super) fn of(lease: &Lease, request: RequestId) -> Self {
        Self { watch: lease.watch, request }
    }

    #[cfg(test)]
    pub(super) fn nobody() -> Self {
        Self { watch: Registered::new("nobody".into(), 1, None), request: RequestId(0) }
    }

    /// As long as the result lives, what this thread does is the owner's doing.
    pub(super) fn enter(&self) -> threads::Inside {
        threads::enter(self.watch, &self.request)
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
