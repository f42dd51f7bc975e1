//! Where the libraries are that a library needs.
//!
//! A hint, to word the loader's refusal: the loader alone decides, and it also knows its cache, `LD_LIBRARY_PATH` and
//! what the process has loaded already.

use std::{
    fs::File,
    io::Read,
    path::{Component, Path, PathBuf},
};

use super::{Library, machine::Target};

/// A library that a library needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// As written in the library that needs it.
    pub name: String,
    /// The first file of that name for this machine.
    pub found: Option<PathBuf>,
}

/// A library that is to be found at the place of the library that needs it.
pub(in super::super) struct Sibling {
    /// As written in the library that needs it.
    pub(in super::super) name: String,
    /// Where it is.
    pub(in super::super) file: PathBuf,
    /// The directory below that of the library that needs it; `None` if it is elsewhere.
    pub(in super::super) below: Option<PathBuf>,
}

/// The directories in which a system's libraries are, from the loader's configuration and by custom.
#[must_use]
pub fn default_directories() -> Vec<PathBuf> {
    let multiarch = format!("{}-linux-gnu", Target::HOST.name());
    let custom = [
        Path::new("/lib").join(&multiarch),
        Path::new("/usr/lib").join(&multiarch),
        "/lib64".into(),
        "/usr/lib64".into(),
        "/lib".into(),
        "/usr/lib".into(),
    ];
    let mut directories = Vec::new();
    for directory in configured().into_iter().chain(custom) {
        if directory.is_dir() && !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    directories
}

impl Library {
    /// What it needs, searched first where it wants and then in `directories`.
    #[must_use]
    pub fn dependencies(&self, directories: &[PathBuf]) -> Vec<Dependency> {
        let searched = self.searched(directories);
        self.needed
            .iter()
            .map(|name| Dependency { name: name.clone(), found: find(name, &searched) })
            .collect()
    }

    /// The names among [`Library::dependencies`] of which there is no file.
    #[must_use]
    pub fn missing_dependencies(&self, directories: &[PathBuf]) -> Vec<String> {
        let all = self.dependencies(directories);
        all.into_iter().filter(|dependency| dependency.found.is_none()).map(|missing| missing.name).collect()
    }

    /// What it needs and says to look for at its own place, in the order in which it names them.
    pub(in super::super) fn siblings(&self) -> Vec<Sibling> {
        self.needed.iter().filter(|name| !name.contains('/')).filter_map(|name| self.sibling(name)).collect()
    }

    fn sibling(&self, name: &str) -> Option<Sibling> {
        let file = |entry: &String| PathBuf::from(self.with_origin(entry)).join(name);
        // The first that has it counts, wherever that is.
        let entry = self.runpath.iter().find(|entry| is_for_host(&file(entry)))?;
        let below = entry.strip_prefix("$ORIGIN").or_else(|| entry.strip_prefix("${ORIGIN}"))?;
        let below = Path::new(below.trim_start_matches('/'));
        let is_below =
            below.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        Some(Sibling {
            name: name.to_owned(),
            file: std::path::absolute(file(entry)).ok()?,
            below: is_below.then(|| below.to_owned()),
        })
    }

    /// Its own search path, with `$ORIGIN` put in, and then `directories`.
    pub(super) fn searched(&self, directories: &[PathBuf]) -> Vec<PathBuf> {
        // `$LIB` and `$PLATFORM` are the loader's secret.
        let own =
            self.runpath.iter().map(|entry| self.with_origin(entry)).filter(|entry| !entry.contains('$'));
        own.map(PathBuf::from).chain(directories.iter().cloned()).collect()
    }

    fn with_origin(&self, entry: &str) -> String {
        let origin = self.path.parent().unwrap_or(Path::new("")).to_string_lossy();
        let origin = if origin.is_empty() { "." } else { &*origin };
        entry.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
    }
}

fn find(name: &str, searched: &[PathBuf]) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| is_for_host(path));
    }
    searched.iter().map(|directory| directory.join(name)).find(|path| is_for_host(path))
}

/// The loader passes over libraries for other machines.
fn is_for_host(path: &Path) -> bool {
    let mut head = [0; 20];
    path.is_file()
        && File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok()
        && Target::of(&head) == Some(Target::HOST)
}

/// What the loader's configuration names. All of the customary files are read, included or not.
fn configured() -> Vec<PathBuf> {
    let included = std::fs::read_dir("/etc/ld.so.conf.d").into_iter().flatten().flatten();
    let mut files: Vec<_> = included.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    files.insert(0, "/etc/ld.so.conf".into());
    files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|text| directories_in(&text))
        .collect()
}

fn directories_in(text: &str) -> Vec<PathBuf> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn configuration_lines_are_directories_unless_they_are_something_else() {
        let text = "# comment\ninclude /etc/ld.so.conf.d/*.conf\n/opt/a # why\n  /opt/b  \nhwcap 1 x\n";
        assert_eq!(directories_in(text), [PathBuf::from("/opt/a"), "/opt/b".into()]);
    }

    #[test]
    fn the_c_library_is_in_a_default_directory() {
        assert!(find("libc.so.6", &default_directories()).is_some());
        assert_eq!(find("libno-such-thing.so.1", &default_directories()), None);
    }
}
