//! Serves a service on listeners, until it is told to stop.
//!
//! [`Server`] is for any service. It puts around it what `http` does for every connection and every request.

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tower_service::Service;

pub use crate::stop::{Stop, Stopping};
use crate::{
    Body, Failure,
    facts::Connection,
    http::{Around, Connections, ErrorPage, Handler, Limits},
    listener::{Accepted, Address, ListenError, Listener},
};

/// What a server does besides handing on requests.
#[derive(Clone, Debug)]
pub struct Options {
    /// How failures are shown.
    pub error_page: ErrorPage,
    /// Whether every request leaves a record in the log.
    pub access: bool,
    /// How long a request's head may take to arrive. `None`: as long as it likes, for clients that are believed.
    pub header_timeout: Option<Duration>,
    /// How long requests in flight may take after a stop.
    pub shutdown_timeout: Duration,
    /// Connections at a time; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Fields in the head of a request of HTTP/1.1; `None` for 100, which costs least.
    pub max_fields: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            error_page: ErrorPage::default(),
            access: true,
            header_timeout: Limits::default().header_timeout,
            shutdown_timeout: Duration::from_secs(10),
            max_connections: 65_536,
            max_fields: None,
        }
    }
}

/// How long an idle connection stays open after a stop, at most: what is on its way from its client is there by then.
const LONGEST_LINGER: Duration = Duration::from_secs(2);

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
}

impl<S> Server<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Into<Failure>,
    S::Future: Send + 'static,
{
    /// A server for `service` that listens nowhere yet.
    pub fn new(service: S) -> Self {
        Self { service, options: Options::default(), listeners: Vec::new() }
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

    /// Serves until `stopping` says otherwise, then finishes what is in flight.
    pub async fn serve(self, stopping: Stopping) -> Stopped {
        let Options { header_timeout, max_fields, .. } = self.options;
        let linger = (self.options.shutdown_timeout / 5).min(LONGEST_LINGER);
        let limits = Limits { header_timeout, max_fields, linger, ..Limits::default() };
        let around = Around::new(self.options.error_page, self.options.access);
        let connections = Connections::new(self.service, around, &limits, stopping.watch());
        let places = Arc::new(tokio::sync::Semaphore::new(self.options.max_connections));
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, connections.clone(), Arc::clone(&places), stopping.clone()));
        }
        drop(connections);
        let mut open = JoinSet::new();
        while let Some(ended) = accepting.join_next().await {
            // One that panicked has lost its connections with it; the others go on.
            let connections: JoinSet<()> = ended.unwrap_or_default();
            open.spawn(finish(connections));
        }
        let mut all = std::pin::pin!(async { while open.join_next().await.is_some() {} });
        tokio::select! {
            () = all.as_mut() => Stopped::Gracefully,
            () = stopping.now() => Stopped::Forced,
            () = tokio::time::sleep(self.options.shutdown_timeout) => Stopped::Forced,
        }
    }
}

/// Accepts connections until the stop; gives back those that are open then.
async fn accept<S: Handler>(
    listener: Listener,
    connections: Connections<S>,
    places: Arc<tokio::sync::Semaphore>,
    stopping: Stopping,
) -> JoinSet<()> {
    let binding: Arc<str> = listener.address().to_string().into();
    let mut open = JoinSet::new();
    let serve = move |accepted: Accepted| {
        let Accepted { stream, peer, local } = accepted;
        let connection = Connection::new(peer, local, Arc::clone(&binding), None);
        // Boxed, since it is large, and moved several times on its way into a task.
        Box::pin(connections.clone().serve(TokioIo::new(stream), connection))
    };
    let mut stopped = std::pin::pin!(stopping.asked());
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.expect("never closed"),
            () = stopped.as_mut() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped.as_mut() => break,
        };
        // Those that have ended; otherwise the set grows for as long as the listener lives.
        while open.try_join_next().is_some() {}
        let serving = serve(accepted);
        open.spawn(async move {
            serving.await;
            drop(place);
        });
    }
    // They came before the stop, though nobody had the time to accept them.
    for accepted in listener.close() {
        open.spawn(serve(accepted));
    }
    open
}

async fn finish(mut connections: JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}
