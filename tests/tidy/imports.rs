//! Who imports whom in `src/`: the direction of a request, and nothing against it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    none,
    source::{Source, under},
};

/// What everybody may import. They import each other only.
const LEAVES: &[&str] = &[
    "authority",
    "body",
    "config",
    "endpoint",
    "facts",
    "failure",
    "fields",
    "files",
    "forwarded",
    "front",
    "hosting_model",
    "nearest",
    "options",
    "outward",
    "path",
    "private",
    "queue",
    "recorder",
    "room",
    "stage",
    "stop",
    "sys",
    "telemetry",
];

/// The stages of a request's way, and who looks after what is behind the last of them.
const STAGES: [&str; 8] =
    ["server", "listener", "http", "router", "pipeline", "application", "dispatcher", "supervisor"];

/// Put the others together; nobody imports them.
const ENTRIES: [&str; 5] = ["acme", "admin", "import", "lib", "runner"];

/// A stage, another that it may import, and why. A new row is a decision: `docs/decisions/` has room for it.
const ALLOWED: [(&str, &str, &str); 6] = [
    ("server", "listener", "accepts on listeners; the one place where the outer stages are joined"),
    ("server", "http", "puts the stages of `http` around a service, in order"),
    ("application", "http", "a program that mounts it in its own router gets responses, not failures"),
    ("application", "pipeline", "joins the stages that each application has for itself, with its own limits"),
    ("application", "dispatcher", "starting it makes the dispatcher of its hosting model"),
    ("application", "supervisor", "asks it when a start is due, and for a process"),
];

#[test]
fn stages_import_leaves_and_what_the_table_allows() {
    let allowed = |from: &str, to: &str| ALLOWED.iter().any(|row| (row.0, row.1) == (from, to));
    let broken = imports().into_iter().filter(|((from, to), _)| {
        !LEAVES.contains(&to.as_str()) && !ENTRIES.contains(&from.as_str()) && !allowed(from, to)
    });
    let told = broken.map(|((from, to), files)| {
        let files = files.into_iter().collect::<Vec<_>>().join(", ");
        format!("{from} imports {to}: {files}")
    });
    none(told);
}

#[test]
fn the_table_of_imports_is_no_longer_than_needed() {
    let imports = imports();
    for (from, to, _) in ALLOWED {
        assert!(imports.contains_key(&(from.into(), to.into())), "{from} does not import {to} any more");
    }
}

#[test]
fn every_module_is_a_leaf_or_a_stage_or_an_entry() {
    let known: BTreeSet<&str> = LEAVES.iter().chain(&STAGES).chain(&ENTRIES).copied().collect();
    let found = under(&["src/"]);
    let found: BTreeSet<&str> = found.iter().map(|file| module(&file.path)).collect();
    assert_eq!(found, known);
}

/// Importer and imported, with the files that do it.
fn imports() -> BTreeMap<(String, String), BTreeSet<String>> {
    let files = under(&["src/"]);
    let reexports = reexports(&files);
    let mut imports = BTreeMap::<_, BTreeSet<_>>::new();
    for file in &files {
        for name in imported(file) {
            let to = reexports.get(&name).unwrap_or(&name).clone();
            let from = module(&file.path).to_owned();
            if from != to && is_module(&to) {
                imports.entry((from, to)).or_default().insert(file.path.clone());
            }
        }
    }
    imports
}

fn is_module(name: &str) -> bool {
    LEAVES.iter().chain(&STAGES).chain(&ENTRIES).any(|module| *module == name)
}

/// The module at the top of the crate that a file belongs to.
fn module(path: &str) -> &str {
    let within = path.trim_start_matches("src/");
    within.split(['/', '.']).next().expect("a path has a first part")
}

/// What `lib.rs` exports under a shorter path, with the module it comes from.
fn reexports(files: &[Source]) -> BTreeMap<String, String> {
    let library = files.iter().find(|file| file.path == "src/lib.rs").unwrap();
    let lines = library.code().filter_map(|(_, line)| line.strip_prefix("pub use ")?.strip_suffix(';'));
    let mut reexports = BTreeMap::new();
    for line in lines {
        let (module, names) = line.split_once("::").unwrap();
        for name in names.trim_matches(['{', '}']).split(", ") {
            reexports.insert(name.to_owned(), module.to_owned());
        }
    }
    reexports
}

/// The first names of all paths that begin at the top of the crate.
fn imported(file: &Source) -> Vec<String> {
    let code: String = file.code().flat_map(|(_, line)| [line, "\n"]).collect();
    // In the file of a module at the top, `super` is the top; in one inside of it, the file itself.
    let at_the_top = match file.path.matches('/').count() {
        1 => true,
        2 => file.path.ends_with("/mod.rs"),
        _ => false,
    };
    let starts: &[&str] = if at_the_top { &["crate::", "super::"] } else { &["crate::"] };
    let mut names = Vec::new();
    for start in starts {
        for (at, _) in code.match_indices(start) {
            names.extend(first_names(&code[at + start.len()..]));
        }
    }
    names
}

/// `a` of `a::b`, or `a` and `c` of `{a::{b, d}, c}`.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else { return vec![first_name(path)] };
    let mut depth = 0;
    let mut item = 0;
    let mut names = Vec::new();
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(first_name(group[item..at].trim()));
                item = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || "_*".contains(*c)).collect()
}

#[test]
fn names_are_found_in_groups_too() {
    assert_eq!(first_names("body::Body;"), ["body"]);
    assert_eq!(
        first_names("{\n Body, dispatcher::{a, b::{c}},\n http::Answer,\n};"),
        ["Body", "dispatcher", "http"]
    );
}
