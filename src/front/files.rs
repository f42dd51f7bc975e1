//! Files that are sent as they are.

use std::{collections::BTreeMap, path::PathBuf};

use http::HeaderValue;

/// Files below a folder, by the paths of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Files {
    /// The folder. It may be a link, and lead elsewhere by the next request.
    pub root: PathBuf,
    /// Who comes first, where there is something behind.
    pub order: Order,
    /// What is sent for a directory: the first of these that is in it.
    pub default_documents: Vec<String>,
    /// The path of the page that is sent where there is nothing else.
    pub fallback: Option<String>,
    /// Whether `a.js.br` is sent for `a.js` to whoever understands that.
    pub precompressed: bool,
    /// What files are, by their extensions in lower case, where that is not what everybody takes them for.
    pub types: BTreeMap<String, HeaderValue>,
    /// How long caches may keep what; the first pattern that fits.
    pub cache_control: Vec<(Pattern, HeaderValue)>,
    /// Whether names that begin with a dot are served as any others.
    pub hidden: bool,
    /// How many bytes of files may be kept in memory; 0 for none.
    pub memory: u64,
    /// Whether a directory without a document is answered with a list of what is in it.
    pub browse: bool,
    /// What nobody gets by any path, such as the host's own configuration and keys: absolute paths of files, and of
    /// folders with all that is in them.
    pub private: Vec<PathBuf>,
}

impl Files {
    /// The files in this folder, with the defaults for everything else.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            order: Order::default(),
            default_documents: ["index.html", "index.htm"].map(str::to_owned).to_vec(),
            fallback: None,
            precompressed: false,
            types: BTreeMap::new(),
            cache_control: Vec::new(),
            hidden: false,
            memory: 16_000_000,
            browse: false,
            private: Vec::new(),
        }
    }
}

/// Who comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The file, and what is behind where there is none.
    #[default]
    Files,
    /// What is behind, and the file where that says 404.
    Application,
}

/// A pattern for paths, in which `*` stands for anything, slashes too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// `text` as a pattern; without a star it is one path only.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Whether `path` is one of those that are meant.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = path.strip_prefix(first) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        // The earliest place is as good as any: what follows only has more room.
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, path, fits) in [
            ("*.js", "/a/b.js", true),
            ("*.js", "/a/b.json", false),
            ("/assets/*", "/assets/a/b", true),
            ("/assets/*", "/other/assets/a", false),
            ("/assets/*.css", "/assets/a/b.css", true),
            ("/a/*/c/*", "/a/b/c/d", true),
            ("/a*a", "/a", false),
            ("*", "", true),
            ("/exact", "/exact", true),
            ("/exact", "/exactly", false),
            ("*-*-*.x", "/a-b.x", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(path), fits, "{pattern} {path}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_the_same_regular_expression_fits(pattern in "[ab*/]{0,8}", path in "[ab/]{0,12}") {
            let expression = format!("^{}$", pattern.replace('*', ".*"));
            let expected = regex::Regex::new(&expression).unwrap().is_match(&path);
            prop_assert_eq!(Pattern::new(pattern).fits(&path), expected);
        }
    }
}
