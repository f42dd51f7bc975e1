//! Pins: copies of application libraries that stay as they are, whatever happens to the files they were made of.
//!
//! In: the path of a library, which a build or a deployment may be writing to at this very moment. Out: a copy of it,
//! whole, named by its content; so what is the same is pinned once, and what is pinned under one name is the same.
//! Never: keeps a copy that could not be loaded, or one that was read while somebody wrote.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    library::changed,
    owned,
    preflight::{self, LoadError, file},
};
use crate::sys::stamp::Stamp;

/// Where copies are kept. Removed with the last clone, or else by the next store after the end of the process.
#[derive(Clone, Debug)]
pub struct Pins {
    store: Arc<Store>,
}

#[derive(Debug)]
struct Store {
    directory: PathBuf,
    _lock: owned::Lock,
    /// What was copied already, to know it again without a look into it.
    known: Mutex<HashMap<PathBuf, (Stamp, PathBuf)>>,
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
    /// A store in `place`. Only this user sees what is in it; who is told of a copy may read it if the original may be
    /// read by all.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(place: &Path) -> io::Result<Self> {
        let (directory, lock) = owned::directory(place, PREFIX)?;
        pass_through(directory.path())?;
        Ok(Self::in_directory(directory.keep(), lock))
    }

    /// The store that has this copy, made by the program that was in this process before. A store of its own, if it is of
    /// another process.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn with(pinned: &Path, place: &Path) -> io::Result<Self> {
        let store = pinned.parent().and_then(Path::parent);
        let name = store.and_then(Path::file_name).and_then(OsStr::to_str);
        let ours = name.is_some_and(|name| name.starts_with(&format!("{PREFIX}{}-", std::process::id())));
        match store.filter(|_| ours) {
            Some(store) => Ok(Self::in_directory(store.to_owned(), owned::Lock::of(store)?)),
            None => Self::new(place),
        }
    }

    fn in_directory(directory: PathBuf, lock: owned::Lock) -> Self {
        Self { store: Arc::new(Store { directory, _lock: lock, known: Mutex::default() }) }
    }

    /// Copies the library at `path`, unless it was copied before. Blocks for as long as that takes.
    ///
    /// # Errors
    /// It is missing, it is no library that can be loaded, or it changed meanwhile.
    pub fn pin(&self, path: &Path) -> Result<PathBuf, Unpinned> {
        if let Some(pinned) = self.known(path) {
            return Ok(pinned);
        }
        let without_content = |error| Unpinned { error, content: None };
        let failed = |error: io::Error| without_content(not_copied(path, &error));
        let new = tempfile::Builder::new().prefix(NEW).tempdir_in(&self.store.directory).map_err(failed)?;
        // Its own name, so that whatever shows files shows it.
        let name = path.file_name().unwrap_or_else(|| "application.so".as_ref());
        let copied = new.path().join(name);
        let stamp = copy(path, &copied).map_err(without_content)?;
        let bytes = file::read(&copied).map_err(without_content)?;
        let content = hexadecimal(&Sha256::digest(&bytes));
        if let Err(error) = preflight::examine_bytes(path, &bytes) {
            return Err(Unpinned { error, content: Some(content) });
        }
        let place = self.store.directory.join(content);
        let pinned = place.join(name);
        if !pinned.exists() {
            fs::create_dir_all(&place).and_then(|()| pass_through(&place)).map_err(failed)?;
            // In one step, so that a pin is whole or not there.
            fs::rename(&copied, &pinned).map_err(failed)?;
        }
        self.lock().insert(path.to_owned(), (stamp, pinned.clone()));
        Ok(pinned)
    }

    /// The copy of a file that nobody has touched since it was made.
    fn known(&self, path: &Path) -> Option<PathBuf> {
        let (stamp, pinned) = self.lock().get(path).cloned()?;
        let same = fs::metadata(path).is_ok_and(|found| Stamp::of(&found) == stamp);
        (same && pinned.exists()).then_some(pinned)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, (Stamp, PathBuf)>> {
        self.store.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes all copies but those that are needed. Not while something is being pinned.
    pub fn keep(&self, needed: impl Fn(&Path) -> bool) {
        let Ok(contents) = fs::read_dir(&self.store.directory) else { return };
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

impl Drop for Store {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next store.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Copies a file that holds still; which one it was.
fn copy(path: &Path, to: &Path) -> Result<Stamp, LoadError> {
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
    // A process of the application may run as somebody else.
    let for_all = from.metadata().map_err(unreadable)?.permissions().mode() & 0o004 != 0;
    let mode = Permissions::from_mode(if for_all { 0o444 } else { 0o400 });
    into.set_permissions(mode).map_err(|error| not_copied(path, &error))?;
    // By the system, which copies nothing at all where two files may share what they have in common.
    io::copy(&mut from, &mut into).map_err(|error| not_copied(path, &error))?;
    let after = from.metadata().map_err(unreadable)?;
    let there = fs::metadata(path).map_err(|_| changed(path))?;
    if Stamp::of(&after) != before || Stamp::of(&there) != before {
        return Err(changed(path));
    }
    Ok(before)
}

/// Lets others go through a directory to what they know of, without letting them see what there is.
fn pass_through(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o711))
}

/// Waits for the clock of the file system to go on since the last write, so that the next one cannot go unseen.
#[expect(clippy::disallowed_methods, reason = "the clock of a file system tells nobody when it goes on")]
fn settled(file: &File) -> io::Result<Stamp> {
    for _ in 0..WAITS {
        let stamp = Stamp::of(&file.metadata()?);
        match stamp.touched().elapsed() {
            Ok(age) if age < TICK => std::thread::sleep(TICK.saturating_sub(age)),
            // Also one from the future, by a clock that is not ours.
            _ => return Ok(stamp),
        }
    }
    // Whoever still writes will be noticed.
    Ok(Stamp::of(&file.metadata()?))
}

fn is_elf(file: &mut File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.by_ref().take(4).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head == *b"\x7fELF")
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
