//! Any service as one type: what stands between others when it is configured, and is not there when it is not.

use std::{fmt, future::Future, pin::Pin, sync::Arc, task::Context, task::Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::{Body, Failure};

/// A service whose own type nobody needs to know. Clones are the same one.
///
/// A request costs it a clone of what is inside and one allocation, for the future.
#[derive(Clone)]
pub struct Stage(Arc<dyn Call>);

/// An answer to come.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send>>;

trait Call: Send + Sync {
    fn call(&self, request: Request<Body>) -> Answering;
}

impl<S> Call for S
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure> + Clone + Send + Sync,
    S::Future: Send + 'static,
{
    fn call(&self, request: Request<Body>) -> Answering {
        Box::pin(Service::call(&mut self.clone(), request))
    }
}

impl Stage {
    /// `service` as a stage. It must be ready at any time, as all of ours are.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Failure> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self(Arc::new(service))
    }
}

impl Service<Request<Body>> for Stage {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        self.0.call(request)
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").finish_non_exhaustive()
    }
}
