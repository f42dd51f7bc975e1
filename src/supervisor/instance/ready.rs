//! When an instance is ready.
//!
//! In: where it listens, and what counts as ready. Out: that it is, or that somebody else has its port. Never: gives up
//! by itself; whoever waits has the clock, and sees the process end.

use std::{fmt, io, time::Duration};

use http::StatusCode;
use tokio::{net::UnixDatagram, time::sleep};

use super::{
    super::{Endpoint, Ready},
    ownership::{Owner, Reach, owner},
    probe::Probe,
};

/// What readiness is seen from.
pub(super) struct Signs<'a> {
    pub(super) application: &'a str,
    pub(super) ready: &'a Ready,
    pub(super) endpoint: &'a Endpoint,
    pub(super) token: &'a str,
    pub(super) notify: Option<&'a UnixDatagram>,
    /// The guard: the top of the instance's family.
    pub(super) top: u32,
}

/// What has been seen so far: what to say when time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing yet.
    Nothing,
    /// Nothing accepts a connection there.
    NobodyListens(Endpoint),
    /// It has not said that it is ready; what it last said of its state.
    NotNotified(String),
    /// Its health path, and the status with which it answered.
    Unhealthy(String, Option<StatusCode>),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("there was no time to look"),
            Self::NobodyListens(endpoint) => write!(f, "it does not listen on {endpoint}"),
            Self::NotNotified(status) if status.is_empty() => f.write_str("it has not sent READY=1"),
            Self::NotNotified(status) => write!(f, "it has not sent READY=1, but the status {status:?}"),
            Self::Unhealthy(path, None) => write!(f, "it does not answer GET {path}"),
            Self::Unhealthy(path, Some(status)) => write!(f, "it answers GET {path} with {status}"),
        }
    }
}

/// The port is somebody else's, or may be.
pub(super) struct NotOurs(pub(super) &'static str);

impl Signs<'_> {
    /// Waits until the instance is ready.
    ///
    /// Dropping the future stops waiting, and leaves in `seen` what was missing.
    pub(super) async fn wait(&self, seen: &mut Seen) -> Result<(), NotOurs> {
        if let Some(socket) = self.notify {
            *seen = Seen::NotNotified(String::new());
            // The socket is ours; an error on it would be for good, and then the clock decides.
            if notified(socket, seen).await.is_err() {
                return std::future::pending().await;
            }
        }
        *seen = Seen::NobodyListens(self.endpoint.clone());
        self.accepts().await?;
        if let Ready::Health(path) = self.ready {
            self.healthy(path, seen).await;
        }
        Ok(())
    }

    async fn accepts(&self) -> Result<(), NotOurs> {
        let probe = Probe::new(self.endpoint, self.token);
        let mut interval = Interval::default();
        loop {
            if probe.connects().await && self.ours().await? {
                return Ok(());
            }
            interval.pass().await;
        }
    }

    /// Whether it was the instance that accepted. A socket in a private directory cannot be anybody else's.
    async fn ours(&self) -> Result<bool, NotOurs> {
        let Endpoint::Tcp(address) = *self.endpoint else { return Ok(true) };
        let top = self.top;
        let owner = tokio::task::spawn_blocking(move || owner(top, address.port())).await;
        match owner.unwrap_or(Owner::Nobody) {
            Owner::Instance(Reach::Loopback) => Ok(true),
            Owner::Instance(Reach::Everywhere) => {
                tracing::warn!(
                    application = self.application, %address,
                    "instance listens on every address, so clients can go past the host; 127.0.0.1 is enough"
                );
                Ok(true)
            }
            Owner::Nobody => Ok(false),
            Owner::Stranger => Err(NotOurs(STRANGER)),
            Owner::Hidden => Err(NotOurs(HIDDEN)),
        }
    }

    async fn healthy(&self, path: &str, seen: &mut Seen) {
        let probe = Probe::new(self.endpoint, self.token);
        let mut interval = Interval::default();
        // Said before the answer, too: one that never comes is what was missing.
        *seen = Seen::Unhealthy(path.to_owned(), None);
        loop {
            let status = probe.health(path).await;
            if status.is_some_and(|status| status.as_u16() < 400) {
                return;
            }
            *seen = Seen::Unhealthy(path.to_owned(), status);
            interval.pass().await;
        }
    }
}

/// Waits for `READY=1`.
async fn notified(socket: &UnixDatagram, seen: &mut Seen) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = socket.recv(&mut buffer).await?;
        let text = String::from_utf8_lossy(&buffer[..count]);
        for line in text.lines() {
            if line == "READY=1" {
                return Ok(());
            }
            if let Some(status) = line.strip_prefix("STATUS=") {
                *seen = Seen::NotNotified(status.to_owned());
            }
        }
    }
}

/// Growing pauses: a quick start is noticed quickly, and a slow one costs little.
struct Interval(Duration);

impl Default for Interval {
    fn default() -> Self {
        Self(Duration::from_millis(2))
    }
}

impl Interval {
    async fn pass(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 3 / 2).min(LONGEST_PAUSE);
    }
}

const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What is wrong with a port of which somebody else has the listener.
pub(super) const STRANGER: &str =
    "another process listens there; choose another fixed port, or leave the choice to the host";
const HIDDEN: &str = "who listens there cannot be told, since the instance hides its descriptors; use a Unix socket, \
                      or run it as the host's user";
