//! Where a file can become another: not in its own folder only.
//!
//! In: paths. Out: the directories to watch for each, and which of their entries matter. A deployment may move a link
//! anywhere on the way (`current -> releases/42`), or a whole directory; the folder may not even be there yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Directories to watch, with the entries in each that matter. A directory without one matters only itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places(pub(super) BTreeMap<PathBuf, BTreeSet<OsString>>);

impl Places {
    pub(super) fn of(paths: &BTreeSet<PathBuf>) -> Self {
        let mut places = Self::default();
        for path in paths {
            places.follow(path);
        }
        places
    }

    /// Walks along `path` as the system does.
    fn follow(&mut self, path: &Path) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut ahead = steps(&path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(step) = ahead.pop() {
            let name = match step {
                Step::Up => {
                    at.pop();
                    continue;
                }
                Step::Root => {
                    at = PathBuf::from("/");
                    continue;
                }
                Step::Into(name) => name,
            };
            let next = at.join(&name);
            match kind(&next) {
                Kind::Directory if !ahead.is_empty() => {
                    self.0.entry(at).or_default();
                    at = next;
                }
                Kind::Link(target) if links < MOST_LINKS => {
                    links += 1;
                    self.0.entry(at.clone()).or_default().insert(name);
                    ahead.extend(steps(&target));
                }
                // The file itself, or where the way ends.
                _ => {
                    self.0.entry(at).or_default().insert(name);
                    return;
                }
            }
        }
    }
}

enum Step {
    Root,
    Up,
    Into(OsString),
}

/// The steps along `path`, the first one last.
fn steps(path: &Path) -> Vec<Step> {
    let steps = path.components().rev().filter_map(|component| match component {
        Component::RootDir | Component::Prefix(_) => Some(Step::Root),
        Component::CurDir => None,
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
    });
    steps.collect()
}

enum Kind {
    Directory,
    Link(PathBuf),
    Other,
}

fn kind(path: &Path) -> Kind {
    let found = || -> io::Result<Kind> {
        let file_type = fs::symlink_metadata(path)?.file_type();
        Ok(match file_type {
            _ if file_type.is_dir() => Kind::Directory,
            _ if file_type.is_symlink() => Kind::Link(fs::read_link(path)?),
            _ => Kind::Other,
        })
    };
    found().unwrap_or(Kind::Other)
}

/// As many as the system follows.
const MOST_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The entries that matter, seen from `root`, which is no part of what is tested.
    fn entries(root: &Path, path: &str) -> Vec<String> {
        let places = Places::of(&BTreeSet::from([root.join(path)]));
        let within =
            places.0.iter().filter_map(|(place, names)| Some((place.strip_prefix(root).ok()?, names)));
        within
            .flat_map(|(place, names)| names.iter().map(|name| place.join(name).display().to_string()))
            .collect()
    }

    #[test]
    fn each_link_on_the_way_matters_and_what_it_leads_to() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("releases/1/lib")).unwrap();
        fs::write(root.join("releases/1/lib/libx-1.so"), "").unwrap();
        symlink("libx-1.so", root.join("releases/1/lib/libx.so")).unwrap();
        symlink("releases/1", root.join("current")).unwrap();
        symlink(root.join("current"), root.join("releases/again")).unwrap();
        let found = entries(&root, "releases/again/lib/libx.so");
        assert_eq!(
            found,
            ["current", "releases/again", "releases/1/lib/libx-1.so", "releases/1/lib/libx.so"]
        );
    }

    #[test]
    fn where_the_way_ends_matters() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        assert_eq!(entries(&root, "not/there/yet.so"), ["not"]);
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(entries(&root, "loop/x"), ["loop"]);
        fs::write(root.join("file"), "").unwrap();
        assert_eq!(entries(&root, "file/x"), ["file"]);
    }
}
