//! Serves a service on listeners, until it is told to stop.
//!
//! [`Server`] is for any service. It puts around it what `http` does for every connection and every request.

mod clients;
mod entrance;
mod listening;
#[cfg(feature = "tls")]
mod secure;

use std::time::Duration;

use http::{Request, Response};
use tower_service::Service;

pub use self::listening::Listening;
#[cfg(not(feature = "tls"))]
use self::listening::Patience;
#[cfg(feature = "tls")]
use self::secure::Patience;
use self::{
    clients::Clients,
    entrance::Entrance,
    listening::{Changes, Open},
};

use crate::{
    Body, Failure,
    forwarded::Trust,
    http::{Around, Connections, ErrorPage},
    listener::{Address, ListenError, Listener},
};
pub use crate::{
    http::{Limits, Pace},
    stop::{Stop, Stopping},
};

/// What a server does besides handing on requests.
#[derive(Clone, Debug)]
pub struct Options {
    /// How failures are shown.
    pub error_page: ErrorPage,
    /// Whether every request leaves a record in the log.
    pub access: bool,
    /// Whose word is believed on the client's address, and on the scheme and authority that it sees.
    pub trusted: Trust,
    /// What clients may cost.
    pub limits: Limits,
    /// How long the handshake of TLS may take.
    #[cfg(feature = "tls")]
    pub handshake_timeout: Duration,
    /// How long requests in flight may take after a stop.
    pub shutdown_timeout: Duration,
    /// Connections at a time; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Connections at a time of one client, by its address; more are closed. `None`: as many as it likes.
    pub max_connections_per_client: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            error_page: ErrorPage::default(),
            access: true,
            trusted: Trust::nobody(),
            limits: Limits::default(),
            #[cfg(feature = "tls")]
            handshake_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
            max_connections: 65_536,
            max_connections_per_client: None,
        }
    }
}

/// How long an idle connection stays open after a stop, at most: what is on its way from its client is there by then.
const LONGEST_LINGER: Duration = Duration::from_secs(2);

/// How long a proxy may take to say for whom it connects: it knows that before it does.
const LONGEST_PREAMBLE: Duration = Duration::from_secs(10);

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every request had its answer.
    Gracefully,
    /// Requests were cut off, by the deadline or by a second order to stop.
    Forced,
}

/// Serves one service on any number of listeners.
#[derive(Debug)]
pub struct Server<S> {
    service: S,
    options: Options,
    listeners: Vec<Listener>,
    changes: Option<Changes>,
}

impl<S> Server<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Into<Failure>,
    S::Future: Send + 'static,
{
    /// A server for `service` that listens nowhere yet.
    pub fn new(service: S) -> Self {
        Self { service, options: Options::default(), listeners: Vec::new(), changes: None }
    }

    /// Changes what it does besides.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Listens on one more address.
    ///
    /// # Errors
    /// Returns the address and what the system says.
    pub fn bind(self, address: impl Into<Address>) -> Result<Self, ListenError> {
        Listener::bind(address.into()).map(|listener| self.listener(listener))
    }

    /// Takes one more listener.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.listeners.iter().map(Listener::address)
    }

    /// A way to listen on more or fewer addresses while it serves.
    pub fn listening(&mut self) -> Listening {
        let (listening, changes) = listening::channel();
        self.changes = Some(changes);
        listening
    }

    /// Serves until `stopping` says otherwise, then finishes what is in flight.
    pub async fn serve(self, stopping: Stopping) -> Stopped {
        let linger = (self.options.shutdown_timeout / 5).min(LONGEST_LINGER);
        let limits = &self.options.limits;
        let entrance = Entrance {
            clients: Clients::new(self.options.max_connections_per_client),
            trust: self.options.trusted.clone(),
            limit: limits.header_timeout.unwrap_or(LONGEST_PREAMBLE).min(LONGEST_PREAMBLE),
        };
        let around = Around::new(self.options.error_page, self.options.access, self.options.trusted, limits);
        let connections = Connections::new(self.service, around, limits, linger);
        #[cfg(feature = "tls")]
        let patience = Patience { limit: self.options.handshake_timeout, linger };
        #[cfg(not(feature = "tls"))]
        let patience = Patience;
        let mut open = Open::new(connections, self.options.max_connections, entrance, patience);
        for listener in self.listeners {
            open.listen(listener);
        }
        open.until(stopping.asked(), self.changes).await;
        tokio::select! {
            () = open.finish(|| stopping.has_closed()) => Stopped::Gracefully,
            () = stopping.now() => Stopped::Forced,
            () = tokio::time::sleep(self.options.shutdown_timeout) => Stopped::Forced,
        }
    }
}
