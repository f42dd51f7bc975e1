//! Files that were found, and those that are kept in memory.
//!
//! In: what was found for a path. Out: the same, for as long as nobody has to look again. Never: more bytes than it may
//! have, or what nobody has begun to look at again for longer than [`FRESH`].

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderMap;
use quick_cache::{Equivalent, Weighter, sync::Cache};

use super::look::Codings;
use crate::files::{Content, Mark, Validators};

/// A file that was found, and all that is said of it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) content: Content,
    pub(super) length: u64,
    pub(super) validators: Validators,
    pub(super) fields: HeaderMap,
    /// Which file it is.
    pub(super) mark: Mark,
    /// When somebody last looked whether it is the same still, as [`now`] has it.
    looked: AtomicU64,
}

impl Kept {
    pub(super) fn new(
        (content, length): (Content, u64),
        validators: Validators,
        fields: HeaderMap,
        mark: Mark,
    ) -> Self {
        Self { content, length, validators, fields, mark, looked: AtomicU64::new(now()) }
    }

    /// It was the same just now.
    pub(super) fn looked(&self) {
        self.looked.store(now(), Ordering::Relaxed);
    }

    /// Whether somebody has to look again, and it is the one who asks: only one, while the others send what is known.
    pub(super) fn is_due(&self) -> bool {
        let (looked, now) = (self.looked.load(Ordering::Relaxed), now());
        now.saturating_sub(looked) >= FRESH
            && self.looked.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.content, Content::Memory(_))
    }
}

/// Small files, by the paths that they were asked for by.
#[derive(Debug)]
pub(super) struct Memory(Cache<Key, Arc<Kept>, Bytes>);

type Key = (Box<str>, Codings);

/// A key that nobody keeps.
#[derive(Hash)]
struct Asked<'a>(&'a str, Codings);

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, (path, codings): &Key) -> bool {
        (self.0, self.1) == (&**path, *codings)
    }
}

impl Memory {
    /// Room for so many bytes.
    pub(super) fn new(most: u64) -> Self {
        Self(Cache::with_weighter(USUAL, most, Bytes))
    }

    pub(super) fn get(&self, path: &str, codings: Codings) -> Option<Arc<Kept>> {
        self.0.get(&Asked(path, codings))
    }

    pub(super) fn keep(&self, path: &str, codings: Codings, file: &Arc<Kept>) {
        self.0.insert((path.into(), codings), Arc::clone(file));
    }

    pub(super) fn forget(&self, path: &str, codings: Codings) {
        self.0.remove(&Asked(path, codings));
    }
}

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<Key, Arc<Kept>> for Bytes {
    fn weight(&self, (path, _): &Key, file: &Arc<Kept>) -> u64 {
        // Its head is no less than that.
        file.length + path.len() as u64 + 512
    }
}

/// Milliseconds since [`START`], and so many more that 0 is never fresh.
fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).map_or(u64::MAX, |passed| passed.saturating_add(FRESH))
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// For so long nobody looks again, in milliseconds.
const FRESH: u64 = Duration::from_secs(1).as_millis() as u64;

/// How many files it is made for; there may be more.
const USUAL: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Arc<Kept> {
        let file = tempfile::tempfile().unwrap();
        let mark = Mark::of(&rustix::fs::fstat(&file).unwrap());
        let content = Content::Memory(bytes::Bytes::from_static(b"text"));
        Arc::new(Kept::new((content, 4), Validators::default(), HeaderMap::new(), mark))
    }

    #[test]
    fn one_looks_again_and_the_others_take_what_is_known() {
        let kept = kept();
        assert!(!kept.is_due(), "it is fresh");
        kept.looked.store(0, Ordering::Relaxed);
        let due = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| kept.is_due())).collect();
            all.into_iter().map(|one| usize::from(one.join().unwrap())).sum::<usize>()
        });
        assert_eq!(due, 1);
    }

    #[test]
    fn a_path_is_found_with_its_codings_and_without_a_copy() {
        let memory = Memory::new(1_000_000);
        memory.keep("/a", Codings::default(), &kept());
        assert!(memory.get("/a", Codings::default()).is_some());
        assert!(memory.get("/b", Codings::default()).is_none());
        memory.forget("/a", Codings::default());
        assert!(memory.get("/a", Codings::default()).is_none());
    }
}
