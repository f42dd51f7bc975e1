//! What of a request is told to those who see its answer only, and where it was to go.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

use crate::{
    Body, authority,
    facts::{Base, End, Facts, Scheme},
    front::rewrite::Subject,
};

/// What is kept of a request for when its answer is there.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// How it came.
    pub(super) scheme: Scheme,
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    client: End,
    /// Those of its fields that somebody wants to see.
    fields: HeaderMap,
    /// What its path begins with that is not its own here.
    base: Option<Arc<str>>,
}

impl Asked {
    /// What `request` says; of its fields, those that are `wanted`.
    pub(super) fn of(request: &Request<Body>, wanted: &[HeaderName]) -> Self {
        let facts = request.extensions().get::<Facts>();
        let mut fields = HeaderMap::new();
        for name in wanted {
            let lines = request.headers().get_all(name).iter();
            fields.extend(lines.map(|line| (name.clone(), line.clone())));
        }
        Self {
            scheme: scheme(request),
            method: request.method().clone(),
            uri: request.uri().clone(),
            host: request.headers().get(header::HOST).cloned(),
            client: facts.map_or(End::Unknown, Facts::client),
            fields,
            base: facts.filter(|facts| facts.base == Base::InPath).map(|facts| Arc::clone(&facts.path_base)),
        }
    }

    /// As rules see it.
    pub(super) fn subject(&self) -> Subject<'_> {
        let path = below(self.uri.path(), self.base.as_deref());
        Subject::new(path, self.uri.query(), self.method.as_str(), &self.fields).asked(
            self.scheme,
            authority::of_parts(&self.uri, self.host.as_ref()),
            self.client,
        )
    }
}

/// As rules see it.
pub(super) fn subject(request: &Request<Body>) -> Subject<'_> {
    let facts = request.extensions().get::<Facts>();
    let path = below(request.uri().path(), facts.and_then(base));
    Subject::new(path, request.uri().query(), request.method().as_str(), request.headers()).asked(
        scheme(request),
        authority::of(request),
        facts.map_or(End::Unknown, Facts::client),
    )
}

/// What the path of a request begins with that is not its own here.
pub(super) fn base(facts: &Facts) -> Option<&str> {
    (facts.base == Base::InPath).then_some(&*facts.path_base)
}

/// A path without its base; never empty.
fn below<'a>(path: &'a str, base: Option<&str>) -> &'a str {
    match base.and_then(|base| path.strip_prefix(base)) {
        Some("") => "/",
        Some(rest) => rest,
        None => path,
    }
}

/// How a request came, as its client sees it.
pub(super) fn scheme(request: &Request<Body>) -> Scheme {
    request.extensions().get::<Facts>().map_or(Scheme::Http, |facts| facts.scheme)
}

/// Path and query as they are by now, the path base included.
pub(super) fn target(request: &Request<Body>) -> String {
    let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    // `*`, of OPTIONS, is nowhere else.
    let target = if target.starts_with('/') { target } else { "/" };
    match request.extensions().get::<Facts>() {
        Some(facts) if facts.base == Base::Removed => format!("{}{target}", facts.path_base),
        _ => target.to_owned(),
    }
}
