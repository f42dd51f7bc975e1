//! Applications in this process: libraries, loaded and called over the C ABI.
//!
//! In: a request. Out: the application's answer, or a [`Failure`]. Never: a task or a thread hop for an application
//! that answers at once.

mod dispatch;
mod ffi;
mod generation;
mod hang;
mod library;
mod listening;
mod loading;
mod owned;
#[cfg(feature = "out-of-process")]
mod pins;
mod place;
pub mod preflight;
mod threads;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

pub use dispatch::Dispatch;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub use ffi::hostile::answer as read_hostile_answer;
pub use generation::{Ended, Generation, Lease, Running, Start};
pub use hang::{Hang, when_one_hangs};
pub use library::Library;
pub use loading::{Loaded, made, making};
#[cfg(feature = "out-of-process")]
pub use pins::{Pins, Unpinned};
pub use preflight::LoadError;
use tower_service::Service;

use crate::{Body, Failure};

/// Hands requests to one generation of an application.
#[derive(Clone)]
pub struct Dispatcher {
    lease: Arc<Lease>,
}

impl Dispatcher {
    /// A dispatcher to what `running` runs; it keeps that from ending.
    #[must_use]
    pub fn new(running: &Running) -> Self {
        Self { lease: running.lease() }
    }

    /// Hands over a request.
    #[must_use]
    pub fn dispatch(&self, request: http::Request<Body>) -> Dispatch {
        Dispatch::new(Arc::clone(&self.lease), request)
    }

    /// Requests that have not ended, while nobody has a clone of this.
    pub(crate) fn in_flight(&self) -> usize {
        // One is ours, one is that of whoever will end it.
        Arc::strong_count(&self.lease).saturating_sub(2)
    }

    /// The generation.
    #[must_use]
    pub fn generation(&self) -> &Generation {
        &self.lease
    }
}

impl Service<http::Request<Body>> for Dispatcher {
    type Response = http::Response<Body>;
    type Error = Failure;
    type Future = Dispatch;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Dispatch {
        self.dispatch(request)
    }
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher").field("generation", &**self.lease).finish()
    }
}
