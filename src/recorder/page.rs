//! The page of this process.

use std::{
    io,
    ops::Range,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    layout::{
        APPLICATIONS, MAGIC, MOST_APPLICATIONS, MOST_SLOTS, SLOTS, STACK, VERSION, WORDS, application, head,
        nth, slot,
    },
    slot::Slot,
    text,
};
use crate::sys::{crash, shared};

static PAGE: OnceLock<&'static [AtomicU64]> = OnceLock::new();

fn page() -> &'static [AtomicU64] {
    PAGE.get_or_init(|| begin(shared::private(WORDS)))
}

fn begin(words: &'static [AtomicU64]) -> &'static [AtomicU64] {
    words[head::MAGIC].store(MAGIC, Ordering::Relaxed);
    words[head::VERSION].store(VERSION, Ordering::Relaxed);
    words
}

/// From now on, what happens in this process is written into this page, which a
/// [`Recorder`](super::Recorder) has made. To be called before anything is loaded.
///
/// # Errors
/// It is no such page, or something was written elsewhere before.
pub fn record_into(page: &OwnedFd) -> io::Result<()> {
    let words = begin(shared::map(page, WORDS)?);
    PAGE.set(words).map_err(|_| io::Error::other("this process records into another page already"))
}

/// From now on, a signal that ends this process is noted in the page first: which thread, where. So is `exit`.
///
/// What was to happen on the signal before happens then: a program that has handlers of its own should install them
/// earlier, and one that shares its process with others should know what that means.
///
/// # Errors
/// The system refused.
pub fn note_crashes() -> io::Result<()> {
    let page = page();
    crash::note_into(&page[head::NOTE..], &page[STACK..])
}

/// A slot that was never used; `None` when all are.
pub(super) fn new_slot() -> Option<Slot> {
    let page = page();
    let used = &page[head::SLOTS];
    let number = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        (used < MOST_SLOTS as u64).then_some(used + 1)
    });
    number.ok().map(|number| at(number as usize))
}

/// All slots that were ever used.
pub(crate) fn slots() -> impl Iterator<Item = Slot> {
    let used = page()[head::SLOTS].load(Ordering::Relaxed);
    // An application may have written there what it should not.
    (0..usize::try_from(used).unwrap_or(MOST_SLOTS).min(MOST_SLOTS)).map(at)
}

fn at(number: usize) -> Slot {
    Slot::new(&page()[nth(SLOTS, slot::SIZE, number)])
}

/// An application that threads may be inside of: one generation of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registered(u32);

/// What this process knows of one.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) name: Arc<str>,
    pub(crate) generation: u32,
    /// How long it may keep a thread that serves.
    pub(crate) hang_timeout: Option<Duration>,
}

static REGISTERED: Mutex<Vec<Known>> = Mutex::new(Vec::new());

impl Registered {
    /// One whose code is nowhere yet.
    pub(crate) fn new(name: Arc<str>, generation: u32, hang_timeout: Option<Duration>) -> Self {
        let mut all = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        let registered = Self(u32::try_from(all.len() + 1).unwrap_or(u32::MAX));
        if let Some(words) = registered.words() {
            write_name(words, &name);
            words[application::GENERATION].store(generation.into(), Ordering::Relaxed);
            page()[head::APPLICATIONS].store(registered.0.into(), Ordering::Release);
        }
        all.push(Known { name, generation, hang_timeout });
        registered
    }

    /// The loader has put its code there.
    pub(crate) fn lies_at(self, code: Range<usize>) {
        if let Some(words) = self.words() {
            words[application::CODE].store(code.start as u64, Ordering::Relaxed);
            words[application::CODE_END].store(code.end as u64, Ordering::Relaxed);
        }
    }

    /// It is another application: nothing of the one before was loaded. Without a name it is none.
    pub(crate) fn rename(self, name: Arc<str>, hang_timeout: Option<Duration>) {
        let mut all = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = self.words() {
            write_name(words, &name);
        }
        if let Some(known) = all.get_mut(self.0 as usize - 1) {
            *known = Known { name, hang_timeout, ..*known };
        }
    }

    /// Its words; `None` if there was no room for it.
    fn words(self) -> Option<&'static [AtomicU64]> {
        let number = self.0 as usize - 1;
        (number < MOST_APPLICATIONS).then(|| &page()[nth(APPLICATIONS, application::SIZE, number)])
    }

    /// As slots name it.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// What a slot names, counted from 0.
    pub(crate) fn known(number: usize) -> Option<Known> {
        let all = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(number).cloned()
    }
}

fn write_name(words: &[AtomicU64], name: &str) {
    let length = text::write(&words[application::NAME..], name.as_bytes());
    words[application::NAME_LENGTH].store(length as u64, Ordering::Relaxed);
}
