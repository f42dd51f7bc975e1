//! Which of a site's applications a request is for, by its path.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
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

    /// The longest path base that is a whole number of the path's first segments.
    fn find(&self, path: &str) -> Option<&(Arc<str>, S)> {
        self.0.iter().find(|(base, _)| {
            path.strip_prefix(&**base)
                .is_some_and(|rest| base.is_empty() || rest.is_empty() || rest.starts_with('/'))
        })
    }
}

impl<S> Paths<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure> + Clone,
{
    /// Hands `request` to the application at its path.
    pub(super) fn enter(&self, mut request: Request<Body>) -> Routing<S::Future> {
        let Some((base, application)) = self.find(request.uri().path()) else {
            return Routing::nowhere(Failure::new(Code::NoApplication));
        };
        if !base.is_empty()
            && let Some(facts) = request.extensions_mut().get_mut::<Facts>()
        {
            facts.path_base = Arc::clone(base);
            facts.base = Base::InPath;
        }
        Routing::application(application.clone().call(request))
    }
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
