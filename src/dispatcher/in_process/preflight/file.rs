//! From a path to bytes.
//!
//! Never: waits on a pipe, or reads much of a file that is no ELF file anyway.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use super::{LoadError, elf};

/// The whole file, or its first bytes where these already say that it is no ELF file.
pub(in super::super) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let mut file = open(path)?;
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut bytes).map_err(unreadable)?;
    // A disk image or a log that was named by mistake need not be read to its end.
    if elf::has_magic(&bytes) {
        file.read_to_end(&mut bytes).map_err(unreadable)?;
    }
    Ok(bytes)
}

/// The file, if it is one.
pub(in super::super) fn open(path: &Path) -> Result<File, LoadError> {
    let kind = std::fs::metadata(path).map_err(|error| cannot_open(path, error))?.file_type();
    if !kind.is_file() {
        let kind = if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() {
            "a pipe"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "a device"
        };
        return Err(LoadError::NotAFile { path: path.to_owned(), kind });
    }
    // Should a pipe have taken its place since, opening it must not wait for a writer.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|error| cannot_open(path, error))
}

fn cannot_open(path: &Path, source: io::Error) -> LoadError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => match std::fs::read_link(&path) {
            Ok(target) => LoadError::DanglingLink { path, target },
            Err(_) => LoadError::Missing { path },
        },
        _ => LoadError::Unreadable { path, source },
    }
}

/// Enough to see what kind of file it is.
const HEAD: u64 = 4096;
