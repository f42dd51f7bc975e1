//! One application's life: idle, starting, running, stopped; and the service that requests come to.
//!
//! In: requests that are for this application. Out: its answers, or why there are none. Never: looks at how the
//! application is hosted on the way of a request: that was decided when it was started.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use cohost::{Application, HostingModel};
//!
//! let shop = Application::builder()
//!     .library("target/release/libshop.so")
//!     .hosting_model(HostingModel::InProcess)
//!     .build()?;
//! # Ok(()) }
//! ```

mod builder;
mod call_off;
mod current;
#[cfg(feature = "out-of-process")]
mod hand_back;
mod idle;
mod retire;
mod start;
mod starting;
mod status;
mod warmup;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

pub use builder::{Artifact, BuildError, Builder};
pub use current::Current;
use current::Shared;
pub use retire::Successor;
pub use status::{Failed, State, Status};

use crate::{
    Body, HostingModel,
    body::BodyError,
    dispatcher::in_process::Ended,
    facts::{Base, Facts},
    http::{Answer, ErrorPage},
    pipeline::{BodyLimit, Concurrency, Deadline},
};

/// What surrounds an application, outermost first.
///
/// The size of the body comes first: one that is too large needs no deadline. The deadline comes before the number of
/// requests: waiting for a turn is a part of what it limits.
pub type Hosted = BodyLimit<Deadline<Concurrency<Current>>>;

/// An application that is hosted: a cloneable service. Clones are the same application.
///
/// It starts with its first request, or with [`start`](Self::start). Dropping the last clone ends the processes of an
/// application out of process; one in process stays as it is until the program ends, unless [`stop`](Self::stop) was
/// called.
#[derive(Clone, Debug)]
pub struct Application {
    shared: Arc<Shared>,
    service: Answer<Hosted>,
    hosted: Hosted,
}

impl Application {
    /// Describes an application.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn new(shared: Shared, page: ErrorPage) -> Self {
        let shared = Arc::new(shared);
        let options = &shared.definition.options;
        let current = Current::new(Arc::clone(&shared));
        let concurrency = Concurrency::new(current, options.max_concurrent_requests, options.request_queue);
        let deadline = Deadline::new(concurrency, options.request_timeout);
        let hosted = BodyLimit::new(deadline, options.max_request_body);
        let service = Answer::new(hosted.clone(), Arc::new(page));
        Self { shared, service, hosted }
    }

    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.shared.definition.name
    }

    /// Its path prefix, `""` at the root.
    #[must_use]
    pub fn path_base(&self) -> &Arc<str> {
        &self.shared.definition.path_base
    }

    /// Where its code runs.
    #[must_use]
    pub fn hosting_model(&self) -> HostingModel {
        self.shared.definition.hosting_model
    }

    /// The service without the outermost layer: its errors are still failures. For servers that make pages of their
    /// own, such as [`Server`](crate::Server).
    #[must_use]
    pub fn hosted(&self) -> Hosted {
        self.hosted.clone()
    }

    /// How it is: whether it runs, since when it does not, and why.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Starts it now, instead of with its first request.
    ///
    /// # Errors
    /// Returns why it did not start. A later request tries again.
    pub async fn start(&self) -> Result<(), crate::Failure> {
        self.shared.dispatcher().await.map(|_| ())
    }

    /// Tells it that its end is near, so that it ends what would otherwise go on for ever. It still serves.
    pub async fn notify_drain(&self) {
        self.shared.notify_drain().await;
    }

    /// Has the request say for whom it was made, if a trusted proxy made it and nobody has read that yet.
    #[cfg(feature = "server")]
    fn believe(&self, request: &mut Request<Body>) {
        let trusted = &self.shared.definition.trusted;
        let of_a_proxy = |facts: &Facts| facts.forwarded.is_none() && trusted.covers(&facts.connection.peer);
        let Some(facts) = request.extensions_mut().get_mut::<Facts>().filter(|facts| of_a_proxy(facts))
        else {
            return;
        };
        let mut facts = facts.clone();
        crate::forwarded::believe(request, &mut facts, trusted);
        request.extensions_mut().insert(facts);
    }

    /// Stops it for good: requests that come now get 503, those in flight are finished up to `shutdown_timeout`.
    pub async fn stop(&self) -> Ended {
        self.shared.stop().await
    }
}

/// For programs that mount it in a router of theirs; the path base is then what that router took off.
impl<B> Service<Request<B>> for Application
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        if request.extensions().get::<Facts>().is_none() {
            let path_base = Arc::clone(self.path_base());
            request.extensions_mut().insert(Facts { path_base, base: Base::Removed, ..Facts::unknown() });
        }
        #[cfg(feature = "server")]
        self.believe(&mut request);
        Box::pin(self.service.call(request))
    }
}
