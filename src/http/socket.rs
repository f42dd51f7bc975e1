//! A connection's byte stream, as hyper has it.
//!
//! In: hyper's reads and writes. Out: the same on the stream, with two differences: what was read already to find out the
//! version comes first, and answers to pipelined requests leave together instead of one by one. Never: holds an answer
//! back while there is nothing else to do for its client, or more of them than [`MOST`] bytes.
//!
//! hyper has `pipeline_flush` for the latter. With it (1.12) it takes all that a body has into memory before it writes;
//! and while bytes lie unread it withholds what is written, be it a refusal, a 101, or what the client waits for.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::{idlers::Idler, stall::Stall};

/// Bytes of answers that wait for those behind them.
const MOST: usize = 16 * 1024;

/// What there is to know of a connection's pipelining, on all sides of hyper. All of them run in one task.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    /// Requests that have come without a read in between.
    requests: AtomicU32,
    /// Whether bytes are held that nobody has tried to send.
    resting: AtomicBool,
    /// Whether something has been read since a head was waited for, and if not, since when.
    idler: Idler,
}

impl Pipeline {
    /// Here is one more request of HTTP/1.
    pub(super) fn request(&self) {
        // No two at a time, so this need not be one step.
        self.requests.store(self.requests.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }

    /// The answer to the request that is here is not to wait for anything.
    pub(super) fn urgent(&self) {
        self.requests.store(0, Ordering::Relaxed);
    }

    /// Whether bytes are held that nobody has tried to send.
    pub(super) fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    /// Whether the connection waits for its client.
    pub(super) fn idler(&self) -> &Idler {
        &self.idler
    }

    /// Whether there was another request behind the one before, so that there may be more.
    fn is_busy(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 1
    }
}

/// A byte stream between hyper and its client.
pub(super) struct Socket<I: Write + Unpin> {
    io: I,
    first: Vec<u8>,
    /// How much of `first` has been read again.
    again: usize,
    pipeline: Arc<Pipeline>,
    held: Vec<u8>,
    /// How much of `held` has left.
    sent: usize,
    /// Whether something was held since the last flush.
    grown: bool,
    stall: Stall,
}

impl<I: Write + Unpin> Socket<I> {
    /// Around `io`, with `first` still to be read.
    pub(super) fn new(
        io: I,
        first: Vec<u8>,
        pipeline: Arc<Pipeline>,
        send_timeout: Option<Duration>,
    ) -> Self {
        let stall = Stall::new(send_timeout);
        Self { io, first, again: 0, pipeline, held: Vec::new(), sent: 0, grown: false, stall }
    }

    fn read_again(&mut self, into: &mut ReadBufCursor<'_>) {
        let left = &self.first[self.again..];
        let now = left.len().min(into.remaining());
        into.put_slice(&left[..now]);
        self.again += now;
        if self.again == self.first.len() {
            self.first = Vec::new();
        }
    }

    /// Takes bytes to be sent later. `None` when they have to be written now, behind all that is held.
    fn poll_hold(&mut self, cx: &mut Context<'_>, from: &[IoSlice<'_>]) -> Poll<io::Result<Option<usize>>> {
        let length = from.iter().map(|piece| piece.len()).sum();
        let later = self.pipeline.is_busy() && length <= MOST;
        if !later || self.held.len() + length > MOST {
            ready!(self.poll_send(cx))?;
        }
        if !later {
            return Poll::Ready(Ok(None));
        }
        if self.held.is_empty() {
            self.held.reserve_exact(MOST);
        }
        for piece in from {
            self.held.extend_from_slice(piece);
        }
        self.grown = true;
        self.pipeline.resting.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(Some(length)))
    }

    /// Sends what is held.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // If it cannot go now, the stream wakes the task when it can.
        self.pipeline.resting.store(false, Ordering::Relaxed);
        while self.sent < self.held.len() {
            let sent = Pin::new(&mut self.io).poll_write(cx, &self.held[self.sent..]);
            let sent = ready!(self.stall.watch(cx, sent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        // An idle connection keeps nothing.
        self.held = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl<I: Read + Write + Unpin> Read for Socket<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper has handled all that it had read.
        self.pipeline.requests.store(0, Ordering::Relaxed);
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        // Also while that cannot be sent: the client may be one that first sends everything.
        if !self.first.is_empty() {
            self.read_again(&mut into);
            self.pipeline.idler.hear();
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.io).poll_read(cx, into);
        if read.is_ready() {
            self.pipeline.idler.hear();
        }
        read
    }
}

impl<I: Write + Unpin> Write for Socket<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.poll_hold(cx, &[IoSlice::new(from)]))? {
            Some(held) => Poll::Ready(Ok(held)),
            None => {
                let written = Pin::new(&mut self.io).poll_write(cx, from);
                self.stall.watch(cx, written)
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_hold(cx, from))? {
            Some(held) => Poll::Ready(Ok(held)),
            None => {
                let written = Pin::new(&mut self.io).poll_write_vectored(cx, from);
                self.stall.watch(cx, written)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes behind every answer, and once more when it has to wait for the next one.
        if std::mem::take(&mut self.grown) && self.pipeline.is_busy() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(cx))?;
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        // TLS takes what it cannot send; a stream without it is flushed always, which says nothing.
        if flushed.is_pending() { self.stall.watch(cx, flushed) } else { flushed }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<I: Write + Unpin> Drop for Socket<I> {
    fn drop(&mut self) {
        // Nobody waits here.
        self.stall = Stall::new(None);
        // hyper drops it without a flush when an answer is cut. Those before it are whole, and not to be lost; but
        // nobody is there any more to wait for a client that does not read.
        let _ = self.poll_send(&mut Context::from_waker(Waker::noop()));
    }
}
