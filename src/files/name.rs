//! Which file below a folder the path of a request names.
//!
//! In: a path, without the prefix of whoever has the files. Out: a name that is safe to open below a folder. A path has one
//! meaning: each segment is one name, decoded once. Never: takes `%2F` or `\` for a slash, `//` for `/`, or a name for
//! another one that looks like it.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use percent_encoding::percent_decode_str;

/// What is below a folder: a path that leads nowhere else by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Segments and slashes; empty for the folder itself.
    bytes: Vec<u8>,
    is_directory: bool,
    is_hidden: bool,
}

impl Name {
    /// What `path` names, which is empty or begins with a slash; `None` if it names nothing that a file could have.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let Some(path) = path.strip_prefix('/') else {
            return path.is_empty().then(|| Self {
                bytes: Vec::new(),
                is_directory: false,
                is_hidden: false,
            });
        };
        if path.is_empty() {
            return Some(Self { bytes: Vec::new(), is_directory: true, is_hidden: false });
        }
        let (path, is_directory) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        let mut name = Self { bytes: Vec::with_capacity(path.len()), is_directory, is_hidden: false };
        for segment in path.split('/') {
            name.push(segment)?;
        }
        Some(name)
    }

    /// What is called `own` in this folder; `None` if no path names that.
    pub(crate) fn below(&self, own: &[u8]) -> Option<Self> {
        let mut name = Self { is_directory: false, ..self.clone() };
        name.add(own.iter().copied())?;
        Some(name)
    }

    fn push(&mut self, segment: &str) -> Option<()> {
        if has_broken_escape(segment.as_bytes()) {
            return None;
        }
        self.add(percent_decode_str(segment))
    }

    fn add(&mut self, segment: impl Iterator<Item = u8>) -> Option<()> {
        let is_first = self.bytes.is_empty();
        if !is_first {
            self.bytes.push(b'/');
        }
        let start = self.bytes.len();
        self.bytes.extend(segment);
        let segment = &self.bytes[start..];
        let is_plain = !segment.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0..=0x1f | 0x7f));
        if segment.is_empty() || !is_plain || matches!(segment, b"." | b"..") {
            return None;
        }
        // RFC 8615: what is there is for everybody.
        self.is_hidden |= segment[0] == b'.' && !(is_first && segment == b".well-known");
        Some(())
    }

    /// Whether it ends in a slash, so that it can only be a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// Whether something in it begins with a dot, but for `/.well-known`.
    pub(crate) fn is_hidden(&self) -> bool {
        self.is_hidden
    }

    /// The path below the folder.
    pub(crate) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.bytes))
    }
}

/// Whether a percent sign stands in it without two digits: what that is, everybody says otherwise.
fn has_broken_escape(segment: &[u8]) -> bool {
    let mut signs = segment.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    signs.any(|(at, _)| {
        !matches!(segment.get(at + 1..at + 3), Some(digits) if digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(path: &str) -> Option<String> {
        Name::of(path).map(|name| name.path().to_str().expect("text").to_owned())
    }

    #[test]
    fn each_segment_is_one_name_decoded_once() {
        for (path, name) in [
            ("/a/b.txt", "a/b.txt"),
            ("/a%20b", "a b"),
            ("/%61", "a"),
            ("/%2561", "%61"),
            ("/A", "A"),
            ("/a.", "a."),
            ("/a%20", "a "),
            ("/a;x", "a;x"),
            ("/a.txt::$DATA", "a.txt::$DATA"),
            ("/...", "..."),
            ("/%252e%252e", "%2e%2e"),
        ] {
            assert_eq!(named(path).as_deref(), Some(name), "{path}");
        }
    }

    #[test]
    fn what_could_mean_two_things_names_nothing() {
        for path in [
            "//", "//a", "/a//b", "/a//", "/.", "/..", "/%2e%2e", "/.%2e/a", "/a%2fb", "/..%2fa", "/..%5ca",
            "/a\\b", "/a%00", "/a%0a", "/%7f", "/%", "/%2", "/%zz", "/%u002e", "a",
        ] {
            assert_eq!(named(path), None, "{path}");
        }
    }

    #[test]
    fn a_slash_at_the_end_makes_a_directory() {
        let is_directory = |path| Name::of(path).map(|name| name.is_directory());
        assert_eq!(
            [is_directory("/"), is_directory("/a/"), is_directory("/a")],
            [Some(true), Some(true), Some(false)]
        );
        assert_eq!(is_directory(""), Some(false));
    }

    #[test]
    fn dots_hide_but_for_what_is_well_known() {
        let is_hidden = |path| Name::of(path).expect("a name").is_hidden();
        for path in
            ["/.env", "/.git/config", "/a/.b/c", "/%2egit", "/.well-known/.x", "/a/.well-known/x", "/..."]
        {
            assert!(is_hidden(path), "{path}");
        }
        for path in ["/.well-known/acme-challenge/x", "/a.b/c", "/"] {
            assert!(!is_hidden(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_name_never_leads_up_or_away(path in "(/|%2[fF]|%5[cC]|\\\\|\\.|%2[eE]|%25|%00|[a-c]){0,24}") {
            let Some(name) = Name::of(&path) else { return Ok(()) };
            prop_assert!(name.path().is_relative());
            for part in name.path().components() {
                prop_assert!(matches!(part, std::path::Component::Normal(_)), "{path}: {part:?}");
            }
        }
    }
}
