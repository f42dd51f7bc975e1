//! Which of a site's applications a request is for, by its path.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Uri, uri::PathAndQuery};
use tower_service::Service;

use super::Routing;
use crate::{
    Body, Failure,
    facts::{Base, Facts},
    failure::Code,
};

/// Hands requests to the applications of one site. Clones are the same.
#[derive(Debug)]
pub struct Paths<S>(
    /// Longest path first.
    Arc<[(Arc<str>, S)]>,
);

impl<S> Clone for Paths<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Paths<S> {
    /// To these applications, by path base: `""`, `/shop`.
    #[must_use]
    pub fn new(mut applications: Vec<(Arc<str>, S)>) -> Self {
        applications.sort_by_key(|(base, _)| std::cmp::Reverse(base.len()));
        Self(applications.into())
    }

    /// The longest path base that is a whole number of the path's first segments, however they are spelled; and what the
    /// path has behind them.
    fn find<'p>(&self, path: &'p str) -> Option<(&(Arc<str>, S), &'p str)> {
        let is_plain = !path.contains('%');
        self.0.iter().find_map(|application| {
            let base = &*application.0;
            let rest = if is_plain { path.strip_prefix(base) } else { behind(base, path) }?;
            (base.is_empty() || rest.is_empty() || rest.starts_with('/')).then_some((application, rest))
        })
    }
}

impl<S> Paths<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure> + Clone,
{
    /// Hands `request` to the application at its path.
    pub(super) fn enter(&self, mut request: Request<Body>) -> Routing<S::Future> {
        let path = request.uri().path();
        let Some(((base, application), rest)) = self.find(path) else {
            return Routing::nowhere(Failure::new(Code::NoApplication));
        };
        if rest.len() + base.len() != path.len() {
            let spelled = format!("{base}{rest}");
            if let Err(failure) = spell(&mut request, spelled) {
                return Routing::nowhere(failure);
            }
        }
        if !base.is_empty()
            && let Some(facts) = request.extensions_mut().get_mut::<Facts>()
        {
            facts.path_base = Arc::clone(base);
            facts.base = Base::InPath;
        }
        Routing::application(application.clone().call(request))
    }
}

/// What `path` has behind `base`, of which some characters are escaped. An application would take the path for one below
/// that base, and so must all that guards it; an escaped slash separates nothing.
fn behind<'p>(base: &str, path: &'p str) -> Option<&'p str> {
    let (bytes, mut at) = (path.as_bytes(), 0);
    for byte in base.bytes() {
        at += match bytes.get(at..)? {
            [next, ..] if *next == byte => 1,
            [b'%', high, low, ..] if byte != b'/' && byte_of([*high, *low]) == Some(byte) => 3,
            _ => return None,
        };
    }
    path.get(at..)
}

fn byte_of(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

/// Gives a request that path in place of its own, which is kept.
fn spell(request: &mut Request<Body>, mut path: String) -> Result<(), Failure> {
    let malformed = |error: http::Error| Failure::new(Code::BadRequest).detail("it is no path").source(error);
    let mut parts = request.uri().clone().into_parts();
    let sent = parts.path_and_query.take();
    if let Some(query) = request.uri().query() {
        path.push('?');
        path.push_str(query);
    }
    let spelled =
        PathAndQuery::from_maybe_shared(Bytes::from(path)).map_err(|error| malformed(error.into()))?;
    parts.path_and_query = Some(spelled);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| malformed(error.into()))?;
    if let Some(facts) = request.extensions_mut().get_mut::<Facts>()
        && facts.target.is_none()
    {
        facts.target = sent.map(|sent| Bytes::copy_from_slice(sent.as_str().as_bytes()));
    }
    Ok(())
}

impl<S> Service<Request<Body>> for Paths<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure> + Clone,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Routing<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Routing<S::Future> {
        self.enter(request)
    }
}
