//! Directories that belong to this process, and those whose process is no more.
//!
//! In: a place, and what the directory is for. Out: a directory that nobody else can read, named after the process.
//! Never: removes one whose process may live.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use tempfile::TempDir;

/// Makes a directory in `place` whose name begins with `prefix`, and removes those of this prefix that were left behind.
pub(super) fn directory(place: &Path, prefix: &str) -> io::Result<TempDir> {
    sweep(place, prefix);
    tempfile::Builder::new()
        .prefix(&format!("{prefix}{}-", std::process::id()))
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(place)
}

fn sweep(place: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(prefix)?.split_once('-'));
        let Some(process) = process.and_then(|(process, _)| process.parse().ok()) else { continue };
        let Some(process) = Pid::from_raw(process) else { continue };
        if test_kill_process(process) == Err(Errno::SRCH) {
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
        let first = directory(place.path(), "x-").unwrap();
        let _second = directory(place.path(), "x-").unwrap();
        assert!(!left.exists() && others.exists() && first.path().exists());
        assert_eq!(fs::metadata(first.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
