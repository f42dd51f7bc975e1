//! What is in a folder, as far as somebody who asked for it would get it.
//!
//! In: the name of a folder. Out: what is in it, each looked up as if it had been asked for. Never: names what would be
//! refused, or more than [`MOST_LISTED`] things, or waits for what is no file. It blocks for as long as the file system
//! does.

use std::io;

use rustix::fs::{Dir, DirEntry, FileType, Stat};

use super::{
    look::{may_be_asked_for, uncompressed},
    private,
};
use crate::{
    files::{Found, Name, NotOpened, open},
    front::Files,
};

/// What is in a folder: directories first, each kind in the order of the names' bytes.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    /// Whether there may be more than that.
    pub(super) is_cut: bool,
}

/// Something in a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Bytes, which need not be text.
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// When it was written last, in seconds since 1970.
    pub(super) modified: Option<u64>,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Directory,
    /// Of so many bytes.
    File(u64),
}

impl Listing {
    /// What is in the folder `name`.
    pub(super) fn of(files: &Files, name: &Name) -> Result<Self, NotOpened> {
        let folder = match open(&files.root, name.path())? {
            Found::Directory(folder) if !private::is(files, name.path(), &folder) => folder.file,
            Found::Directory(_) | Found::File(_) => return Err(NotOpened::Missing),
        };
        let mut listing = Self::default();
        for (read, inside) in Dir::new(folder).map_err(failed)?.enumerate() {
            let entry = Entry::of(files, name, &inside.map_err(failed)?);
            // As the file system names them: to know which come first by name, all of them would have to be read.
            if read == MOST_READ || (entry.is_some() && listing.entries.len() == MOST_LISTED) {
                listing.is_cut = true;
                break;
            }
            listing.entries.extend(entry);
        }
        let is_file = |entry: &Entry| entry.kind != Kind::Directory;
        listing
            .entries
            .sort_by(|one, other| is_file(one).cmp(&is_file(other)).then_with(|| one.name.cmp(&other.name)));
        Ok(listing)
    }
}

impl Entry {
    /// What is called `inside` in the folder `name`, if whoever asks for it gets it.
    fn of(files: &Files, folder: &Name, inside: &DirEntry) -> Option<Self> {
        // To open anything else may wake somebody.
        if !matches!(
            inside.file_type(),
            FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown
        ) {
            return None;
        }
        let own = inside.file_name().to_bytes();
        let name = folder.below(own).filter(|name| may_be_asked_for(files, name))?;
        let (kind, stat) = match open(&files.root, name.path()).ok()? {
            Found::Directory(opened) | Found::File(opened) if private::is(files, name.path(), &opened) => {
                return None;
            }
            Found::Directory(opened) => (Kind::Directory, opened.stat),
            Found::File(_) if is_sent_for_another(files, folder, own) => return None,
            Found::File(opened) => (Kind::File(size(&opened.stat)), opened.stat),
        };
        Some(Self { name: own.to_owned(), kind, modified: u64::try_from(stat.st_mtime).ok() })
    }
}

/// Whether it is the compressed form of a file beside it.
fn is_sent_for_another(files: &Files, folder: &Name, own: &[u8]) -> bool {
    let plain = || folder.below(uncompressed(own)?);
    files.precompressed
        && plain().is_some_and(|name| matches!(open(&files.root, name.path()), Ok(Found::File(_))))
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

fn failed(errno: rustix::io::Errno) -> NotOpened {
    NotOpened::Failed(io::Error::from(errno))
}

/// More than that nobody reads, and a page of it is a few megabytes if all names are as long as they can be.
pub(super) const MOST_LISTED: usize = 2000;

/// So many are looked at, those that are not shown among them.
const MOST_READ: usize = 10 * MOST_LISTED;
