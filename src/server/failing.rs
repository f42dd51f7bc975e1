//! Any service, as one whose errors are failures.

use std::task::{Context, Poll};

use futures_util::future::MapErr;
use http::{Request, Response};
use tower_service::Service;

use crate::{Body, Failure};

/// A service whose errors are failures.
#[derive(Clone, Debug)]
pub(super) struct Failing<S>(S);

impl<S> Failing<S> {
    pub(super) fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S> Service<Request<Body>> for Failing<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<Failure>,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = MapErr<S::Future, fn(S::Error) -> Failure>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        futures_util::TryFutureExt::map_err(self.0.call(request), Into::into)
    }
}
