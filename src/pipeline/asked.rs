//! What of a request is told to those who see its answer only, and where it was to go.

use http::{HeaderValue, Request, header};

use crate::{
    Body,
    facts::{Facts, Scheme},
};

/// What is kept of a request for when its answer is there.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// How it came.
    pub(super) scheme: Scheme,
}

impl Asked {
    /// What `request` says.
    pub(super) fn of(request: &Request<Body>) -> Self {
        Self { scheme: scheme(request) }
    }
}

/// How a request came, as its client sees it.
pub(super) fn scheme(request: &Request<Body>) -> Scheme {
    request.extensions().get::<Facts>().map_or(Scheme::Http, |facts| facts.scheme)
}

/// The authority that a client asked for; empty if it named none.
pub(super) fn authority(request: &Request<Body>) -> &str {
    let field = || request.headers().get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => std::str::from_utf8(field()).unwrap_or_default(),
    }
}

/// Path and query as they are by now, the path base included.
pub(super) fn target(request: &Request<Body>) -> String {
    let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    // `*`, of OPTIONS, is nowhere else.
    let target = if target.starts_with('/') { target } else { "/" };
    match request.extensions().get::<Facts>() {
        Some(facts) if facts.base == crate::facts::Base::Removed => format!("{}{target}", facts.path_base),
        _ => target.to_owned(),
    }
}
