//! One process of an out-of-process application.
//!
//! In: a launch. Out: an instance that is ready, or why there is none; later, how it ended. Never: decides when to start
//! another ([`life`](super::life) does), or leaves a process behind.

mod carried;
mod error;
mod identity;
mod output;
mod ownership;
mod prepared;
mod probe;
mod ready;
mod start;
mod watch;

use std::{fmt, sync::Arc, time::Duration};

use tokio::{net::unix::OwnedWriteHalf, sync::watch::Receiver, time::timeout};

pub(super) use self::carried::Carried;
pub(super) use self::output::Tail;
pub(crate) use self::probe::DRAIN_FIELD;
use self::{carried::Kept, probe::Probe};
pub use self::{error::StartError, identity::look_up};
use super::{Endpoint, Exit, Launch, Runner, Shutdown, guard::Order};

/// A process of an application, ready for requests.
///
/// Dropping it kills it, and all that descends from it.
pub struct Instance {
    application: Arc<str>,
    pid: u32,
    endpoint: Endpoint,
    token: Arc<str>,
    path_base: Arc<str>,
    shutdown: Shutdown,
    shutdown_timeout: Duration,
    tail: Tail,
    exit: Receiver<Option<Exit>>,
    /// Closing it is the order to kill.
    orders: OwnedWriteHalf,
    /// Beside those who use it, for whoever goes on with the instance.
    kept: Kept,
}

/// How an instance was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// How the process ended.
    pub exit: Exit,
    /// Whether it had to be killed, because it did not stop in time.
    pub forced: bool,
}

impl Instance {
    /// Starts a process and waits until it is ready, up to the launch's `startup_timeout`.
    ///
    /// Needs a tokio runtime with I/O and time. Dropping the future kills what was started.
    ///
    /// # Errors
    /// It could not be started, ended before it was ready, or was not ready in time. Nothing of it runs any more.
    pub async fn start(launch: &Launch, runner: &Runner) -> Result<Self, StartError> {
        start::start(launch, runner, std::future::pending()).await
    }

    /// The same, unless it is called off. Then nothing of it runs any more when this returns.
    pub(super) async fn start_unless(
        launch: &Launch,
        runner: &Runner,
        called_off: impl Future<Output = ()>,
    ) -> Result<Self, StartError> {
        start::start(launch, runner, called_off).await
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The pairing token: every request to it carries this, and it refuses all others. New with every start.
    #[must_use]
    pub fn token(&self) -> &Arc<str> {
        &self.token
    }

    /// The end of what it printed, up to 30 KB.
    #[must_use]
    pub fn output_tail(&self) -> Arc<str> {
        self.tail.text()
    }

    /// Waits until it has ended, and its descendants and its output with it.
    ///
    /// The future holds nothing of the instance; any number of them may wait.
    pub fn exited(&self) -> impl Future<Output = Exit> + Send + 'static + use<> {
        ended(self.exit.clone())
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Tells a runner of ours that its end is near, so that its application ends what would otherwise go on for ever.
    /// The future holds nothing of the instance.
    pub fn drain_notice(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        drain_notice(&self.endpoint, &self.token)
    }

    /// Asks it to stop, and kills it when `shutdown_timeout` has passed.
    ///
    /// Dropping the future stops waiting; a kill that was not due yet does not happen then.
    pub async fn stop(&self) -> End {
        let graceful = timeout(self.shutdown_timeout, async {
            self.ask().await;
            self.exited().await
        });
        if let Ok(exit) = graceful.await {
            return End { exit, forced: false };
        }
        tracing::warn!(
            application = %self.application, pid = self.pid, limit = ?self.shutdown_timeout,
            "instance did not stop in time; killing it"
        );
        End { exit: self.kill().await, forced: true }
    }

    /// Kills it, and all that descends from it.
    pub async fn kill(&self) -> Exit {
        self.order(Order::Kill);
        timeout(UNKILLABLE, self.exited()).await.unwrap_or(Exit::Lost)
    }

    /// Has it end with SIGABRT, which leaves a core file where the system keeps them. For one that hangs.
    pub fn abort(&self) {
        self.order(Order::Abort);
    }

    async fn ask(&self) {
        if self.shutdown == Shutdown::AspNetCore {
            let probe = Probe::new(&self.endpoint, &self.token);
            // One that is too busy to read a message may still hear a signal.
            if timeout(ANNOUNCEMENT, probe.announce_shutdown(&self.path_base)).await == Ok(true) {
                return;
            }
        }
        self.order(Order::Terminate);
    }

    fn order(&self, order: Order) {
        // A few bytes into an empty buffer. It fails when the guard is gone, and then the instance is, too.
        let _gone = self.orders.try_write(format!("{order}\n").as_bytes());
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token, which is a secret.
        f.debug_struct("Instance")
            .field("application", &self.application)
            .field("pid", &self.pid)
            .field("endpoint", &self.endpoint)
            .field("exit", &self.exit())
            .finish_non_exhaustive()
    }
}

/// Tells the runner that listens there that its end is near.
pub(super) fn drain_notice(
    endpoint: &Endpoint,
    token: &Arc<str>,
) -> impl Future<Output = ()> + Send + 'static + use<> {
    let (endpoint, token) = (endpoint.clone(), Arc::clone(token));
    async move {
        let probe = Probe::new(&endpoint, &token);
        if timeout(ANNOUNCEMENT, probe.announce_drain()).await != Ok(true) {
            tracing::debug!(%endpoint, "instance did not take the notice of its end");
        }
    }
}

async fn ended(mut exit: Receiver<Option<Exit>>) -> Exit {
    match exit.wait_for(Option::is_some).await {
        Ok(exit) => exit.unwrap_or(Exit::Lost),
        // Whoever watched it is gone, with the runtime; the guard kills it then.
        Err(_) => Exit::Lost,
    }
}

/// How long an application may take to confirm the shutdown message.
const ANNOUNCEMENT: Duration = Duration::from_secs(1);
/// How long a killed process may take to be gone before it is given up: it waits inside the system then.
const UNKILLABLE: Duration = Duration::from_secs(10);
