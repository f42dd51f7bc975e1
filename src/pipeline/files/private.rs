//! What is not for sending, whatever it is called.
//!
//! In: the paths that the host has for itself, and what is about to be sent. Out: whether it is one of those: by its name,
//! by being the same file under another one, or by lying in such a folder, whatever links lead there. It looks at the disk
//! each time, since what those paths lead to changes: keys are renewed, and links turned.

use std::{
    fs,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, Stat, stat};

use crate::{files::Opened, front::Files};

/// Whether `name`, below the folder of `files`, is one of those paths, as they are written.
///
/// It is what is left while such a file is put in place of another: for that moment it is not what its path leads to.
pub(super) fn is_named(files: &Files, name: &Path) -> bool {
    // Not where the folder itself is one, or is in one: somebody wants just that to be sent.
    let below = |private: &PathBuf| private.strip_prefix(&files.root).is_ok_and(|it| is_at(it, name));
    files.private.iter().any(below)
}

fn is_at(private: &Path, name: &Path) -> bool {
    !private.as_os_str().is_empty() && name.starts_with(private)
}

/// Whether the file or folder that was opened at `name`, below the folder of `files`, is what one of those paths leads
/// to, or in it.
pub(super) fn is(files: &Files, name: &Path, opened: &Opened) -> bool {
    let own = identity(&opened.stat);
    let mut folders = None;
    files.private.iter().any(|private| {
        let Ok(found) = stat(private) else { return false };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                let folders = folders.get_or_insert_with(|| folders_of(files, name, opened));
                folders.contains(&identity(&found))
            }
            _ => identity(&found) == own,
        }
    })
}

/// It, and the folders that it lies in, up to the folder of `files`.
fn folders_of(files: &Files, name: &Path, opened: &Opened) -> Vec<Identity> {
    // Where the kernel says it is; without /proc, where its name leads by now.
    let place = fs::read_link(format!("/proc/self/fd/{}", opened.file.as_raw_fd()))
        .or_else(|_| fs::canonicalize(files.root.join(name)));
    let root = stat(&files.root).ok().map(|stat| identity(&stat));
    let place = place.unwrap_or_default();
    let folders = place.ancestors().map_while(|folder| stat(folder).ok());
    folders.map(|stat| identity(&stat)).take_while(|folder| Some(*folder) != root).collect()
}

/// Which file it is, under all its names.
type Identity = (u64, u64);

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}
