//! What holds in the source itself: who imports whom, where `unsafe` may stand, which words are not used.
//!
//! In: the files of this repository. Out: every place that breaks a rule, all at once. Never: a rule that the
//! compiler, rustfmt or clippy keeps already.

mod documents;
mod imports;
mod source;
mod words;

use std::path::Path;

use self::source::{Source, root, sources, under};

/// Folders and files that may open `unsafe_code`. The lint is denied everywhere else, so the compiler does the rest.
const SEAMS: [&str; 5] = [
    "src/dispatcher/in_process/ffi/",
    "src/dispatcher/in_process/library.rs",
    "src/sys/",
    "sdk/src/ffi/",
    "abi/src/app.rs",
];

/// Code that others build on. Tests, benches and the applications made for them may be bolder.
const PRODUCT: [&str; 5] = ["src/", "sdk/src/", "abi/src/", "host/src/", "sample-app/src/"];

/// Code that runs in somebody else's process.
const LIBRARIES: [&str; 3] = ["src/", "sdk/src/", "abi/src/"];

/// Files that are longer than [`LINES`], and why they are not two.
const LONG: [(&str, &str); 1] =
    [("abi/include/cohost.h", "the whole contract in one file, most of it comments")];

/// A file that tells one thing is shorter than this.
const LINES: usize = 500;

/// What a library does not do in a process that is not its own: the text that shows it, and what to do instead.
const NOT_IN_A_LIBRARY: [(&str, &str); 9] = [
    ("println!", "log, or return it"),
    ("print!", "log, or return it"),
    ("stdout()", "standard output is the program's"),
    ("env::var(", "take it as an argument"),
    ("env::var_os(", "take it as an argument"),
    ("env::vars(", "take it as an argument"),
    ("env::vars_os(", "take it as an argument"),
    ("process::exit(", "return: only the program ends the process"),
    ("process::abort(", "return: only the program ends the process"),
];

/// Ends the test with all places, if there are any.
#[track_caller]
fn none(broken: impl IntoIterator<Item = String>) {
    let broken: Vec<String> = broken.into_iter().collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn unsafe_is_opened_in_the_seams_only_and_with_a_reason() {
    let mut broken = Vec::new();
    for file in under(&PRODUCT) {
        for (number, line) in file.code() {
            let opened = line.contains("(unsafe_code");
            if !opened || line.contains("forbid(unsafe_code") {
                continue;
            }
            if !SEAMS.iter().any(|seam| file.path.starts_with(seam)) {
                broken.push(format!("{}:{number}: opens unsafe_code outside of the seams", file.path));
            }
            if !(line.contains("expect(unsafe_code, reason = \"")) {
                broken.push(format!("{}:{number}: write expect(unsafe_code, reason = \"…\")", file.path));
            }
        }
    }
    none(broken);
}

#[test]
fn every_seam_is_one() {
    let opens = |file: &Source| file.text.contains("expect(unsafe_code");
    for seam in SEAMS {
        assert!(
            under(&[seam]).iter().any(opens),
            "{seam} holds nothing unsafe any more; take it off the list"
        );
    }
}

#[test]
fn every_file_says_first_what_it_is_about() {
    let broken = sources().into_iter().filter(|file| !file.text.starts_with("//! "));
    none(broken.map(|file| format!("{}: does not begin with `//! `", file.path)));
}

#[test]
fn files_are_short_or_have_a_reason() {
    let lengths = |path: &str| std::fs::read_to_string(root().join(path)).unwrap().lines().count();
    let reason = |path: &str| LONG.iter().any(|(long, _)| *long == path);
    let mut files: Vec<String> = sources().into_iter().map(|file| file.path).collect();
    files.extend(["abi/include/cohost.h".to_owned()]);
    let long = files.iter().filter(|path| lengths(path) > LINES && !reason(path));
    none(long.map(|path| format!("{path}: {} lines; is it two things?", lengths(path))));
    for (path, _) in LONG {
        assert!(lengths(path) > LINES, "{path} is short now; take it off the list");
    }
}

#[test]
fn libraries_leave_the_process_alone() {
    let mut broken = Vec::new();
    for file in under(&LIBRARIES) {
        for (number, line) in file.code() {
            for (text, instead) in NOT_IN_A_LIBRARY {
                if source::has_word(line, text) {
                    broken.push(format!("{}:{number}: {text} in a library: {instead}", file.path));
                }
            }
        }
    }
    none(broken);
}

#[test]
fn every_crate_keeps_the_workspace_lints() {
    let workspace = manifest("Cargo.toml");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members = members.iter().map(|member| format!("{}/Cargo.toml", member.as_str().unwrap()));
    let lax = members.chain(["Cargo.toml".to_owned()]).filter(|path| {
        let manifest = manifest(path);
        manifest.get("lints").and_then(|lints| lints.get("workspace")) != Some(&toml::Value::Boolean(true))
    });
    none(lax.map(|path| format!("{path}: has no `[lints] workspace = true`")));
}

#[test]
fn the_contract_needs_nothing_but_the_language() {
    let manifest = manifest("abi/Cargo.toml");
    for table in ["dependencies", "build-dependencies", "dev-dependencies", "target"] {
        assert!(manifest.get(table).is_none(), "abi/Cargo.toml has [{table}]");
    }
    let library = std::fs::read_to_string(root().join("abi/src/lib.rs")).unwrap();
    assert!(library.contains("#![no_std]"));
}

fn manifest(path: &str) -> toml::Table {
    let path = root().join(Path::new(path));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
