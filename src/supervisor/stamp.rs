//! Which file it is that lies at a path.
//!
//! In: a path. Out: what the system says of the file, without a look into it. Never: tells apart what was written over
//! the same file, is as long, and claims to be as old.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use serde::{Deserialize, Serialize};

/// Which file it is that lies at a path: another one, or other content, is another stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    /// When its content was written last.
    written: (i64, i64),
}

impl Stamp {
    /// The stamp of the file at `path`; `None` if it cannot be looked at.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            written: (file.mtime(), file.mtime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_takes_the_place_of_another_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next) = (folder.path().join("a"), folder.path().join("b"));
        assert_eq!(Stamp::of(&path), None);
        std::fs::write(&path, "same").unwrap();
        let first = Stamp::of(&path).unwrap();
        assert_eq!(Stamp::of(&path), Some(first));
        std::fs::write(&next, "same").unwrap();
        std::fs::rename(next, &path).unwrap();
        assert_ne!(Stamp::of(&path), Some(first));
    }
}
