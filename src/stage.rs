//! Any service as one type: what stands between others when it is configured, and is not there when it is not.

use std::{fmt, future::Future, pin::Pin, sync::Arc, task::Context, task::Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::{Body, Failure};

/// A service whose own type nobody needs to know. Clones are the same one.
///
/// A request costs it one allocation, for the future; and, if a service is inside, a clone of that.
#[derive(Clone)]
pub struct Stage(Arc<dyn Serve>);

/// An answer to come.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send>>;

/// Answers requests, whenever they come and however many at a time. Every service that is ready at any time, and whose
/// clones are the same, does so; a stage that is always behind others need not be one.
pub trait Serve: Send + Sync {
    /// The answer to `request`.
    fn serve(&self, request: Request<Body>) -> Answering;
}

impl<S> Serve for S
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure> + Clone + Send + Sync,
    S::Future: Send + 'static,
{
    fn serve(&self, request: Request<Body>) -> Answering {
        Box::pin(self.clone().call(request))
    }
}

impl Stage {
    /// `inside` as a stage. A service must be ready at any time, as all of ours are.
    pub fn new(inside: impl Serve + 'static) -> Self {
        Self(Arc::new(inside))
    }

    /// The answer to `request`, without a clone of this.
    pub fn serve(&self, request: Request<Body>) -> Answering {
        self.0.serve(request)
    }

    /// Whether both are the same, with nothing around one of them.
    #[cfg(all(test, feature = "front"))]
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
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
        self.serve(request)
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").finish_non_exhaustive()
    }
}
