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
    ffi::{CStr, c_void},
    fs, io,
    mem::{MaybeUninit, offset_of},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cohost_abi as abi;
use libloading::os::unix::{self, RTLD_LOCAL, RTLD_NOW};
use tempfile::TempDir;

use super::{
    listening, owned, place,
    preflight::{self, LoadError, Note},
};

/// How many generations of one file a process may hold for each application: each stays mapped (some megabytes of memory).
const MOST_GENERATIONS: usize = 100;

/// A loaded application library.
#[derive(Clone, Debug)]
pub struct Library {
    app: &'static abi::App,
    path: PathBuf,
    /// Where the loader has put its code; `None` if it is part of this program.
    code: Option<Range<usize>>,
}

impl Library {
    /// Examines, copies and opens the library at `path`.
    ///
    /// Blocks: constructors of the library run, whatever they do.
    ///
    /// # Errors
    /// Returns what is wrong with the file, or what the system's loader says.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        Self::open_for("", (path, path))
    }

    /// The same for `application`, with the bytes of `pinned`, a copy of what was at `path`. What the library
    /// wants to find beside itself is looked for at `path`.
    pub(super) fn open_for(application: &str, (path, pinned): (&Path, &Path)) -> Result<Self, LoadError> {
        let examined = preflight::examine_copy(path, pinned)?;
        listening::before();
        let counted = Counted::one_more(application, path)?;
        // Also of what is pinned: the loader would take a second generation of one file for the first.
        let copy = private_copy(path, pinned)?;
        let library = open_copy(path, &copy, &examined)?;
        // From here on it is mapped, whatever comes of it.
        counted.stays();
        let copy = copy.stays();
        // SAFETY: the examination says that the symbol is data, of the descriptor's kind.
        let symbol = unsafe { library.get::<*const c_void>(abi::ENTRY_SYMBOL) };
        let symbol = symbol.map(|symbol| *symbol).ok().filter(|symbol| !symbol.is_null());
        // Never closed, so the descriptor is there for ever.
        std::mem::forget(library);
        let symbol = symbol.ok_or_else(|| LoadError::EntryMissing { path: path.to_owned() })?;
        // SAFETY: data of the library, which the examination took for a descriptor.
        let app = unsafe { descriptor(symbol, path) }?;
        if let Some(note) = examined.note {
            // What was decided before any of its code ran has to hold for what it is now.
            note.check_same(Note::of(app), &examined)?;
        }
        Ok(Self { code: place::of(&copy), ..Self::checked(app, path)? })
    }

    /// An application that is part of this program.
    ///
    /// # Errors
    /// Returns what is wrong with the descriptor.
    pub fn linked(app: &'static abi::App) -> Result<Self, LoadError> {
        listening::before();
        // SAFETY: a name is null or NUL-terminated and constant.
        let name = unsafe { text(app.name) };
        Self::checked(app, Path::new(name.unwrap_or("(linked)")))
    }

    fn checked(app: &'static abi::App, path: &Path) -> Result<Self, LoadError> {
        let invalid = |what| Err(LoadError::EntryInvalid { path: path.to_owned(), what });
        if app.magic != abi::MAGIC {
            return invalid(NO_MAGIC);
        }
        if app.major != abi::ABI_MAJOR {
            let (theirs, ours) = (app.major, abi::ABI_MAJOR);
            return Err(LoadError::OtherMajor { path: path.to_owned(), theirs, ours });
        }
        if app.size < LEAST_SIZE {
            return invalid(TOO_SMALL);
        }
        Note::of(app).check_host(path)?;
        if app.init.is_none() || app.handle.is_none() {
            return invalid("has no `init` or no `handle`");
        }
        Ok(Self { app, path: path.to_owned(), code: None })
    }

    /// The file it came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn app(&self) -> &'static abi::App {
        self.app
    }

    pub(super) fn code(&self) -> Option<Range<usize>> {
        self.code.clone()
    }
}

/// What every version of a descriptor begins with.
#[repr(C)]
struct Beginning {
    magic: u64,
    size: usize,
    major: u16,
}

/// Copies a descriptor, of which an older library has less and a newer one more than this host knows. Functions that
/// a library does not have are absent, as if it had left them out.
///
/// # Safety
/// `symbol` points to data that stays, and of which it is true what it says if it begins as a descriptor.
unsafe fn descriptor(symbol: *const c_void, path: &Path) -> Result<&'static abi::App, LoadError> {
    let invalid = |what| Err(LoadError::EntryInvalid { path: path.to_owned(), what });
    // SAFETY: nothing that is exported under this name is smaller; it may lie anywhere.
    let beginning = unsafe { symbol.cast::<Beginning>().read_unaligned() };
    if beginning.magic != abi::MAGIC {
        return invalid(NO_MAGIC);
    }
    if beginning.major != abi::ABI_MAJOR {
        let (theirs, ours) = (beginning.major, abi::ABI_MAJOR);
        return Err(LoadError::OtherMajor { path: path.to_owned(), theirs, ours });
    }
    if beginning.size < LEAST_SIZE {
        return invalid(TOO_SMALL);
    }
    // What may be missing are pointers; half a pointer is none.
    let known = beginning.size.min(size_of::<abi::App>()) / size_of::<usize>() * size_of::<usize>();
    let app = Box::leak(Box::new(MaybeUninit::<abi::App>::zeroed()));
    // SAFETY: it is as large as it says, and `app` is as large as the host knows it.
    unsafe { app.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(symbol.cast(), known) };
    // SAFETY: numbers, pointers and functions that may be null: whatever is zero is valid.
    Ok(unsafe { app.assume_init_ref() })
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

/// Opens a copy of what is at `path`.
fn open_copy(path: &Path, copy: &Copied, examined: &preflight::Library) -> Result<unix::Library, LoadError> {
    let Copied { file, .. } = copy;
    // What was examined and what is opened must be the same: the file may be replaced at any moment.
    preflight::examine(file).map_err(|_| changed(path))?;
    open_siblings(examined, file);
    open(file).map_err(|said| {
        let said = said.replace(&*file.to_string_lossy(), &path.to_string_lossy());
        LoadError::from_loader(path, &said, examined)
    })
}

/// Opens a file with all that it needs, or says what the loader said.
fn open(file: &Path) -> Result<unix::Library, String> {
    // SAFETY: running the library's constructors is what the operator asked for; the file was examined, or is one that
    // the loader would open for it, so that mapping it does not fault.
    let opened = unsafe { unix::Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) };
    // libloading's own text says only that dlopen failed.
    opened.map_err(|error| {
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
    })
}

/// Opens what the library wants to find beside itself (`$ORIGIN`), where it really is: to the loader, the place of the
/// library is that of the copy.
///
/// The loader knows an open library by the name it gives itself. One that gives itself none is only found by its file,
/// which is what the links are for. Whatever fails here, the loader says again when it needs it.
fn open_siblings(library: &preflight::Library, copy: &Path) {
    for sibling in library.siblings() {
        match open(&sibling.file) {
            Ok(opened) => std::mem::forget(opened),
            Err(said) => {
                tracing::debug!(file = %sibling.file.display(), said, "not opened ahead of the library");
            }
        }
        let Some(place) = sibling.below.map(|below| copy.with_file_name("").join(below)) else { continue };
        let linked = fs::create_dir_all(&place)
            .and_then(|()| std::os::unix::fs::symlink(&sibling.file, place.join(sibling.name)));
        if let Err(error) = linked {
            tracing::debug!(file = %sibling.file.display(), %error, "not linked to beside the library's copy");
        }
    }
}

/// A generation that counts, unless it goes away before it stays.
#[derive(Debug)]
struct Counted(Counts);

/// Of which application, and of which file. Many applications may have one file, and each changes it in its own time.
type Counts = (String, PathBuf);

static GENERATIONS: LazyLock<Mutex<HashMap<Counts, usize>>> = LazyLock::new(Mutex::default);

impl Counted {
    fn one_more(application: &str, path: &Path) -> Result<Self, LoadError> {
        let counts = (application.to_owned(), path.to_owned());
        let mut generations = GENERATIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let count = generations.entry(counts.clone()).or_default();
        if *count >= MOST_GENERATIONS {
            return Err(LoadError::TooManyGenerations { path: path.to_owned(), limit: MOST_GENERATIONS });
        }
        *count += 1;
        Ok(Self(counts))
    }

    /// It is in memory, and will be.
    fn stays(self) {
        std::mem::forget(self);
    }
}

/// What the loader refused is not in memory, and may be tried as often as somebody likes.
impl Drop for Counted {
    fn drop(&mut self) {
        let mut generations = GENERATIONS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = generations.get_mut(&self.0) {
            *count -= 1;
        }
    }
}

/// A copy of a library, which is removed unless it stays.
struct Copied {
    directory: TempDir,
    file: PathBuf,
}

impl Copied {
    /// It was opened. Debuggers read the file, and so do backtraces.
    fn stays(self) -> PathBuf {
        let _kept = self.directory.keep();
        self.file
    }
}

/// Copies the library to where nobody overwrites it, under a name never used before.
///
/// The loader takes two files of one path, or of one inode, for the same library, and gives back the old one.
fn private_copy(path: &Path, pinned: &Path) -> Result<Copied, LoadError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let failed = |error: io::Error| LoadError::Refused {
        path: path.to_owned(),
        message: format!("cannot make a private copy of it: {error}"),
        hint: "the system's directory for temporary files must be writable and allow code",
    };
    let all = copies().map_err(failed)?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = tempfile::Builder::new().prefix(&format!("{number}-")).tempdir_in(all).map_err(failed)?;
    // Its own name, so that backtraces and debuggers show it.
    let file = directory.path().join(path.file_name().unwrap_or_else(|| "application.so".as_ref()));
    fs::copy(pinned, &file).map_err(failed)?;
    Ok(Copied { directory, file })
}

/// The directory of this process's copies. It stays: debuggers read the files, and so do backtraces.
fn copies() -> io::Result<&'static Path> {
    static DIRECTORY: Mutex<Option<&'static Path>> = Mutex::new(None);
    let mut directory = DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(directory) = *directory {
        return Ok(directory);
    }
    let (made, lock) = owned::directory(&std::env::temp_dir(), PREFIX)?;
    // For as long as the process.
    std::mem::forget(lock);
    Ok(*directory.insert(Box::leak(made.keep().into_boxed_path())))
}

const PREFIX: &str = "cohost-libraries-";

/// Where the descriptor of the oldest library ends that can be served: it can be started, and handles requests.
const LEAST_SIZE: usize = offset_of!(abi::App, drain);

const NO_MAGIC: &str = "does not begin with the magic number of a descriptor";
const TOO_SMALL: &str = "is smaller than any descriptor";

// The magic number, the size and the major version stay where they are, whatever else changes.
const _: () = assert!(
    offset_of!(abi::App, magic) == offset_of!(Beginning, magic)
        && offset_of!(abi::App, size) == offset_of!(Beginning, size)
        && offset_of!(abi::App, major) == offset_of!(Beginning, major)
);

pub(super) fn changed(path: &Path) -> LoadError {
    LoadError::Refused {
        path: path.to_owned(),
        message: "it changed while it was read".to_owned(),
        hint: "; deploy by renaming a finished file into place",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_application_may_have_so_many_generations_of_a_file_that_others_have_too() {
        let path = Path::new("/srv/many.so");
        for _ in 0..MOST_GENERATIONS {
            Counted::one_more("many", path).unwrap().stays();
        }
        let refused = Counted::one_more("many", path).unwrap_err();
        assert!(matches!(refused, LoadError::TooManyGenerations { .. }), "{refused}");
        drop(Counted::one_more("another", path).unwrap());
    }
}
