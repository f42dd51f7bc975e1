//! One thread's place in the page.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{layout::slot as at, page, text};
use crate::facts::RequestId;

/// A request, as far as it is noted.
pub(crate) trait About {
    fn request(&self) -> RequestId;
    /// Its method and path, where somebody still knows them.
    fn line(&self) -> Option<(&str, &str)>;
}

/// What else is not known of.
impl About for RequestId {
    fn request(&self) -> RequestId {
        *self
    }

    fn line(&self) -> Option<(&str, &str)> {
        None
    }
}

/// What a thread does inside an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It serves connections, and others wait for it meanwhile.
    Serving,
    /// It was made for this one call, or keeps nobody waiting.
    Waiting,
}

/// One thread's place in the page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(&'static [AtomicU64]);

/// Places that threads have left.
static FREE: Mutex<Vec<Slot>> = Mutex::new(Vec::new());

impl Slot {
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        Self(words)
    }

    /// A place for this thread, to be [left](Self::leave_for_ever) when it ends.
    #[cold]
    pub(crate) fn take() -> Self {
        let left = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let slot = left.or_else(page::new_slot).unwrap_or_else(Self::unseen);
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        slot.0[at::THREAD].store(u64::from(thread.unsigned_abs()), Ordering::Relaxed);
        slot
    }

    /// The page is full; nobody will see this one.
    fn unseen() -> Self {
        let words: Box<[AtomicU64]> = (0..at::SIZE).map(|_| AtomicU64::new(0)).collect();
        Self(Box::leak(words))
    }

    /// The thread is ending.
    pub(crate) fn leave_for_ever(self) {
        if self.is_inside() {
            // It called `exit`: this is the end of the process, and whoever asks why will look here.
            return;
        }
        self.0[at::THREAD].store(0, Ordering::Relaxed);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }

    /// Notes that the thread goes into an application. It must not be in one.
    #[inline]
    pub(crate) fn enter(self, application: u32, doing: Doing, about: &impl About) {
        let request = about.request().0;
        let doing = u64::from(doing == Doing::Waiting) << 32;
        self.0[at::APPLICATION].store(u64::from(application) | doing, Ordering::Relaxed);
        self.0[at::REQUEST].store(request, Ordering::Relaxed);
        // A request usually stays on its thread: its text is there already.
        if self.0[at::TEXT_OF].load(Ordering::Relaxed) != request || request == 0 {
            self.write_line(request, about);
        }
        let before = self.sequence();
        self.0[at::SEQUENCE].store(before + 1, Ordering::Release);
    }

    fn write_line(self, request: u64, about: &impl About) {
        let Some((method, path)) = about.line() else {
            self.0[at::LENGTHS].store(0, Ordering::Relaxed);
            self.0[at::TEXT_OF].store(0, Ordering::Relaxed);
            return;
        };
        let method = text::write(&self.0[at::METHOD..at::PATH], method.as_bytes());
        let path = text::write(&self.0[at::PATH..], path.as_bytes());
        self.0[at::LENGTHS].store((method | path << 8) as u64, Ordering::Relaxed);
        self.0[at::TEXT_OF].store(request, Ordering::Relaxed);
    }

    /// Notes that the thread is back.
    #[inline]
    pub(crate) fn leave(self) {
        let inside = self.sequence();
        self.0[at::SEQUENCE].store(inside + 1, Ordering::Release);
    }

    /// Odd while the thread is inside an application; never the same twice.
    #[inline]
    pub(crate) fn sequence(self) -> u64 {
        self.0[at::SEQUENCE].load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn is_inside(self) -> bool {
        !self.sequence().is_multiple_of(2)
    }

    /// What is written there, all of it; `None` if the thread is no longer where it was at `sequence`.
    pub(crate) fn words_at(self, sequence: u64) -> Option<Vec<u64>> {
        let words = self.0.iter().map(|word| word.load(Ordering::Acquire)).collect();
        (self.sequence() == sequence).then_some(words)
    }

    pub(crate) fn doing(self) -> Doing {
        super::recording::doing(self.0[at::APPLICATION].load(Ordering::Relaxed))
    }

    /// Where it is: the same for as long as the process lives.
    pub(crate) fn place(self) -> usize {
        self.0.as_ptr().addr()
    }
}
