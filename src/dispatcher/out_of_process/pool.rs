//! Connections to one instance, kept from one request to the next.
//!
//! In: the wish for a connection. Out: a [`Lease`] of one. Never: gives out a connection of which it knows that it is
//! dead or busy, or takes back one on which anything is left of the last exchange.
//!
//! HTTP/1.1: the connection used last is used next, so that those left over from a peak grow old and end. HTTP/2:
//! requests share a connection, up to a number of streams, and then open another.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::Either;
use http::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::{
    connection::{Condition, Connection, Sent, Timer},
    flights::{Flight, Flights, Line},
    socket::Socket,
    target::{Peer, Target},
    upload::Upload,
};
#[cfg(feature = "tls")]
use crate::outward;
use crate::{Failure, endpoint::Place, failure::Code, outward::Secured};

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
    endpoint: Place,
    secured: Option<Secured>,
    connect: Duration,
    keep_for: Option<Duration>,
    kept: Mutex<Shelf>,
    shared: tokio::sync::Mutex<Vec<Shared>>,
    /// Hears what happens on kept connections.
    news: Arc<Notify>,
    sweeper: OnceLock<JoinHandle<()>>,
    flights: Arc<Flights>,
    /// Goes with the pool: when nobody has a lease, and nobody could ask for one.
    _in_use: oneshot::Sender<Infallible>,
}

/// The HTTP/1.1 connections that wait for their next request, the oldest first.
#[derive(Default)]
struct Shelf {
    kept: Vec<Kept>,
    /// Whether the sweeper has found nothing that may grow too old.
    unwatched: bool,
}

/// An HTTP/1.1 connection that waits for its next request.
struct Kept {
    connection: Connection,
    /// When its last exchange began, which costs no look at the clock.
    since: Instant,
}

/// An HTTP/2 connection. Every stream on it holds a clone of `streams`.
struct Shared {
    sender: http2::SendRequest<Upload>,
    streams: Arc<Streams>,
}

/// What the streams of a connection share.
#[derive(Default)]
struct Streams {
    /// It has let one of them wait for too long: it gets no more of them, since it may be dead.
    is_slow: AtomicBool,
}

impl Pool {
    /// A pool, and what ends with it.
    pub(super) fn new(target: &Target) -> (Self, oneshot::Receiver<Infallible>) {
        let (in_use, over) = oneshot::channel();
        let keep_for = match target.peer {
            Peer::Runner => None,
            Peer::Foreign { .. } => Some(FOREIGN_PATIENCE),
        };
        let pool = Self {
            endpoint: target.endpoint.clone(),
            secured: target.secured.clone(),
            connect: target.limits.connect,
            keep_for,
            kept: Mutex::new(Shelf { kept: Vec::new(), unwatched: true }),
            shared: tokio::sync::Mutex::default(),
            news: Arc::default(),
            sweeper: OnceLock::new(),
            flights: Arc::default(),
            _in_use: in_use,
        };
        (pool, over)
    }

    /// The requests that the instance has.
    pub(super) fn flights(&self) -> Arc<Flights> {
        Arc::clone(&self.flights)
    }

    /// A connection for one exchange.
    pub(super) async fn lease(
        self: &Arc<Self>,
        carrier: Carrier,
        choice: Choice,
        line: &Line,
    ) -> Result<Lease, Failure> {
        let held = match carrier {
            Carrier::Http1 => Held::Connection(self.connection(choice).await?),
            Carrier::Http2 => self.stream(choice).await?,
        };
        let flight = self.flights.begin(line.clone());
        Ok(Lease { pool: Arc::clone(self), held, flight, company: None })
    }

    async fn connection(self: &Arc<Self>, choice: Choice) -> Result<Connection, Failure> {
        let now = Instant::now();
        let kept = if choice == Choice::Any { self.take_kept(now) } else { None };
        match kept {
            Some(mut connection) => {
                connection.timer.start(now);
                Ok(connection)
            }
            None => self.within_limit(self.open()).await,
        }
    }

    async fn stream(&self, choice: Choice) -> Result<Held, Failure> {
        self.within_limit(async {
            // Held while connecting: who comes meanwhile wants the same connection.
            let mut shared = self.shared.lock().await;
            shared.retain(|shared| choice == Choice::Any && shared.is_usable());
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
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => Err(Failure::new(Code::ConnectFailed)
                .detail(format!("{} accepted no connection within {:?}", self.endpoint, self.connect))),
        }
    }

    fn unreachable(&self, error: io::Error) -> Failure {
        #[cfg(feature = "tls")]
        if let Some(why) = self.secured.as_ref().and_then(|_| outward::told(&error)) {
            return Failure::new(Code::TlsFailed).detail(format!("no TLS with {}: {why}", self.endpoint));
        }
        Failure::new(Code::ConnectFailed).detail(format!("cannot connect to {}", self.endpoint)).source(error)
    }

    async fn open(self: &Arc<Self>) -> io::Result<Connection> {
        self.sweeper.get_or_init(|| tokio::spawn(sweep(Arc::downgrade(self), Arc::clone(&self.news))));
        Connection::new(self.socket().await?, Arc::clone(&self.news)).await
    }

    async fn open_shared(&self) -> io::Result<Shared> {
        let io = TokioIo::new(self.socket().await?);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        // A machine may be gone without a word; an instance of ours is here.
        if let Some(interval) = self.keep_for {
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(interval)
                .keep_alive_timeout(LONGEST_SILENCE);
        }
        let (sender, connection) = builder
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
        Ok(Shared { sender, streams: Arc::default() })
    }

    /// Connects, also when the instance's queue is full: Unix sockets say so instead of waiting.
    async fn socket(&self) -> io::Result<Socket> {
        let mut pause = Duration::from_millis(1);
        loop {
            match Socket::connect(&self.endpoint, self.secured.as_ref()).await {
                // The caller's limit ends this.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(pause).await,
                result => return result,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn take_kept(&self, now: Instant) -> Option<Connection> {
        let mut busy = Vec::new();
        let mut shelf = self.shelf();
        let found = loop {
            let Some(mut candidate) = shelf.kept.pop() else { break None };
            if self.is_stale(&candidate, now) {
                continue;
            }
            match candidate.connection.look() {
                Condition::Ready => break Some(candidate.connection),
                Condition::Busy => busy.push(candidate),
                Condition::Dead => {}
            }
        };
        shelf.kept.append(&mut busy);
        found
    }

    fn keep(&self, mut connection: Connection) {
        connection.rest();
        let mut shelf = self.shelf();
        if shelf.kept.len() < MOST_KEPT && connection.look() != Condition::Dead {
            let since = connection.timer.began();
            shelf.kept.push(Kept { connection, since });
            if self.keep_for.is_some() && std::mem::take(&mut shelf.unwatched) {
                self.news.notify_one();
            }
        }
    }

    /// Closes what has ended or grown too old. Says how long nothing can grow too old.
    fn clear(&self, cause: Cause) -> Option<Duration> {
        let now = Instant::now();
        let mut shelf = self.shelf();
        shelf.kept.retain_mut(|kept| !self.is_stale(kept, now) && kept.connection.look() != Condition::Dead);
        // Empty for a moment means little: the one connection may be in use.
        shelf.unwatched = shelf.kept.is_empty() && cause == Cause::Time;
        self.keep_for.filter(|_| !shelf.unwatched)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stale(&self, kept: &Kept, now: Instant) -> bool {
        self.keep_for.is_some_and(|limit| now.duration_since(kept.since) > limit)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(sweeper) = self.sweeper.get() {
            sweeper.abort();
        }
    }
}

/// Closes kept connections that have ended or grown too old, so that a peak leaves nothing behind.
async fn sweep(pool: Weak<Pool>, news: Arc<Notify>) {
    let mut pause = None;
    loop {
        let cause = match pause {
            Some(pause) => match tokio::time::timeout(pause, news.notified()).await {
                Ok(()) => Cause::News,
                Err(_) => Cause::Time,
            },
            None => {
                news.notified().await;
                Cause::News
            }
        };
        let Some(pool) = pool.upgrade() else { return };
        pause = pool.clear(cause);
    }
}

/// Why the sweeper looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Something has happened on a kept connection, or the first was kept.
    News,
    /// Something may have grown too old.
    Time,
}

impl Shared {
    fn stream(&self) -> Held {
        Held::Stream { sender: self.sender.clone(), timer: Timer::new(), streams: Arc::clone(&self.streams) }
    }

    fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.streams.is_slow.load(Ordering::Relaxed)
    }
}

/// A connection, or a stream on one, for the length of an exchange.
///
/// Dropped before [`Lease::finish`], it closes the connection or resets the stream, whatever state it is in.
pub(super) struct Lease {
    pool: Arc<Pool>,
    held: Held,
    flight: Flight,
    company: Option<Arc<dyn Company>>,
}

/// What goes with an exchange until the answer has ended, and with an upgraded connection until that has.
pub(crate) trait Company: Send + Sync {
    /// The other side has cut the answer short.
    fn was_cut(&self);
}

enum Held {
    Connection(Connection),
    Stream { sender: http2::SendRequest<Upload>, timer: Timer, streams: Arc<Streams> },
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
    /// Takes `company` along.
    pub(super) fn accompany(&mut self, company: Option<Arc<dyn Company>>) {
        self.company = company;
    }

    /// Says that the other side has cut the answer short.
    pub(super) fn was_cut(&self) {
        if let Some(company) = &self.company {
            company.was_cut();
        }
    }

    /// Sends a request. The error has it back if none of it was sent.
    pub(super) fn send(&mut self, request: Request<Upload>) -> impl Future<Output = Sent> + use<> {
        match &mut self.held {
            Held::Connection(connection) => Either::Left(connection.send(request)),
            Held::Stream { sender, .. } => Either::Right(sender.try_send_request(request)),
        }
    }

    /// Goes on with the exchange until `done` is.
    pub(super) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut done: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match &mut self.held {
            Held::Connection(connection) => connection.drive(cx, done),
            Held::Stream { .. } => done(cx), // its connection has a task
        }
    }

    /// For limits of the time until the answer begins.
    pub(super) fn timer(&mut self) -> &mut Timer {
        match &mut self.held {
            Held::Connection(connection) => &mut connection.timer,
            Held::Stream { timer, .. } => timer,
        }
    }

    /// From now on it goes on also while nobody calls [`Lease::drive`].
    pub(super) fn detach(&mut self) {
        if let Held::Connection(connection) = &mut self.held {
            connection.detach();
        }
    }

    /// No answer has come in time.
    pub(super) fn was_slow(&self) {
        if let Held::Stream { streams, .. } = &self.held {
            streams.is_slow.store(true, Ordering::Relaxed);
        }
    }

    /// The connection broke before the answer had ended.
    pub(super) fn broke(&mut self) {
        self.flight.broke();
    }

    /// The answer has ended; nobody waits for anything any more.
    pub(super) fn finish(self, rest: Rest) {
        match (self.held, rest) {
            (Held::Connection(connection), Rest::Nothing) => self.pool.keep(connection),
            (Held::Connection(connection), Rest::UnderWay) => connection.leave(),
            (Held::Stream { .. }, _) => {}
        }
    }
}

/// Common servers close an idle connection after five seconds. A request sent at that moment would be lost, and could
/// not be sent again.
const FOREIGN_PATIENCE: Duration = Duration::from_secs(4);
/// How long a connection of HTTP/2 with streams may leave a ping without an answer.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
const MOST_KEPT: usize = 1024;
/// Streams on one connection, not counting the pool's own hold on the counter.
const STREAMS: usize = 64;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 64;
const LARGEST_HEAD: u32 = 256 * 1024;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
