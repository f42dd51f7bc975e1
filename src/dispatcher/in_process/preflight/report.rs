//! What is to be said of a library that could be read: refusals, then warnings.

use std::path::Path;

use cohost_abi::{ABI_MAJOR, ABI_MINOR, App, app_flags, features};

use super::{Library, LoadError, NAMES_KEPT, Note, OFFERED_FEATURES};

impl Library {
    /// Refuses a library that this host cannot serve, whatever the loader thinks of it.
    pub(super) fn check(&self) -> Result<(), LoadError> {
        self.check_entry()?;
        self.check_agreement()?;
        [self.note, self.descriptor]
            .into_iter()
            .flatten()
            .try_for_each(|claims| claims.check_host(&self.path))
    }

    fn check_entry(&self) -> Result<(), LoadError> {
        if self.entry {
            return Ok(());
        }
        let path = self.path.clone();
        let foreign = self.note.map(|note| note.major).filter(|major| *major != ABI_MAJOR);
        Err(match self.other_entry.or(foreign) {
            Some(theirs) => LoadError::OtherMajor { path, theirs, ours: ABI_MAJOR },
            None => LoadError::EntryMissing { path },
        })
    }

    /// The note decides before the library is loaded, the descriptor afterwards: they have to be of one build.
    fn check_agreement(&self) -> Result<(), LoadError> {
        match (self.note, self.descriptor) {
            (Some(note), Some(descriptor)) => note.check_same(descriptor, self),
            (Some(note), None) if note.major != ABI_MAJOR => {
                Err(self.disagreement("major version", note.major.into(), ABI_MAJOR.into()))
            }
            _ => Ok(()),
        }
    }

    fn disagreement(&self, what: &'static str, note: u64, descriptor: u64) -> LoadError {
        LoadError::NoteMismatch { path: self.path.clone(), what, note, descriptor }
    }

    /// What an operator should know of a library that can be served. One sentence each, without the path.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.note.is_none() {
            warnings.push(NO_NOTE.to_owned());
        }
        if self.flags() & app_flags::PANIC_ABORT != 0 {
            warnings.push(PANIC_ABORT.to_owned());
        }
        if self.static_tls {
            warnings.push(format!("{STATIC_TLS} ({} bytes)", self.tls_size));
        }
        if self.executable_stack {
            warnings.push(EXECUTABLE_STACK.to_owned());
        }
        if !self.unique_symbols.is_empty() {
            warnings.push(format!("{UNIQUE}: {}", some_of(&self.unique_symbols)));
        }
        if !self.exported.is_empty() {
            warnings.push(format!("{EXPORTED}: {}", some_of(&self.exported)));
        }
        warnings
    }

    /// Bits of [`app_flags`], as far as they are known before the library is loaded.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.descriptor.or(self.note).map_or(0, |claims| claims.flags)
    }
}

impl Note {
    /// What a descriptor says.
    pub(in super::super) fn of(app: &App) -> Self {
        Self {
            major: app.major,
            minor: app.minor,
            min_host_minor: app.min_host_minor,
            flags: app.flags,
            requires_features: app.requires_features,
        }
    }

    /// Whether it can live with this host.
    pub(in super::super) fn check_host(self, path: &Path) -> Result<(), LoadError> {
        let path = path.to_owned();
        if self.min_host_minor > ABI_MINOR {
            let (needs, ours) = (self.min_host_minor, ABI_MINOR);
            return Err(LoadError::HostTooOld { path, needs, ours });
        }
        let missing = self.requires_features & !OFFERED_FEATURES;
        if missing != 0 {
            return Err(LoadError::FeatureMissing { path, missing: feature_names(missing) });
        }
        Ok(())
    }

    /// Compares a note with its descriptor. The loader does the same with the descriptor in memory.
    pub(in super::super) fn check_same(self, descriptor: Self, library: &Library) -> Result<(), LoadError> {
        // The note has room for the low half only.
        let low = descriptor.requires_features & u64::from(u32::MAX);
        let facts = [
            ("major version", self.major.into(), descriptor.major.into()),
            ("minor version", self.minor.into(), descriptor.minor.into()),
            ("oldest minor version of a host", self.min_host_minor.into(), descriptor.min_host_minor.into()),
            ("flags", self.flags.into(), descriptor.flags.into()),
            ("required features", self.requires_features, low),
        ];
        match facts.into_iter().find(|(_, note, descriptor)| note != descriptor) {
            Some((what, note, descriptor)) => Err(library.disagreement(what, note, descriptor)),
            None => Ok(()),
        }
    }
}

fn feature_names(bits: u64) -> String {
    let known: u64 = FEATURES.iter().map(|(bit, _)| bit).sum();
    let names = FEATURES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| (*name).to_owned());
    let unknown = (bits & !known != 0).then(|| format!("unknown ({:#x})", bits & !known));
    names.chain(unknown).collect::<Vec<_>>().join(", ")
}

fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=SHOWN => shown,
        NAMES_KEPT.. => format!("{shown} and more than {} others", NAMES_KEPT - SHOWN - 1),
        all => format!("{shown} and {} more", all - SHOWN),
    }
}

const FEATURES: &[(u64, &str)] = &[
    (features::UPGRADE, "upgrade"),
    (features::TRAILERS, "trailers"),
    (features::AFFINE_THREADS, "affine threads"),
    (features::FILES, "files"),
];

/// How many names a warning mentions.
const SHOWN: usize = 5;

const NO_NOTE: &str = "has no note, so what it needs is only known once its code is loaded; \
     build it with the macro of `cohost-app`, or with COHOST_NOTE in C";
const PANIC_ABORT: &str = "is built with panic = \"abort\": one panic ends the process and every application in it; \
     build it with panic = \"unwind\", or host it out of process";
const STATIC_TLS: &str = "wants static thread-local storage, of which a process has little: it may not load beside \
     others, or not a second time; usually an allocator that can be built without it";
const EXECUTABLE_STACK: &str = "asks for an executable stack, which newer systems refuse; \
     link it with -z noexecstack";
const UNIQUE: &str = "has symbols that every library in the process shares, and that keep it from being unloaded; \
     build it with -fno-gnu-unique";
const EXPORTED: &str = "exports symbols that no host asks for; a symbol of the same name in the host or in a \
     system library takes their place; hide them with -fvisibility=hidden or a version script";
