//! The files of this repository, and their code without comments.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A source file.
pub struct Source {
    /// From the root of the repository, with slashes.
    pub path: String,
    pub text: String,
}

impl Source {
    /// Its lines, counted from 1, without what is a comment.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().map(without_comment).enumerate().map(|(number, line)| (number + 1, line))
    }
}

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file there is.
pub fn sources() -> Vec<Source> {
    files("rs")
}

/// Every file that ends like this, but those that are built or ignored.
pub fn files(extension: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(root(), &mut paths);
    paths.retain(|path| path.extension().is_some_and(|end| end == extension));
    paths.sort();
    let relative = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    paths
        .iter()
        .map(|path| Source { path: relative(path), text: fs::read_to_string(path).unwrap() })
        .collect()
}

/// The Rust files whose path begins with one of `places`.
pub fn under(places: &[&str]) -> Vec<Source> {
    let mut files = sources();
    files.retain(|file| places.iter().any(|place| file.path.starts_with(place)));
    files
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let name = name.to_str().unwrap();
        if name.starts_with('.') || SKIPPED.contains(&name) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), paths);
        } else {
            paths.push(entry.path());
        }
    }
}

/// Whether `text` stands in `line` as it is, and not as the end of a longer word.
pub fn has_word(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// A `//` within a word, as in `http://`, begins no comment.
fn without_comment(line: &str) -> &str {
    let comment =
        line.match_indices("//").find(|(at, _)| line[..*at].ends_with(char::is_whitespace) || *at == 0);
    comment.map_or(line, |(at, _)| &line[..at])
}

/// What cargo and the fuzzer make.
const SKIPPED: [&str; 3] = ["target", "corpus", "artifacts"];
