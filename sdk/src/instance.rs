//! One started application: its service, its runtime, and what they share.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use cohost_abi::{Code, code};

use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::{
    BoxError, Context, clock,
    context::Place,
    ffi::Host,
    panics,
    scope::{self, Scope},
    shapes::Shapes,
};

/// What requests need of their instance while they last.
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) handle: Handle,
    pub(crate) shapes: Shapes,
}

/// An application that was started.
pub(crate) struct Instance<S> {
    pub(crate) service: S,
    runtime: Runtime,
    pub(crate) shared: Arc<Shared>,
    pub(crate) drain: watch::Sender<bool>,
}

impl<S> Instance<S> {
    /// Starts an application: waits until `make` has made its service.
    pub(crate) fn start<Fut, E>(
        host: Host,
        place: Place,
        runtime_threads: u32,
        make: impl FnOnce(Context) -> Fut,
    ) -> Result<Self, BoxError>
    where
        Fut: Future<Output = Result<S, E>>,
        E: Into<BoxError>,
    {
        let runtime = runtime(&place.name, runtime_threads)
            .map_err(|error| format!("its runtime could not be started: {error}"))?;
        let (drain, draining) = watch::channel(false);
        let shared = Arc::new(Shared { host, handle: runtime.handle().clone(), shapes: Shapes::new() });
        let context = Context::new(host, place, draining);
        let scope = Scope::enter(std::ptr::null_mut(), 0);
        let made = catch_unwind(AssertUnwindSafe(|| runtime.block_on(make(context)).map_err(Into::into)));
        drop(scope);
        match made.unwrap_or_else(|panic| Err(panics::Panicked::with(&*panic).into())) {
            Ok(service) => Ok(Self { service, runtime, shared, drain }),
            Err(error) => {
                // Dropping it would wait for whatever the start has left running.
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Drops the service, then waits for the runtime's threads until `deadline_ns`.
    pub(crate) fn end(self, deadline_ns: u64) -> Code {
        let Self { service, runtime, shared, drain } = self;
        drain.send_replace(true);
        let entered = shared.handle.enter();
        drop(service);
        drop(entered);
        runtime.shutdown_timeout(clock::until(deadline_ns));
        if clock::until(deadline_ns).is_zero() { code::E_TIMEOUT } else { code::DONE }
    }
}

/// The application's runtime: `threads` of them, named after it.
fn runtime(name: &str, threads: u32) -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1) as usize)
        .thread_name(format!("{name}-rt"))
        .on_thread_start(scope::own_thread)
        .enable_all()
        .build()
}
