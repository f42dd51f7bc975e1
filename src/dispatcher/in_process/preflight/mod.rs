//! What an ELF file says of itself, read before any of its code runs.
//!
//! In: the bytes of a file that is configured as an application library. Out: a [`Library`], or a [`LoadError`] that
//! names the file, what is wrong with it and what to do. The system's loader comes after this and has the last word;
//! [`LoadError::from_loader`] turns its words into the same errors.
//!
//! Never: runs or maps the file (a mapped file that is cut short ends the process), believes an offset or a length in
//! it, or reads an environment variable.

mod dependencies;
mod dynamic;
mod elf;
mod error;
pub(super) mod file;
mod machine;
mod report;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use dependencies::{Dependency, default_directories};
pub use error::LoadError;

/// What this host offers to applications, as [`cohost_abi::Host::features`] will say it.
pub const OFFERED_FEATURES: u64 =
    cohost_abi::features::UPGRADE | cohost_abi::features::TRAILERS | cohost_abi::features::FILES;

/// Reads the file at `path` once and says what it is.
pub fn examine(path: &Path) -> Result<Library, LoadError> {
    examine_bytes(path, &file::read(path)?)
}

/// Reads a copy of the file at `path`, and says what it is under the file's own name.
pub fn examine_copy(path: &Path, copy: &Path) -> Result<Library, LoadError> {
    examine_bytes(path, &file::read(copy)?)
}

/// Says what `bytes` are; `path` is where they are from, for messages and for `$ORIGIN`.
///
/// Work and memory are bounded by the length of `bytes`, whatever they say.
pub fn examine_bytes(path: &Path, bytes: &[u8]) -> Result<Library, LoadError> {
    let image = elf::Image::parse(path, bytes)?;
    let library = image.library(path)?;
    library.check()?;
    Ok(library)
}

/// What an application library says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Library {
    /// Where it is.
    pub path: PathBuf,
    /// The note, if it has one.
    pub note: Option<Note>,
    /// The same facts out of the descriptor, if its bytes in the file are what they will be in memory.
    pub descriptor: Option<Note>,
    /// Exports [`cohost_abi::ENTRY_SYMBOL`] as data. Always so in a library that passed [`examine`].
    pub entry: bool,
    /// Another major version of the ABI for which it exports an entry.
    pub other_entry: Option<u16>,
    /// The libraries that it needs, in the order in which they are searched.
    pub needed: Vec<String>,
    /// Where it wants them to be searched first, as written (`$ORIGIN` and all).
    pub runpath: Vec<String>,
    /// Wants its thread-local storage inside the block that was laid out when the process started.
    pub static_tls: bool,
    /// Size of its thread-local storage.
    pub tls_size: u64,
    /// Asks to stay mapped for ever.
    pub nodelete: bool,
    /// Asks for a stack that can be executed.
    pub executable_stack: bool,
    /// Symbols of which the whole process has only one (C++ statics, mostly). At most [`NAMES_KEPT`].
    pub unique_symbols: Vec<String>,
    /// Symbols that it exports although no host asks for them. At most [`NAMES_KEPT`].
    pub exported: Vec<String>,
    /// The linker's identification of this build, in hexadecimal.
    pub build_id: Option<String>,
    /// The name under which the loader knows it.
    pub soname: Option<String>,
    /// What it was built for; in a library that passed [`examine`], what this host runs on.
    pub machine: &'static str,
}

/// What a library says of its side of the contract, in the note or in the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Major version of the contract.
    pub major: u16,
    /// Minor version.
    pub minor: u16,
    /// The oldest host it can live with.
    pub min_host_minor: u16,
    /// See [`cohost_abi::app_flags`].
    pub flags: u32,
    /// [`cohost_abi::features`] without which it will not run.
    pub requires_features: u64,
}

/// How many symbol names are kept of each kind: enough to name the culprit, not enough to hurt.
pub const NAMES_KEPT: usize = 256;
