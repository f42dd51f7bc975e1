//! Pins: copies of application libraries that stay as they are, whatever happens to the files they were made of.
//!
//! In: the path of a library, which a build or a deployment may be writing to at this very moment. Out: a copy of it,
//! whole, named by its content; so what is the same is pinned once, and what is pinned under one name is the same.
//! Never: keeps a copy that could not be loaded, or one that was read while somebody wrote.

use std::{
    fmt::Write as _,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _, Seek as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{
    library::changed,
    owned,
    preflight::{self, LoadError, file},
};

/// Where copies are kept. Removed with the last clone, or else by the next one after the end of the process.
#[derive(Clone, Debug)]
pub struct Pins {
    directory: Arc<TempDir>,
}

/// Why a library was not pinned.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unpinned {
    /// What is wrong with it.
    pub error: LoadError,
    /// What it was whose fault that is, as far as it could be read: whoever reports it once does so for each content.
    pub content: Option<String>,
}

impl Pins {
    /// A store in `place`, readable for this user alone.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(place: &Path) -> io::Result<Self> {
        Ok(Self { directory: Arc::new(owned::directory(place, PREFIX)?) })
    }

    /// Copies the library at `path`, unless it was copied before. Blocks for as long as that takes.
    ///
    /// # Errors
    /// It is missing, it is no library that can be loaded, or it changed meanwhile.
    pub fn pin(&self, path: &Path) -> Result<PathBuf, Unpinned> {
        let without_content = |error| Unpinned { error, content: None };
        let failed = |error: io::Error| without_content(not_copied(path, &error));
        let new = tempfile::Builder::new().prefix(NEW).tempdir_in(self.directory.path()).map_err(failed)?;
        // Its own name, so that whatever shows files shows it.
        let name = path.file_name().unwrap_or_else(|| "application.so".as_ref());
        let copied = new.path().join(name);
        copy(path, &copied).map_err(without_content)?;
        let bytes = file::read(&copied).map_err(without_content)?;
        let content = hexadecimal(&Sha256::digest(&bytes));
        if let Err(error) = preflight::examine_bytes(path, &bytes) {
            return Err(Unpinned { error, content: Some(content) });
        }
        let place = self.directory.path().join(content);
        let pinned = place.join(name);
        if !pinned.exists() {
            fs::create_dir_all(&place).map_err(failed)?;
            // In one step, so that a pin is whole or not there.
            fs::rename(&copied, &pinned).map_err(failed)?;
        }
        Ok(pinned)
    }

    /// Removes all copies but those that are needed. Not while something is being pinned.
    pub fn keep(&self, needed: impl Fn(&Path) -> bool) {
        let Ok(contents) = fs::read_dir(self.directory.path()) else { return };
        for content in contents.flatten() {
            for pinned in fs::read_dir(content.path()).into_iter().flatten().flatten() {
                if !needed(&pinned.path()) {
                    // One that stays costs space, and goes with the directory.
                    let _ = fs::remove_file(pinned.path());
                }
            }
            let _not_empty = fs::remove_dir(content.path());
        }
    }
}

/// Copies a file that holds still.
fn copy(path: &Path, to: &Path) -> Result<(), LoadError> {
    let mut from = file::open(path)?;
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let before = settled(&from).map_err(unreadable)?;
    // A disk image that was named by mistake need not be copied to its end.
    if !is_elf(&mut from).map_err(unreadable)? {
        return Err(preflight::examine(path).err().unwrap_or_else(|| changed(path)));
    }
    let mut into = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(to)
        .map_err(|error| not_copied(path, &error))?;
    // By the system, which copies nothing at all where two files may share what they have in common.
    io::copy(&mut from, &mut into).map_err(|error| not_copied(path, &error))?;
    let after = from.metadata().map_err(unreadable)?;
    let there = fs::metadata(path).map_err(|_| changed(path))?;
    if stamp(&after) != stamp(&before) || stamp(&there) != stamp(&before) {
        return Err(changed(path));
    }
    Ok(())
}

/// Waits for the clock of the file system to go on since the last write, so that the next one cannot go unseen.
#[expect(clippy::disallowed_methods, reason = "the clock of a file system tells nobody when it goes on")]
fn settled(file: &File) -> io::Result<Metadata> {
    for _ in 0..WAITS {
        let metadata = file.metadata()?;
        match metadata.modified()?.elapsed() {
            Ok(age) if age < TICK => std::thread::sleep(TICK.saturating_sub(age)),
            // Also one from the future, by a clock that is not ours.
            _ => return Ok(metadata),
        }
    }
    // Whoever still writes will be noticed.
    file.metadata()
}

fn is_elf(file: &mut File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.by_ref().take(4).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head == *b"\x7fELF")
}

/// What changes when somebody writes to a file, or puts another one in its place.
fn stamp(of: &Metadata) -> impl PartialEq + use<> {
    (of.dev(), of.ino(), of.size(), of.mtime(), of.mtime_nsec())
}

fn not_copied(path: &Path, error: &io::Error) -> LoadError {
    LoadError::Refused {
        path: path.to_owned(),
        message: format!("cannot make a copy of it: {error}"),
        hint: "the system's directory for temporary files must be writable and have room",
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _never_fails = write!(digits, "{byte:02x}");
        digits
    })
}

/// Twice as long as the coarsest clock of a system with 100 ticks a second stands still.
const TICK: Duration = Duration::from_millis(20);

/// What is written to for longer than this many of them is not finished.
const WAITS: u32 = 10;

const PREFIX: &str = "cohost-pins-";
const NEW: &str = ".new-";
