//! Clients of HTTP/2 that only keep us busy.
//!
//! h2 answers pings and settings, and takes windows, priorities, empty data and what it does not know, without end; and it
//! lets requests come and be cancelled as fast as they can be sent. So what comes is counted: what is work for nothing
//! costs, requests and their data earn, and so does what is sent, which a client has to open windows for. Who has nothing
//! left hears so (`ENHANCE_YOUR_CALM`), and his connection ends.
//!
//! In: the bytes of one connection. Out: the same, or an error. Never: counts time, but for those who have nothing left.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::frames::{Frames, Head};

/// After so long the past is forgotten: a ping every few seconds is nobody's harm, however long it goes on.
const REST: Duration = Duration::from_secs(10);

/// What there is to know of a connection's work.
struct Budget {
    most: i64,
    credit: i64,
    since: Instant,
}

impl Budget {
    fn new(credit: u32, now: Instant) -> Self {
        Self { most: credit.into(), credit: credit.into(), since: now }
    }

    fn came(&mut self, head: Head) {
        self.credit = (self.credit + worth(head)).min(self.most);
    }

    fn left(&mut self, sent: usize) {
        let earned = i64::try_from(sent / BYTES_FOR_A_WINDOW).unwrap_or(self.most);
        self.credit = (self.credit + earned).min(self.most);
    }

    /// Whether nothing is left. Of the time nobody is asked as long as there is.
    fn is_spent(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.credit >= 0 {
            return false;
        }
        let now = now();
        if now - self.since < REST {
            return true;
        }
        (self.credit, self.since) = (self.most, now);
        false
    }
}

/// What a frame earns, or costs.
fn worth(head: Head) -> i64 {
    match (head.kind, head.length) {
        (HEADERS, _) => REQUEST,
        (DATA, 1..) => 1,
        // The end of a body, once for each.
        (DATA, 0) if head.flags & END_STREAM != 0 => 0,
        // h2 does not look at what was begun and cancelled soon enough to know.
        (RST_STREAM, _) => -2 * REQUEST,
        // What answers ours.
        (PING | SETTINGS, _) if head.flags & ACK != 0 => 0,
        _ => -1,
    }
}

/// What a request earns: some clients send a few frames besides.
const REQUEST: i64 = 8;
/// Each so many bytes that are sent, a client may open a window for them.
const BYTES_FOR_A_WINDOW: usize = 512;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;

/// The bytes of a connection, counted.
pub(super) struct Guarded<I> {
    io: I,
    coming: Frames,
    going: Frames,
    budget: Option<Budget>,
}

impl<I> Guarded<I> {
    /// `None`: the client is believed.
    pub(super) fn new(io: I, credit: Option<u32>) -> Self {
        // A client begins with a preface, of 24 bytes.
        Self {
            io,
            coming: Frames::after(24),
            going: Frames::after(0),
            budget: credit.map(|credit| Budget::new(credit, Instant::now())),
        }
    }

    fn came(&mut self, bytes: &[u8]) {
        let Some(budget) = &mut self.budget else { return };
        self.coming.pass(bytes, |head| budget.came(head));
    }

    fn left(&mut self, length: usize, pieces: &[IoSlice<'_>]) {
        let Some(budget) = &mut self.budget else { return };
        budget.left(length);
        let mut left = length;
        for piece in pieces {
            let now = left.min(piece.len());
            self.going.pass(&piece[..now], |_| {});
            left -= now;
        }
    }
}

impl<I: AsyncWrite + Unpin> Guarded<I> {
    /// Says why the connection ends, if that can be said at once, and ends it.
    #[cold]
    fn end(&mut self, cx: &mut Context<'_>) -> io::Error {
        if self.going.is_between() {
            // Nobody waits for a client of this kind.
            let _ = Pin::new(&mut self.io).poll_write(cx, &CALM);
        }
        tracing::debug!("a client of HTTP/2 sends frames that are of no use, and is cut off");
        io::Error::other("frames that are of no use")
    }
}

/// GOAWAY, ENHANCE_YOUR_CALM; whatever was begun may have been done.
const CALM: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0xb];

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, into))?;
        self.came(&into.filled()[before..]);
        if self.budget.as_mut().is_some_and(|budget| budget.is_spent(Instant::now)) {
            return Poll::Ready(Err(self.end(cx)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, from))?;
        self.left(written, &[IoSlice::new(from)]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, from))?;
        self.left(written, from);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING_FRAME: Head = Head { kind: PING, flags: 0, length: 8 };
    const REQUEST_FRAME: Head = Head { kind: HEADERS, flags: 4, length: 20 };
    const CANCEL_FRAME: Head = Head { kind: RST_STREAM, flags: 0, length: 4 };

    /// How many of them are taken, up to a hundred thousand.
    fn taken(frames: &[Head]) -> usize {
        let now = Instant::now();
        let mut budget = Budget::new(4000, now);
        (0..100_000)
            .take_while(|_| {
                frames.iter().for_each(|frame| budget.came(*frame));
                !budget.is_spent(|| now)
            })
            .count()
    }

    #[test]
    fn frames_of_no_use_are_taken_for_a_while_only() {
        for (kind, flags, length) in
            [(PING, 0, 8), (SETTINGS, 0, 0), (2, 0, 5), (8, 0, 4), (DATA, 0, 0), (0xbe, 0, 10), (9, 0, 0)]
        {
            assert_eq!(taken(&[Head { kind, flags, length }]), 4000, "{kind}");
        }
    }

    #[test]
    fn requests_and_bodies_may_come_without_end() {
        let piece = Head { kind: DATA, flags: 0, length: 1 };
        let end = Head { kind: DATA, flags: END_STREAM, length: 0 };
        let window = Head { kind: 8, flags: 0, length: 4 };
        assert_eq!(taken(&[REQUEST_FRAME, piece, end, window, window, PING_FRAME]), 100_000);
        assert_eq!(taken(&[Head { kind: PING, flags: ACK, length: 8 }]), 100_000);
    }

    #[test]
    fn requests_that_are_cancelled_at_once_may_not() {
        let taken = taken(&[REQUEST_FRAME, CANCEL_FRAME]);
        assert!((400..600).contains(&taken), "{taken}");
    }

    #[test]
    fn a_ping_now_and_then_is_no_flood() {
        let mut now = Instant::now();
        let mut budget = Budget::new(10, now);
        for _ in 0..1000 {
            budget.came(PING_FRAME);
            assert!(!budget.is_spent(|| now));
            now += Duration::from_secs(1);
        }
    }

    #[test]
    fn who_downloads_may_open_windows() {
        let now = Instant::now();
        let mut budget = Budget::new(4000, now);
        for _ in 0..100_000 {
            budget.left(16 * 1024);
            budget.came(Head { kind: 8, flags: 0, length: 4 });
            assert!(!budget.is_spent(|| now));
        }
        // A byte at a time is another thing.
        let bytes = (0..100_000).take_while(|_| {
            budget.left(10);
            budget.came(Head { kind: 8, flags: 0, length: 4 });
            !budget.is_spent(|| now)
        });
        // All but what the last window cost.
        assert_eq!(bytes.count(), 3999);
    }
}
