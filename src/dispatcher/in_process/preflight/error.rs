//! Why an application library could not be used: one variant for each cause, with the file and what to do.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Library, default_directories};
use crate::failure::Code;

/// An application library could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is nothing at this path.
    #[error("{path} does not exist; build the application, or correct the path in the configuration")]
    Missing {
        /// The library.
        path: PathBuf,
    },
    /// A symbolic link to nothing.
    #[error("{path} is a link to {target}, which does not exist; build the application, or correct the link")]
    DanglingLink {
        /// The library.
        path: PathBuf,
        /// Where the link points.
        target: PathBuf,
    },
    /// The system does not let us read it.
    #[error("cannot read {path}; let the user that the host runs as read it, and enter its directories")]
    Unreadable {
        /// The library.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, a pipe, a device.
    #[error("{path} is {kind}; name the library itself")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// Not an ELF file.
    #[error("{path} is not an ELF file but {looks_like}; name the shared library that the build made (.so)")]
    NotElf {
        /// The file.
        path: PathBuf,
        /// What it seems to be, with its article.
        looks_like: &'static str,
    },
    /// Shorter than it says. The loader would end the process.
    #[error(
        "{path} is cut short: its contents end at byte {needs}, the file has {has} bytes; \
         copy it again, under another name first and then renamed"
    )]
    Truncated {
        /// The library.
        path: PathBuf,
        /// Where its contents end.
        needs: u64,
        /// Where the file ends.
        has: u64,
    },
    /// An ELF file that makes no sense.
    #[error("{path} is damaged: {what}; build or copy it again")]
    Damaged {
        /// The library.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// For another machine, word size or byte order.
    #[error("{path} is built for {built_for}, this host is {host}; build it for {host}")]
    WrongArchitecture {
        /// The library.
        path: PathBuf,
        /// What it was built for.
        built_for: String,
        /// What the host runs on.
        host: String,
    },
    /// A program.
    #[error(
        "{path} is a program, not a library; run it with `command` and hosting model `outofprocess`, \
         or build it as a library (crate-type cdylib, or cc -shared)"
    )]
    Program {
        /// The program.
        path: PathBuf,
    },
    /// Compiled, but not linked.
    #[error("{path} is an object file, not yet linked; link it as a library (cc -shared)")]
    ObjectFile {
        /// The file.
        path: PathBuf,
    },
    /// A library, but not an application.
    #[error(
        "{path} does not export `{entry}`; export the application with the macro of `cohost-app`, \
         or with COHOST_PUBLIC in C", entry = cohost_abi::ENTRY_SYMBOL
    )]
    EntryMissing {
        /// The library.
        path: PathBuf,
    },
    /// Something else under the entry's name.
    #[error(
        "`{entry}` of {path} {what}; define it as a `cohost_app` of `cohost.h`, or with the macro of `cohost-app`",
        entry = cohost_abi::ENTRY_SYMBOL
    )]
    EntryInvalid {
        /// The library.
        path: PathBuf,
        /// What is wrong, as the end of a sentence about the symbol.
        what: &'static str,
    },
    /// For another major version of the ABI.
    #[error("{path} speaks ABI {theirs}, this host speaks ABI {ours}; {fix}", fix = major_fix(*theirs, *ours))]
    OtherMajor {
        /// The library.
        path: PathBuf,
        /// The library's version.
        theirs: u16,
        /// The host's version.
        ours: u16,
    },
    /// It needs a newer host.
    #[error(
        "{path} needs a host of ABI {major}.{needs} or later, this host speaks ABI {major}.{ours}; \
         update the host, or build it for an older one (`cohost-app`, `cohost.h`)", major = cohost_abi::ABI_MAJOR
    )]
    HostTooOld {
        /// The library.
        path: PathBuf,
        /// The oldest minor version that it can live with.
        needs: u16,
        /// The host's minor version.
        ours: u16,
    },
    /// It needs something that this host does not offer.
    #[error(
        "{path} needs features that this host does not offer: {missing}; update the host, or build it without"
    )]
    FeatureMissing {
        /// The library.
        path: PathBuf,
        /// Their names.
        missing: String,
    },
    /// Note and descriptor are not of one build.
    #[error(
        "{path} contradicts itself: its note says {what} {note}, its descriptor {descriptor}; \
         build it again from clean, and define both with one macro"
    )]
    NoteMismatch {
        /// The library.
        path: PathBuf,
        /// On what they differ.
        what: &'static str,
        /// The note's word.
        note: u64,
        /// The descriptor's.
        descriptor: u64,
    },
    /// A library that it needs is nowhere.
    #[error(
        "{path} needs {dependency}, which is not there (searched {searched}); install it, put it beside the library \
         and link with -rpath '$ORIGIN', or link it statically",
        searched = list(searched)
    )]
    MissingDependency {
        /// The library.
        path: PathBuf,
        /// What it, or something that it needs, needs.
        dependency: String,
        /// Where it may have been looked for.
        searched: Vec<PathBuf>,
    },
    /// A library that it needs is there in another version.
    #[error("{path} needs version {version} of {dependency}, which is older here; {fix}", fix = version_fix(version))]
    DependencyVersion {
        /// The library.
        path: PathBuf,
        /// The dependency.
        dependency: String,
        /// The version of its symbols.
        version: String,
    },
    /// Nobody defines a symbol that it needs.
    #[error(
        "{path} needs the symbol `{symbol}`, which no library defines; link it with the one that does (-l)"
    )]
    UndefinedSymbol {
        /// The library.
        path: PathBuf,
        /// The symbol, and its version if it has one.
        symbol: String,
    },
    /// No room for its thread-local storage.
    #[error(
        "{path} wants {size} bytes of static thread-local storage, more than this process has left; {hint}",
        hint = STATIC_TLS_HINT
    )]
    StaticTls {
        /// The library.
        path: PathBuf,
        /// All of its thread-local storage.
        size: u64,
    },
    /// Its file system does not allow code.
    #[error(
        "{path} lies on a file system from which no code may run; mount it without noexec, or move it \
         (the host's directory for private copies counts, too)"
    )]
    NoExec {
        /// The library.
        path: PathBuf,
    },
    /// The loader refused it for another reason.
    #[error("cannot load {path}: {message}{hint}", hint = separated(hint))]
    Refused {
        /// The library.
        path: PathBuf,
        /// The loader's own words.
        message: String,
        /// What to do, or nothing.
        hint: &'static str,
    },
    /// `init` returned an error.
    #[error("{path} could not start: {message}", message = or(message, "it gave no reason"))]
    InitFailed {
        /// The library.
        path: PathBuf,
        /// The application's own words.
        message: String,
    },
    /// `init` panicked.
    #[error("{path} panicked while it started: {message}", message = or(message, "its output has the message"))]
    InitPanicked {
        /// The library.
        path: PathBuf,
        /// The panic's message.
        message: String,
    },
    /// `init` found that it cannot live with this host.
    #[error(
        "{path} cannot live with this host: {message}; update the host, or build it with an older `cohost-app`",
        message = or(message, "it gave no reason")
    )]
    InitAbi {
        /// The library.
        path: PathBuf,
        /// The application's own words.
        message: String,
    },
    /// `init` did not return in time.
    #[error("{path} was not ready within {limit:?}; make its start quicker, or raise `startup_timeout`")]
    InitTimedOut {
        /// The library.
        path: PathBuf,
        /// The time it had.
        limit: Duration,
    },
    /// Old generations stay mapped, and there are too many of them.
    #[error(
        "{path} cannot be loaded again: {limit} generations of it are in memory for this application; restart the program, or \
         under a supervisor the worker (`cohost recycle` without a name)"
    )]
    TooManyGenerations {
        /// The library.
        path: PathBuf,
        /// How many there may be.
        limit: usize,
    },
}

impl LoadError {
    /// The stable code with which requests are refused.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Missing { .. } | Self::DanglingLink { .. } | Self::Unreadable { .. } => Code::FileMissing,
            Self::NotAFile { .. }
            | Self::NotElf { .. }
            | Self::Damaged { .. }
            | Self::Program { .. }
            | Self::ObjectFile { .. } => Code::NotALibrary,
            Self::Truncated { .. } => Code::LibraryTruncated,
            Self::WrongArchitecture { .. } => Code::WrongArchitecture,
            Self::EntryMissing { .. } => Code::EntryMissing,
            Self::EntryInvalid { .. }
            | Self::OtherMajor { .. }
            | Self::HostTooOld { .. }
            | Self::FeatureMissing { .. }
            | Self::NoteMismatch { .. }
            | Self::InitAbi { .. } => Code::AbiMismatch,
            Self::MissingDependency { .. }
            | Self::DependencyVersion { .. }
            | Self::UndefinedSymbol { .. } => Code::DependencyMissing,
            Self::StaticTls { .. } => Code::StaticTls,
            Self::NoExec { .. } | Self::Refused { .. } => Code::LoadFailed,
            Self::InitFailed { .. } => Code::StartFailed,
            Self::InitPanicked { .. } => Code::StartPanicked,
            Self::InitTimedOut { .. } => Code::StartTimeout,
            Self::TooManyGenerations { .. } => Code::TooManyGenerations,
        }
    }

    /// What the loader's `message` means for the library at `path`, of which [`examine`](super::examine) had nothing
    /// bad to say.
    ///
    /// A message that is not known becomes [`LoadError::Refused`], word for word.
    #[must_use]
    pub fn from_loader(path: &Path, message: &str, library: &Library) -> Self {
        let path = path.to_owned();
        let (object, text) = message.split_once(": ").unwrap_or(("", message));
        if let Some(reason) = text.strip_prefix("cannot open shared object file") {
            return not_opened(path, object, reason, message, library);
        }
        if let Some(version) = between(text, "version `", "' not found") {
            return Self::DependencyVersion {
                path,
                dependency: object.to_owned(),
                version: version.to_owned(),
            };
        }
        if let Some(symbol) = text.strip_prefix("undefined symbol: ") {
            return Self::UndefinedSymbol { path, symbol: symbol.replacen(", version ", "@", 1) };
        }
        if text.contains("static TLS") {
            return Self::StaticTls { path, size: library.tls_size };
        }
        // With a reason behind it, such as too little memory, it is something else.
        if matches!(text.strip_prefix(NOT_MAPPED), Some("" | ": Operation not permitted")) {
            return Self::NoExec { path };
        }
        let known = HINTS.iter().find(|(words, _)| text.contains(words));
        Self::Refused { path, message: message.to_owned(), hint: known.map_or("", |(_, hint)| hint) }
    }
}

/// The library itself was there a moment ago, so that most often this is about something that it needs.
fn not_opened(path: PathBuf, object: &str, reason: &str, message: &str, library: &Library) -> LoadError {
    let is_dependency = !object.contains('/') || library.needed.iter().any(|needed| needed == object);
    match (reason, is_dependency) {
        (": No such file or directory", true) => {
            let searched = library.searched(&default_directories());
            LoadError::MissingDependency { path, dependency: object.to_owned(), searched }
        }
        (": No such file or directory", false) => LoadError::Missing { path },
        _ => LoadError::Refused { path, message: message.to_owned(), hint: NOT_OPENED_HINT },
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(between, _)| between)
}

fn major_fix(theirs: u16, ours: u16) -> String {
    let rebuild = format!("build it with a `cohost-app` (or `cohost.h`) of ABI {ours}");
    if theirs > ours { format!("update the host, or {rebuild}") } else { rebuild }
}

fn version_fix(version: &str) -> &'static str {
    if version.starts_with("GLIBC") {
        "build it on a system no newer than this one"
    } else {
        "install a newer one, or build against the one that is here"
    }
}

fn list(directories: &[PathBuf]) -> String {
    directories.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn separated(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("; {hint}") }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

const NOT_MAPPED: &str = "failed to map segment from shared object";

const NOT_OPENED_HINT: &str = "the file is there but cannot be opened: look at its permissions, and at the limit of \
     open files";

const STATIC_TLS_HINT: &str = "usually it is an allocator that is linked in: build that with dynamic thread-local \
     storage (tikv-jemallocator: feature disable_initial_exec_tls; mimalloc: feature local_dynamic_tls), \
     start the host with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384, or host it out of process";

/// Words in the loader's messages about libraries that it found, and what to do.
const HINTS: &[(&str, &str)] = &[
    ("wrong ELF class", "it is built for another word size; install the one for this machine"),
    ("file too short", "the file is empty, cut short or a text; install it again"),
    ("invalid ELF header", "the file is damaged, or is a text; install it again"),
    ("cannot be dlopen", "it was linked with -z nodlopen; link it without"),
    ("executable stack", "link it, and the objects from assembly in it, with -z noexecstack"),
    (
        "not defined in file",
        "a library that it needs is another one than it was built with; build it again here",
    ),
    (NOT_MAPPED, "give the process more memory, or address space"),
    ("cannot allocate memory", "give the process more memory"),
    ("failed to map", "give the process more memory, or address space"),
];
