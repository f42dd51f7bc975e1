//! What becomes another when somebody writes to a file, or puts another one in its place, whatever date it claims to have.
//!
//! In: what the system says of a file. Out: something to compare. Never: looks into the file.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    time::{Duration, SystemTime},
};

/// The same, as long as nobody has done anything to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    number: u64,
    size: u64,
    modified: (i64, i64),
    /// Also when an old date is written over a new one.
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            number: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// When somebody last did something to it.
    pub(crate) fn touched(&self) -> SystemTime {
        let (seconds, nanoseconds) = self.changed;
        // Nothing was done before 1970.
        let since = Duration::new(seconds.try_into().unwrap_or(0), nanoseconds.try_into().unwrap_or(0));
        SystemTime::UNIX_EPOCH + since
    }
}
