//! Directories that belong to this process, and those whose process is no more.
//!
//! In: a place, and what the directory is for. Out: a directory that nobody else can read, named after the process.
//! Never: removes one whose process may live. The number alone does not tell: a process of another container that shares
//! the place is not seen from here. So each directory is locked for as long as its process lives.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
    process::{Pid, getpid, test_kill_process},
};
use tempfile::TempDir;

/// Makes a directory in `place` whose name begins with `prefix`, and removes those of this prefix that were left behind.
///
/// It is ours for as long as the lock is kept.
pub(super) fn directory(place: &Path, prefix: &str) -> io::Result<(TempDir, Lock)> {
    sweep(place, prefix);
    let directory = tempfile::Builder::new()
        .prefix(&format!("{prefix}{}-", std::process::id()))
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(place)?;
    let lock = Lock::of(directory.path())?;
    Ok((directory, lock))
}

/// Says that the process of a directory lives; the system lets go of it however that ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "kept open")] File);

impl Lock {
    /// That of a directory of this process.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let file = open(directory)?;
        // Where a file system has no locks, the number of the process has to do.
        let _ = flock(&file, FlockOperation::NonBlockingLockShared);
        Ok(Self(file))
    }
}

fn open(directory: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(directory)
}

fn is_locked(directory: &Path) -> bool {
    // What cannot be opened is another user's, or no directory; there is nothing to be done about that.
    open(directory)
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK))
}

/// Whether a directory with our own number is of a process that had it before: in a container, the first one always has the
/// same. Not one that was made a moment ago, perhaps by such a process of another container, which is about to lock it.
fn is_of_one_before(directory: &Path) -> bool {
    let made = fs::metadata(directory).and_then(|found| found.modified());
    let is_old = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > MOMENT));
    let is_free = |file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    is_old && open(directory).is_ok_and(is_free)
}

const MOMENT: Duration = Duration::from_secs(60);

fn sweep(place: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(prefix)?.split_once('-'));
        let Some(process) = process.and_then(|(process, _)| process.parse().ok()) else { continue };
        let Some(process) = Pid::from_raw(process) else { continue };
        let gone = test_kill_process(process) == Err(Errno::SRCH) && !is_locked(&entry.path());
        if gone || process == getpid() && is_of_one_before(&entry.path()) {
            // Another user's stay; there is nothing to be done about them.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_left_behind_is_removed_by_the_next_one() {
        let place = tempfile::tempdir().unwrap();
        // Its number is free again once it was waited for, and not given out that soon.
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let left = place.path().join(format!("x-{}-left", gone.id()));
        let others = place.path().join(format!("y-{}-left", gone.id()));
        fs::create_dir(&left).unwrap();
        fs::create_dir(&others).unwrap();
        let (first, _lock) = directory(place.path(), "x-").unwrap();
        let _second = directory(place.path(), "x-").unwrap();
        assert!(!left.exists() && others.exists() && first.path().exists());
        assert_eq!(fs::metadata(first.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_belongs_to_a_process_that_cannot_be_seen_from_here_stays() {
        let place = tempfile::tempdir().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        // As of a process in another container, where it has this number.
        let elsewhere = place.path().join(format!("x-{}-elsewhere", gone.id()));
        fs::create_dir(&elsewhere).unwrap();
        let lock = Lock::of(&elsewhere).unwrap();
        drop(directory(place.path(), "x-").unwrap());
        assert!(elsewhere.exists());
        drop(lock);
        drop(directory(place.path(), "x-").unwrap());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn what_a_process_of_our_own_number_left_behind_is_removed_too() {
        let place = tempfile::tempdir().unwrap();
        let (ours, _lock) = directory(place.path(), "x-").unwrap();
        let made = |name: &str| {
            let path = place.path().join(format!("x-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            path
        };
        let (left, new) = (made("left"), made("new"));
        let long_ago = std::time::SystemTime::now() - 2 * MOMENT;
        for directory in [&left, ours.path()] {
            File::open(directory).unwrap().set_modified(long_ago).unwrap();
        }
        let _next = directory(place.path(), "x-").unwrap();
        assert!(!left.exists() && new.exists() && ours.path().exists());
    }
}
