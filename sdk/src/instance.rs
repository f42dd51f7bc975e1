//! One started application: its service, its runtime, and what they share.

use std::sync::Arc;

use cohost_abi::{Code, code};

use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::{clock, ffi::Host, scope, shapes::Shapes};

/// What requests need of their instance while they last.
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) handle: Handle,
    pub(crate) shapes: Shapes,
}

/// An application that was started.
pub(crate) struct Instance<S> {
    pub(crate) service: S,
    pub(crate) runtime: Runtime,
    pub(crate) shared: Arc<Shared>,
    pub(crate) drain: watch::Sender<bool>,
}

/// The application's runtime: `threads` of them, named after it.
pub(crate) fn runtime(name: &str, threads: u32) -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1) as usize)
        .thread_name(format!("{name}-rt"))
        .on_thread_start(scope::own_thread)
        .enable_all()
        .build()
}

impl<S> Instance<S> {
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
