//! Names: one word per thing, and none that says nothing.

use super::{none, source::sources};

/// A module or a type of such a name could be anything.
const EMPTY: [&str; 10] =
    ["manager", "helper", "helpers", "util", "utils", "common", "misc", "engine", "info", "data"];

/// What stands before the name of something that is defined.
const DEFINITIONS: [&str; 5] = ["struct ", "enum ", "trait ", "type ", "mod "];

#[test]
fn modules_and_types_are_called_what_they_are() {
    let mut broken = Vec::new();
    for file in sources() {
        let path = file.path.trim_end_matches(".rs");
        for word in path.split(['/', '_', '-']).filter(|word| EMPTY.contains(word)) {
            broken.push(format!("{}: `{word}` says nothing", file.path));
        }
        for (number, line) in file.code() {
            let empty = defined(line).into_iter().flat_map(words).find(|word| EMPTY.contains(&word.as_str()));
            if let Some(word) = empty {
                broken.push(format!("{}:{number}: `{word}` says nothing", file.path));
            }
        }
    }
    none(broken);
}

/// The name of the type or module that a line defines. Associated types are called what their trait calls them.
fn defined(line: &str) -> Option<&str> {
    if line.trim_start() != line && line.trim_start().starts_with("type ") {
        return None;
    }
    let line = line.trim_start();
    let line =
        line.strip_prefix("pub").map_or(line, |rest| rest.trim_start_matches(|c| c != ' ').trim_start());
    let name = DEFINITIONS.iter().find_map(|start| line.strip_prefix(start))?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// `open` and `file` of `OpenFile`, and of `open_file`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in name.chars() {
        if character == '_' || character.is_uppercase() {
            words.push(String::new());
        }
        if character != '_' {
            words.last_mut().expect("there is one from the start").extend(character.to_lowercase());
        }
    }
    words
}

#[test]
fn words_are_found_in_names_of_both_kinds() {
    assert_eq!(defined("    pub(super) struct OpenFile<T> {"), Some("OpenFile"));
    assert_eq!(defined("pub mod open_file;"), Some("open_file"));
    assert_eq!(defined("let structure = 1;"), None);
    assert_eq!(defined("    type Data = Bytes;"), None);
    assert_eq!(words("OpenFile").concat(), words("open_file").concat());
    assert!(words("LoadInfo").contains(&"info".to_owned()));
}
