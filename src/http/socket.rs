//! A connection's byte stream, as hyper has it.
//!
//! In: hyper's reads and writes. Out: the same on the stream, with two differences: what was read already comes first, and
//! answers to pipelined requests leave together instead of one by one; and the stream itself, if hyper is let go of while
//! it has nothing of it. Never: holds an answer back while there is nothing else to do for its client, or more of them
//! than [`MOST`] bytes.
//!
//! hyper has `pipeline_flush` for the latter. With it (1.12) it takes all that a body has into memory before it writes;
//! and while bytes lie unread it withholds what is written, be it a refusal, a 101, or what the client waits for.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::{progress::Progress, stall::Stall};

/// Bytes of answers that wait for those behind them.
const MOST: usize = 16 * 1024;
/// Mostly the whole head of a request.
const HEAD: usize = 4 * 1024;

/// Where a stream is to be found after hyper was let go of.
pub(super) struct Home<I>(Arc<Mutex<Option<I>>>);

impl<I> Home<I> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// The stream, if [`Progress::part`] was called before its socket was dropped.
    pub(super) fn take(&self) -> Option<I> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A byte stream between hyper and its client.
pub(super) struct Socket<I: Write + Unpin> {
    /// There until this is dropped.
    io: Option<I>,
    home: Home<I>,
    first: Vec<u8>,
    /// How much of `first` has been read again.
    again: usize,
    progress: Arc<Progress>,
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
        progress: Arc<Progress>,
        send_timeout: Option<Duration>,
    ) -> Self {
        let (stall, home) = (Stall::new(send_timeout), Home::new());
        progress.begin();
        Self { io: Some(io), home, first, again: 0, progress, held: Vec::new(), sent: 0, grown: false, stall }
    }

    /// Where its stream will be.
    pub(super) fn home(&self) -> Home<I> {
        Home(Arc::clone(&self.home.0))
    }

    fn io(&mut self) -> Pin<&mut I> {
        there(&mut self.io)
    }

    fn read_again(&mut self, into: &mut ReadBufCursor<'_>) {
        let left = &self.first[self.again..];
        let now = left.len().min(into.remaining());
        into.put_slice(&left[..now]);
        self.progress.came(&left[..now]);
        self.again += now;
        if self.again == self.first.len() {
            self.first = Vec::new();
        }
    }

    /// Takes bytes to be sent later. `None` when they have to be written now, behind all that is held.
    fn poll_hold(&mut self, cx: &mut Context<'_>, from: &[IoSlice<'_>]) -> Poll<io::Result<Option<usize>>> {
        let length = from.iter().map(|piece| piece.len()).sum();
        let later = self.progress.is_busy() && length <= MOST;
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
        self.progress.rests(true);
        Poll::Ready(Ok(Some(length)))
    }

    /// Sends what is held.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // If it cannot go now, the stream wakes the task when it can.
        self.progress.rests(false);
        while self.sent < self.held.len() {
            let sent = there(&mut self.io).poll_write(cx, &self.held[self.sent..]);
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

/// The stream of a socket that is not dropped.
fn there<I: Unpin>(io: &mut Option<I>) -> Pin<&mut I> {
    Pin::new(io.as_mut().expect("there until it is dropped"))
}

impl<I: Read + Write + Unpin> Socket<I> {
    /// Reads the first bytes of a request, and sees how they end.
    ///
    /// hyper does not show what it has read; so this is read elsewhere, and copied: what does not fit comes later.
    fn poll_first(&mut self, cx: &mut Context<'_>, into: &mut ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut room = [const { MaybeUninit::uninit() }; HEAD];
        let most = HEAD.min(into.remaining());
        let mut read = ReadBuf::uninit(&mut room[..most]);
        ready!(self.io().poll_read(cx, read.unfilled()))?;
        into.put_slice(read.filled());
        self.progress.came(read.filled());
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
        self.progress.urgent();
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        // Also while that cannot be sent: the client may be one that first sends everything.
        if !self.first.is_empty() {
            self.read_again(&mut into);
            self.progress.idler().hear();
            return Poll::Ready(Ok(()));
        }
        let is_first = !self.progress.idler().has_heard();
        let read = if is_first { self.poll_first(cx, &mut into) } else { self.io().poll_read(cx, into) };
        if read.is_ready() {
            match is_first {
                true => self.progress.idler().hear(),
                false => self.progress.more(),
            }
        }
        read
    }
}

impl<I: Write + Unpin> Write for Socket<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.progress.sends();
        match ready!(self.poll_hold(cx, &[IoSlice::new(from)]))? {
            Some(held) => Poll::Ready(Ok(held)),
            None => {
                let written = self.io().poll_write(cx, from);
                self.stall.watch(cx, written)
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.progress.sends();
        match ready!(self.poll_hold(cx, from))? {
            Some(held) => Poll::Ready(Ok(held)),
            None => {
                let written = self.io().poll_write_vectored(cx, from);
                self.stall.watch(cx, written)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(Write::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes behind every answer, and once more when it has to wait for the next one.
        if std::mem::take(&mut self.grown) && self.progress.is_busy() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(cx))?;
        let flushed = self.io().poll_flush(cx);
        if flushed.is_ready() {
            self.progress.has_sent();
        }
        // TLS takes what it cannot send; a stream without it is flushed always, which says nothing.
        if flushed.is_pending() { self.stall.watch(cx, flushed) } else { flushed }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.io().poll_shutdown(cx)
    }
}

impl<I: Write + Unpin> Drop for Socket<I> {
    fn drop(&mut self) {
        if self.progress.is_parted() {
            *self.home.0.lock().unwrap_or_else(PoisonError::into_inner) = self.io.take();
            return;
        }
        // Nobody waits here.
        self.stall = Stall::new(None);
        // hyper drops it without a flush when an answer is cut. Those before it are whole, and not to be lost; but
        // nobody is there any more to wait for a client that does not read.
        let _ = self.poll_send(&mut Context::from_waker(Waker::noop()));
    }
}
