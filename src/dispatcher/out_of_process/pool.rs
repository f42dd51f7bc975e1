//! Connections to one instance, kept from one request to the next.
//!
//! In: the wish for a connection. Out: a [`Lease`] of one. Never: gives out a connection of which it knows that it is
//! dead or busy, or takes back one on which anything is left of the last exchange.
//!
//! HTTP/1.1: the connection used last is used next, so that those left over from a peak grow old and end. HTTP/2:
//! requests share a connection, up to a number of streams, and then open another.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::Either;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;

use super::{
    socket::Socket,
    target::{Peer, Target},
    upload::Upload,
};
use crate::{Failure, endpoint::Endpoint, failure::Code};

/// In which protocol a request is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Http1,
    Http2,
}

/// Whether a connection that has been used before will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Any,
    Fresh,
}

/// The connections to one instance.
pub(super) struct Pool {
    endpoint: Endpoint,
    connect: Duration,
    keep_for: Option<Duration>,
    kept: Mutex<Vec<Kept>>,
    shared: tokio::sync::Mutex<Vec<Shared>>,
}

/// An HTTP/1.1 connection that waits for its next request.
struct Kept {
    connection: Connection,
    since: Option<Instant>,
}

/// An HTTP/1.1 connection, and the task that drives it.
struct Connection {
    sender: http1::SendRequest<Upload>,
    task: JoinHandle<()>,
}

/// An HTTP/2 connection. Every stream on it holds a clone of `streams`.
struct Shared {
    sender: http2::SendRequest<Upload>,
    streams: Arc<()>,
}

impl Pool {
    pub(super) fn new(target: &Target) -> Self {
        let keep_for = match target.peer {
            Peer::Runner => None,
            Peer::Foreign { .. } => Some(FOREIGN_PATIENCE),
        };
        Self {
            endpoint: target.endpoint.clone(),
            connect: target.limits.connect,
            keep_for,
            kept: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
        }
    }

    /// A connection for one exchange.
    pub(super) async fn lease(self: &Arc<Self>, carrier: Carrier, choice: Choice) -> Result<Lease, Failure> {
        let held = match carrier {
            Carrier::Http1 => Held::Connection(self.connection(choice).await?),
            Carrier::Http2 => self.stream(choice).await?,
        };
        Ok(Lease { pool: Arc::clone(self), held })
    }

    async fn connection(&self, choice: Choice) -> Result<Connection, Failure> {
        let kept = if choice == Choice::Any { self.take_kept() } else { None };
        match kept {
            Some(connection) => Ok(connection),
            None => self.within_limit(self.open()).await,
        }
    }

    async fn stream(&self, choice: Choice) -> Result<Held, Failure> {
        self.within_limit(async {
            // Held while connecting: who comes meanwhile wants the same connection.
            let mut shared = self.shared.lock().await;
            shared.retain(|shared| choice == Choice::Any && !shared.sender.is_closed());
            if let Some(free) = shared.iter().find(|shared| Arc::strong_count(&shared.streams) <= STREAMS) {
                return Ok(free.stream());
            }
            let fresh = self.open_shared().await?;
            let stream = fresh.stream();
            shared.push(fresh);
            Ok(stream)
        })
        .await
    }

    async fn within_limit<T>(&self, attempt: impl Future<Output = io::Result<T>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.connect, attempt).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(Failure::new(Code::ConnectFailed)
                .detail(format!("cannot connect to {}", self.endpoint))
                .source(error)),
            Err(_) => Err(Failure::new(Code::ConnectFailed)
                .detail(format!("{} accepted no connection within {:?}", self.endpoint, self.connect))),
        }
    }

    async fn open(&self) -> io::Result<Connection> {
        let io = TokioIo::new(connect(&self.endpoint).await?);
        let (sender, connection) = http1::Builder::new().handshake(io).await.map_err(io::Error::other)?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to the instance ended");
            }
        });
        Ok(Connection { sender, task })
    }

    async fn open_shared(&self) -> io::Result<Shared> {
        let io = TokioIo::new(connect(&self.endpoint).await?);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            // Each stream its share of the connection's window: slow readers must not stop the others.
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(LARGEST_HEAD)
            .handshake(io)
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the instance ended");
            }
        });
        Ok(Shared { sender, streams: Arc::new(()) })
    }

    fn take_kept(&self) -> Option<Connection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut busy = Vec::new();
        let mut found = None;
        while let Some(candidate) = kept.pop() {
            if candidate.connection.sender.is_closed() || self.is_stale(&candidate) {
                continue;
            }
            if candidate.connection.sender.is_ready() {
                found = Some(candidate.connection);
                break;
            }
            // Its task has yet to notice that the exchange is over.
            busy.push(candidate);
        }
        kept.append(&mut busy);
        found
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_KEPT && !connection.sender.is_closed() {
            kept.push(Kept { connection, since: self.keep_for.map(|_| Instant::now()) });
        }
    }

    fn is_stale(&self, kept: &Kept) -> bool {
        self.keep_for.zip(kept.since).is_some_and(|(limit, since)| since.elapsed() > limit)
    }
}

impl Shared {
    fn stream(&self) -> Held {
        Held::Stream { sender: self.sender.clone(), _counted: Arc::clone(&self.streams) }
    }
}

/// Connects, also when the instance's queue is full: Unix sockets say so instead of waiting.
async fn connect(endpoint: &Endpoint) -> io::Result<Socket> {
    let mut pause = Duration::from_millis(1);
    loop {
        match Socket::connect(endpoint).await {
            // The caller's limit ends this.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(pause).await,
            result => return result,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A connection, or a stream on one, for the length of an exchange.
///
/// Dropped before [`Lease::finish`], it closes the connection or resets the stream, whatever state it is in.
pub(super) struct Lease {
    pool: Arc<Pool>,
    held: Held,
}

enum Held {
    Connection(Connection),
    Stream { sender: http2::SendRequest<Upload>, _counted: Arc<()> },
    Nothing,
}

/// What is left of the exchange when the answer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing: the connection can serve again.
    Nothing,
    /// The request's body is still on its way, or the connection speaks another protocol now.
    UnderWay,
}

impl Lease {
    /// Sends a request. The error has it back if none of it was sent.
    pub(super) fn send(
        &mut self,
        request: Request<Upload>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Upload>>>> + use<> {
        match &mut self.held {
            Held::Connection(connection) => Either::Left(connection.sender.try_send_request(request)),
            Held::Stream { sender, .. } => Either::Right(sender.try_send_request(request)),
            Held::Nothing => unreachable!("a finished lease is consumed"),
        }
    }

    /// The answer has ended; nobody waits for anything any more.
    pub(super) fn finish(mut self, rest: Rest) {
        if let Held::Connection(connection) = std::mem::replace(&mut self.held, Held::Nothing)
            && rest == Rest::Nothing
        {
            self.pool.keep(connection);
        }
        // Otherwise only the handle is dropped here: the task goes on until the rest has been sent.
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // At once, whatever hyper still waits for or would rather drain.
        if let Held::Connection(connection) = &self.held {
            connection.task.abort();
        }
    }
}

/// Common servers close an idle connection after five seconds. A request sent at that moment would be lost, and could
/// not be sent again.
const FOREIGN_PATIENCE: Duration = Duration::from_secs(4);
const MOST_KEPT: usize = 1024;
/// Streams on one connection, not counting the pool's own hold on the counter.
const STREAMS: usize = 64;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 64;
const LARGEST_HEAD: u32 = 256 * 1024;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
