//! Files that were found, and those that are kept in memory.
//!
//! In: what was found for a path. Out: the same, for as long as nobody has to look again. Never: more bytes than it may
//! have, or what nobody has looked at for longer than [`FRESH`].

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderMap;
use quick_cache::{Weighter, sync::Cache};

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
    /// When somebody last looked whether it is the same still, in milliseconds since [`START`].
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

    pub(super) fn is_fresh(&self) -> bool {
        now().saturating_sub(self.looked.load(Ordering::Relaxed)) < FRESH
    }

    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.content, Content::Memory(_))
    }
}

/// Small files, by the paths that they were asked for by.
#[derive(Debug)]
pub(super) struct Memory(Cache<Key, Arc<Kept>, Bytes>);

type Key = (String, Codings);

impl Memory {
    /// Room for so many bytes.
    pub(super) fn new(most: u64) -> Self {
        Self(Cache::with_weighter(USUAL, most, Bytes))
    }

    pub(super) fn get(&self, path: &str, codings: Codings) -> Option<Arc<Kept>> {
        self.0.get(&(path.to_owned(), codings))
    }

    pub(super) fn keep(&self, path: String, codings: Codings, file: &Arc<Kept>) {
        self.0.insert((path, codings), Arc::clone(file));
    }

    pub(super) fn forget(&self, path: &str, codings: Codings) {
        self.0.remove(&(path.to_owned(), codings));
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

/// Milliseconds since [`START`].
fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// For so long nobody looks again, in milliseconds.
const FRESH: u64 = Duration::from_secs(1).as_millis() as u64;

/// How many files it is made for; there may be more.
const USUAL: usize = 1000;
