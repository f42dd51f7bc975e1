//! The runtime directory: where a host has its socket, and where operators look for it.
//!
//! In: a path. Out: the directory, which nobody else may enter, and which is this host's for as long as it lives. Never:
//! changes a directory that was there before, or takes one that another host has.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
    process::geteuid,
};

/// The runtime directory of a running host.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Locked, which says that a host lives here; the system lets go of it however that ends.
    _lock: File,
}

/// A directory cannot be a host's runtime directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The system does not take longer names of sockets.
    #[error("{path} is too long for a socket: {length} bytes, at most {MOST}; name a shorter directory")]
    TooLong {
        /// Where the socket would be.
        path: PathBuf,
        /// How long that is.
        length: usize,
    },
    /// It is not there, and cannot be made.
    #[error("cannot make the directory {path}: {source}; make it for this user, or name another")]
    Make {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not a directory, or cannot be looked into.
    #[error("cannot use {path}: {source}; name another directory")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It belongs to somebody else, who could put another socket in place of ours.
    #[error("{path} belongs to user {owner}, and not to this one; name another directory")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others may enter it.
    #[error("others may enter {path}; `chmod 0700` it, or name another directory")]
    Open {
        /// The directory.
        path: PathBuf,
    },
    /// Another host lives there.
    #[error("another host runs in {path}; name another directory")]
    Taken {
        /// The directory.
        path: PathBuf,
    },
}

/// Where a host has its socket whose runtime directory this is.
#[must_use]
pub fn socket(directory: &Path) -> PathBuf {
    directory.join("cohost.sock")
}

impl Directory {
    /// Takes a directory, which is made if it is not there.
    ///
    /// # Errors
    /// Returns what is in the way, and the fix.
    pub fn take(path: &Path) -> Result<Self, DirectoryError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let socket = socket(&path);
        let length = socket.as_os_str().as_bytes().len();
        if length > MOST {
            return Err(DirectoryError::TooLong { path: socket, length });
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|source| DirectoryError::Make { path: path.clone(), source })?;
        let unusable = |source| DirectoryError::Unusable { path: path.clone(), source };
        let lock = open(&path).map_err(unusable)?;
        let metadata = lock.metadata().map_err(unusable)?;
        if metadata.uid() != geteuid().as_raw() {
            return Err(DirectoryError::Foreign { path, owner: metadata.uid() });
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(DirectoryError::Open { path });
        }
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(Errno::WOULDBLOCK) => Err(DirectoryError::Taken { path }),
            Err(error) => Err(unusable(error.into())),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Not through a link: whose that is may lead operators, and us, elsewhere at any time.
fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path);
    opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => io::Error::other("it is a symbolic link"),
        _ => error,
    })
}

/// Bytes of a socket's path, without the zero at its end.
const MOST: usize = 107;

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};

    use super::*;

    #[test]
    fn a_directory_is_made_for_its_user_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("not/there");
        let directory = Directory::take(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o700);
        assert_eq!(directory.path(), path);
    }

    #[test]
    fn one_that_others_may_enter_is_refused_and_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("open");
        create_dir(&path).unwrap();
        set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let refused = Directory::take(&path).unwrap_err();
        assert!(refused.to_string().contains("chmod 0700"), "{refused}");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    fn a_link_to_a_directory_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("link");
        std::os::unix::fs::symlink(parent.path(), &path).unwrap();
        let refused = Directory::take(&path).unwrap_err();
        assert!(refused.to_string().contains("it is a symbolic link; name another directory"), "{refused}");
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_refused_with_its_length() {
        let refused = Directory::take(&Path::new("/tmp").join("x".repeat(100))).unwrap_err();
        assert!(refused.to_string().contains("117 bytes, at most 107"), "{refused}");
        assert!(!Path::new("/tmp").join("x".repeat(100)).exists());
    }

    #[test]
    fn one_directory_is_for_one_host() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let first = Directory::take(&path).unwrap();
        assert!(matches!(Directory::take(&path), Err(DirectoryError::Taken { .. })));
        drop(first);
        Directory::take(&path).unwrap();
    }
}
