//! Application libraries: from a file to a descriptor that can be called.
//!
//! In: the path of a file. Out: a [`Library`] whose descriptor was checked. Never: runs what was not examined before,
//! opens the file that a build may overwrite, or closes what it opened.
//!
//! A library is never unloaded: its threads, its thread-local destructors and its `atexit` handlers would run into
//! unmapped code (`docs/decisions/`).
#![expect(unsafe_code, reason = "opening a library runs its code, and its descriptor is raw memory")]

use std::{
    collections::HashMap,
    ffi::CStr,
    fs, io,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
};

use cohost_abi as abi;
use libloading::os::unix::{self, RTLD_LOCAL, RTLD_NOW};

use super::preflight::{self, LoadError};

/// How many generations of one file a process may hold: each stays mapped (some megabytes of memory).
const MOST_GENERATIONS: usize = 100;

/// A loaded application library.
#[derive(Clone, Debug)]
pub struct Library {
    app: &'static abi::App,
    path: PathBuf,
}

impl Library {
    /// Examines, copies and opens the library at `path`.
    ///
    /// Blocks: constructors of the library run, whatever they do.
    ///
    /// # Errors
    /// Returns what is wrong with the file, or what the system's loader says.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let examined = preflight::examine(path)?;
        count_generation(path)?;
        let copy = private_copy(path)?;
        // What was examined and what is opened must be the same: the file may be replaced at any moment.
        preflight::examine(&copy).map_err(|_| changed(path))?;
        // SAFETY: running the library's constructors is what the operator asked for; the file was examined, so that
        // mapping it does not fault.
        let opened = unsafe { unix::Library::open(Some(&copy), RTLD_NOW | RTLD_LOCAL) };
        let library = opened.map_err(|error| {
            // libloading's own text says only that dlopen failed.
            let said =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            let said = said.replace(&*copy.to_string_lossy(), &path.to_string_lossy());
            LoadError::from_loader(path, &said, &examined)
        })?;
        // SAFETY: the examination says that the symbol is data, of the descriptor's kind.
        let symbol = unsafe { library.get::<*const abi::App>(abi::ENTRY_SYMBOL) };
        let app =
            symbol.map(|symbol| *symbol).map_err(|_| LoadError::EntryMissing { path: path.to_owned() })?;
        // Never closed, so the descriptor is there for ever.
        std::mem::forget(library);
        // SAFETY: data of the library, aligned as its compiler made it.
        let app = unsafe { app.as_ref() }.ok_or_else(|| LoadError::EntryMissing { path: path.to_owned() })?;
        Self::checked(app, path)
    }

    /// An application that is part of this program.
    ///
    /// # Errors
    /// Returns what is wrong with the descriptor.
    pub fn linked(app: &'static abi::App) -> Result<Self, LoadError> {
        // SAFETY: a name is null or NUL-terminated and constant.
        let name = unsafe { text(app.name) };
        Self::checked(app, Path::new(name.unwrap_or("(linked)")))
    }

    fn checked(app: &'static abi::App, path: &Path) -> Result<Self, LoadError> {
        let invalid = |what| Err(LoadError::EntryInvalid { path: path.to_owned(), what });
        if app.magic != abi::MAGIC {
            return invalid("does not begin with the magic number of a descriptor");
        }
        if app.major != abi::ABI_MAJOR {
            let (theirs, ours) = (app.major, abi::ABI_MAJOR);
            return Err(LoadError::OtherMajor { path: path.to_owned(), theirs, ours });
        }
        if app.size < size_of::<abi::App>() {
            return invalid("is smaller than a descriptor of this version");
        }
        if app.min_host_minor > abi::ABI_MINOR {
            let (needs, ours) = (app.min_host_minor, abi::ABI_MINOR);
            return Err(LoadError::HostTooOld { path: path.to_owned(), needs, ours });
        }
        let missing = app.requires_features & !super::ffi::table::FEATURES;
        if missing != 0 {
            return Err(LoadError::FeatureMissing {
                path: path.to_owned(),
                missing: format!("{missing:#x}"),
            });
        }
        if app.init.is_none() || app.handle.is_none() {
            return invalid("has no `init` or no `handle`");
        }
        Ok(Self { app, path: path.to_owned() })
    }

    /// The file it came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn app(&self) -> &'static abi::App {
        self.app
    }
}

/// # Safety
/// `name` is null, or NUL-terminated and constant.
unsafe fn text(name: *const std::ffi::c_char) -> Option<&'static str> {
    if name.is_null() {
        return None;
    }
    // SAFETY: not null, and says the caller.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

fn count_generation(path: &Path) -> Result<(), LoadError> {
    static GENERATIONS: LazyLock<Mutex<HashMap<PathBuf, usize>>> = LazyLock::new(Mutex::default);
    let mut generations = GENERATIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = generations.entry(path.to_owned()).or_default();
    if *count >= MOST_GENERATIONS {
        return Err(LoadError::TooManyGenerations { path: path.to_owned(), limit: MOST_GENERATIONS });
    }
    *count += 1;
    Ok(())
}

/// Copies the library to where nobody overwrites it, under a name never used before.
///
/// The loader takes two files of one path, or of one inode, for the same library, and gives back the old one.
fn private_copy(path: &Path) -> Result<PathBuf, LoadError> {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let failed = |error: io::Error| LoadError::Refused {
        path: path.to_owned(),
        message: format!("cannot make a private copy of it: {error}"),
        hint: "the system's directory for temporary files must be writable and allow code",
    };
    let directory = copies().map_err(|error| failed(io::Error::new(error.kind(), error.to_string())))?;
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let copy = directory.join(number.to_string());
    fs::create_dir(&copy).map_err(failed)?;
    // Its own name, so that backtraces and debuggers show it.
    let copy = copy.join(path.file_name().unwrap_or_else(|| "application.so".as_ref()));
    fs::copy(path, &copy).map_err(failed)?;
    Ok(copy)
}

/// The directory of this process's copies. It stays: debuggers read the files, and so do backtraces.
fn copies() -> io::Result<&'static Path> {
    static DIRECTORY: Mutex<Option<&'static Path>> = Mutex::new(None);
    let mut directory = DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(directory) = *directory {
        return Ok(directory);
    }
    sweep(&std::env::temp_dir());
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let made = tempfile::Builder::new().prefix(&prefix).tempdir()?.keep();
    Ok(*directory.insert(Box::leak(made.into_boxed_path())))
}

const PREFIX: &str = "cohost-libraries-";

/// Removes copies of processes that are no more.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        let Some(process) = process.and_then(|(process, _)| process.parse().ok()) else { continue };
        let Some(process) = rustix::process::Pid::from_raw(process) else { continue };
        if rustix::process::test_kill_process(process) == Err(rustix::io::Errno::SRCH) {
            // Another user's copies stay; there is nothing to be done about them.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn changed(path: &Path) -> LoadError {
    LoadError::Refused {
        path: path.to_owned(),
        message: "it changed while it was read".to_owned(),
        hint: "; deploy by renaming a finished file into place",
    }
}
