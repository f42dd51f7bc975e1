//! How far a connection of HTTP/1 is: what either side of hyper knows and the other needs.
//!
//! In: what is read and written on the one side, requests on the other. Out: whether there may be more requests, whether
//! bytes are held, and whether hyper can be let go of. Never: knows bytes that it was not shown. All of it runs in one
//! task, so nothing here need be one step.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::idlers::Idler;

/// How far a connection is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Requests that have come without a read in between.
    requests: AtomicU32,
    /// Whether bytes are held that nobody has tried to send.
    resting: AtomicBool,
    /// Whether what was read last ends as a head does. Then hyper has no part of another one.
    whole: AtomicBool,
    /// How many bytes came behind the head that is here, together with all of it.
    behind: AtomicUsize,
    /// Whether there may be bytes that hyper could not send yet.
    unsent: AtomicBool,
    /// Whether hyper is let go of.
    parted: AtomicBool,
    /// Whether something has been read since a head was waited for, and if not, since when.
    idler: Idler,
}

impl Progress {
    /// Here is one more request of HTTP/1.
    pub(super) fn request(&self) {
        // No two at a time, so this need not be one step.
        self.requests.store(self.requests.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }

    /// hyper begins with the stream, of which it has read nothing.
    pub(super) fn begin(&self) {
        self.parted.store(false, Ordering::Relaxed);
        self.whole.store(true, Ordering::Relaxed);
    }

    /// The request that is here has a body of so many bytes.
    pub(super) fn body(&self, length: u64) {
        let came = self.behind.load(Ordering::Relaxed) as u64;
        if came == length && self.requests.load(Ordering::Relaxed) == 1 {
            self.whole.store(true, Ordering::Relaxed);
        }
    }

    /// What came first of a request, with whatever came with it.
    pub(super) fn came(&self, first: &[u8]) {
        let whole = first.ends_with(EMPTY_LINE);
        let head = || memchr::memmem::find(first, EMPTY_LINE).map_or(first.len(), |at| at + EMPTY_LINE.len());
        // Behind a part of a head, the first empty line may be one of its body.
        let begins = self.whole.load(Ordering::Relaxed);
        self.whole.store(whole, Ordering::Relaxed);
        let behind = if begins && !whole { first.len() - head() } else { 0 };
        self.behind.store(behind, Ordering::Relaxed);
    }

    /// More of it came, of which nobody has seen how it ends.
    pub(super) fn more(&self) {
        self.whole.store(false, Ordering::Relaxed);
    }

    /// The answer to the request that is here is not to wait for anything.
    pub(super) fn urgent(&self) {
        self.requests.store(0, Ordering::Relaxed);
    }

    /// Whether bytes are held that nobody has tried to send.
    pub(super) fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    /// Bytes are held that nobody has tried to send, or no longer.
    pub(super) fn rests(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    /// hyper has bytes to send.
    pub(super) fn sends(&self) {
        self.unsent.store(true, Ordering::Relaxed);
    }

    /// All that hyper had to send has left.
    pub(super) fn has_sent(&self) {
        self.unsent.store(false, Ordering::Relaxed);
    }

    /// Whether hyper has nothing of this connection: no request, no part of one, and nothing to send.
    pub(super) fn is_done(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        !self.idler.has_heard() && is(&self.whole) && !is(&self.unsent) && !is(&self.resting)
    }

    /// Has the stream outlive hyper.
    pub(super) fn part(&self) {
        self.parted.store(true, Ordering::Relaxed);
    }

    /// Whether the stream is to outlive hyper.
    pub(super) fn is_parted(&self) -> bool {
        self.parted.load(Ordering::Relaxed)
    }

    /// Whether the connection waits for its client.
    pub(super) fn idler(&self) -> &Idler {
        &self.idler
    }

    /// Whether there was another request behind the one before, so that there may be more.
    pub(super) fn is_busy(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 1
    }
}

/// What a head ends with.
const EMPTY_LINE: &[u8] = b"\r\n\r\n";
