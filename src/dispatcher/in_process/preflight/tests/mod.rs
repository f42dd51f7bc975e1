//! Libraries as a C compiler makes them, and what is said of them.

mod dependencies;
mod hostile;
mod library;
mod loader;
mod refusals;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Library, LoadError, examine};
use crate::failure::Code;

/// A directory in which libraries are built.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file as it is.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Compiles `source` to `name`, with these arguments.
    fn cc(&self, name: &str, source: &str, arguments: &[&str]) -> PathBuf {
        let input = self.file(&format!("{name}.c"), source);
        let output = self.path(name);
        let mut command = Command::new("cc");
        command.current_dir(self.0.path()).arg("-fPIC").arg(&input).arg("-o").arg(&output).args(arguments);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        output
    }

    fn library(&self, source: &str, arguments: &[&str]) -> PathBuf {
        let all: Vec<&str> = ["-shared", "-Wl,--build-id=sha1"].iter().chain(arguments).copied().collect();
        self.cc("app.so", source, &all)
    }
}

/// An application in C: its note, its descriptor, and whatever else is in `rest`.
fn application(note: &Claims, descriptor: &Claims, rest: &str) -> String {
    format!("{DECLARATIONS}\n{}\n{}\n{rest}\n", note.as_note(), descriptor.as_descriptor())
}

/// An application against which there is nothing to say.
fn sound() -> String {
    application(&Claims::default(), &Claims::default(), "")
}

#[derive(Clone, Copy)]
struct Claims {
    major: u16,
    minor: u16,
    min_host_minor: u16,
    flags: u32,
    features: u32,
}

impl Default for Claims {
    fn default() -> Self {
        Self { major: 1, minor: 0, min_host_minor: 0, flags: 0, features: 0 }
    }
}

impl Claims {
    fn as_note(&self) -> String {
        let Self { major, minor, min_host_minor, flags, features } = self;
        format!(
            "__attribute__((used, aligned(4), section(\".note.cohost\"))) static const struct note note = \
             {{ 8, 16, 0x41480001u, \"Cohost\", {major}, {minor}, {min_host_minor}, 0, {flags}, {features} }};"
        )
    }

    fn as_descriptor(&self) -> String {
        let Self { major, minor, min_host_minor, flags, features } = self;
        format!(
            "__attribute__((visibility(\"default\"))) const struct app cohost_app_v1 = \
             {{ {magic}u, sizeof(struct app), {major}, {minor}, {min_host_minor}, 0, 0, {flags}, {features}, \
             \"test\", \"1\", \"c\", {{ (void *)nothing }} }};",
            magic = cohost_abi::MAGIC
        )
    }
}

fn refusal(path: &Path) -> LoadError {
    let error = examine(path).expect_err("the library is refused");
    let said = error.to_string();
    assert!(said.contains(path.to_str().unwrap()), "the file is not named: {said}");
    assert!(!said.contains('\n') && !said.ends_with('.'), "not one clause: {said}");
    error
}

fn says(error: &LoadError, code: Code, words: &[&str]) {
    assert_eq!(error.code(), code, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word} is missing: {error}");
    }
}

const DECLARATIONS: &str = r#"
#include <stdint.h>
#include <stddef.h>
struct note {
  uint32_t namesz, descsz, type; char name[8];
  uint16_t major, minor, min_host_minor, pad; uint32_t flags, features;
};
struct app {
  uint64_t magic; size_t size; uint16_t major, minor, min_host_minor, reserved;
  uint32_t max_concurrency, flags; uint64_t features; const char *name, *version, *sdk; void *functions[5];
};
static void nothing(void) {}
"#;
