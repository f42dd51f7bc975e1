//! Where hyper's `OnUpgrade` comes from.
//!
//! axum's `WebSocketUpgrade`, and everything else made for hyper, asks the request for a [`hyper::upgrade::OnUpgrade`],
//! and only a connection of hyper's can make one. So there is one, for requests that offer an upgrade: hyper's server
//! reads a constant request from a stand-in stream, and waits. The application's own request never passes through it.
//!
//! In: nothing. Out: an `OnUpgrade`, and, once the protocol was changed, the host's stream inside of it.
//! Never: copies what the two sides say to each other: the stand-in *becomes* the host's stream.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use crate::Io;

/// What hyper's server is told. It looks at nothing of it but that there is an `upgrade`.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: any\r\n\r\n";

/// More polls than the server needs to write its 101.
const POLLS: usize = 16;

/// A connection of hyper's that waits for the answer to be a change of protocol. Dropped, it ends the `OnUpgrade` with
/// an error.
pub(crate) struct Handshake {
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
    go: oneshot::Sender<()>,
    stand_in: Shared,
}

impl Handshake {
    /// A handshake, and the `OnUpgrade` that goes into the request.
    pub(crate) fn new() -> Option<(Self, OnUpgrade)> {
        let stand_in = Shared::default();
        let (go, wait) = oneshot::channel();
        let wait = Mutex::new(Some(wait));
        let (give, mut given) = oneshot::channel();
        let give = Mutex::new(Some(give));
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(give) = lock(&give).take() {
                // The receiver is in this function's frame.
                let _ = give.send(hyper::upgrade::on(&mut request));
            }
            let wait = lock(&wait).take();
            async move {
                if let Some(wait) = wait {
                    wait.await.map_err(|_| "the protocol was not changed")?;
                }
                let mut response = Response::new(String::new());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                Ok::<_, &'static str>(response)
            }
        });
        let io = TokioIo::new(StandIn { unread: REQUEST, live: None, shared: Arc::clone(&stand_in) });
        let connection = http1::Builder::new().serve_connection(io, service).with_upgrades();
        let mut handshake = Self { connection: Box::pin(connection), go, stand_in };
        // The request is there already: one poll reads it and calls the service.
        let _ = handshake.connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        Some((handshake, given.try_recv().ok()?))
    }

    /// The protocol was changed: gives `io` to whoever holds the `OnUpgrade`.
    pub(crate) fn finish(self, io: Io) {
        let Self { mut connection, go, stand_in } = self;
        if go.send(()).is_err() {
            return;
        }
        // Nothing it waits for is anywhere else: the stand-in is always ready to swallow the 101.
        let mut cx = Context::from_waker(Waker::noop());
        let done = (0..POLLS).any(|_| connection.as_mut().poll(&mut cx).is_ready());
        debug_assert!(done, "hyper's server waits for something that is not the stream");
        let mut stand_in = lock(&stand_in);
        stand_in.io = Some(io);
        let waiting = stand_in.reader.take();
        drop(stand_in);
        if let Some(reader) = waiting {
            reader.wake();
        }
    }
}

type Shared = Arc<Mutex<Change>>;

/// The moment of change.
#[derive(Default)]
struct Change {
    io: Option<Io>,
    /// Who wanted to read too early.
    reader: Option<Waker>,
}

/// The stream that hyper sees: a constant request, then silence, then the host's.
struct StandIn {
    unread: &'static [u8],
    live: Option<Io>,
    shared: Shared,
}

impl StandIn {
    /// The host's stream, when it is there.
    fn live(&mut self) -> Option<Pin<&mut Io>> {
        if self.live.is_none() {
            self.live = lock(&self.shared).io.take();
        }
        self.live.as_mut().map(Pin::new)
    }
}

impl AsyncRead for StandIn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = self.unread.len().min(buf.remaining());
        if n > 0 {
            let (now, later) = self.unread.split_at(n);
            buf.put_slice(now);
            self.unread = later;
            return Poll::Ready(Ok(()));
        }
        if self.live.is_none() {
            let mut change = lock(&self.shared);
            if change.io.is_none() {
                change.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        let live = self.live().expect("it was there in the lines above");
        live.poll_read(cx, buf)
    }
}

// Until the change, what is written is hyper's 101. The host sends the application's own.
impl AsyncWrite for StandIn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.live().map_or(Poll::Ready(Ok(buf.len())), |io| io.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.live().map_or(Poll::Ready(Ok(())), |io| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.live().map_or(Poll::Ready(Ok(())), |io| io.poll_shutdown(cx))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
