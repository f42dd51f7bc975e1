//! The loader's own words (glibc 2.36, as they were heard), and the errors they become.

use std::path::{Path, PathBuf};

use super::{Code, Library, LoadError, Workshop, examine, says, sound};
use crate::dispatcher::in_process;

/// What becomes of `message`, said of a library that was fine until then.
fn heard(message: &str) -> LoadError {
    LoadError::from_loader(Path::new("/srv/app.so"), message, &library())
}

fn library() -> Library {
    let mut library = examine(&Workshop::new().library(&sound(), &["-Wl,-rpath,$ORIGIN/lib"])).unwrap();
    library.path = "/srv/app.so".into();
    library.tls_size = 100_000;
    library
}

#[test]
fn a_missing_dependency_is_named_with_the_places_searched() {
    let error = heard("libdep.so: cannot open shared object file: No such file or directory");
    says(&error, Code::DependencyMissing, &["/srv/app.so needs libdep.so", "/srv/lib, /", "$ORIGIN"]);
}

#[test]
fn a_library_that_vanished_is_missing() {
    let error = heard("/run/copy.so: cannot open shared object file: No such file or directory");
    says(&error, Code::FileMissing, &["/srv/app.so"]);
}

#[test]
fn what_cannot_be_opened_for_another_reason_keeps_the_reason() {
    let error = heard("libdep.so: cannot open shared object file: Permission denied");
    says(&error, Code::LoadFailed, &["libdep.so", "Permission denied", "permissions"]);
}

#[test]
fn an_old_dependency_is_named_with_the_version() {
    let error = heard("/opt/lib/libdep.so: version `V2' not found (required by ./app.so)");
    says(&error, Code::DependencyMissing, &["version V2 of /opt/lib/libdep.so", "install a newer one"]);
    let error =
        heard("/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by ./app.so)");
    says(&error, Code::DependencyMissing, &["GLIBC_2.38", "build it on a system no newer"]);
}

#[test]
fn an_undefined_symbol_is_named() {
    says(&heard("./app.so: undefined symbol: dep_fn"), Code::DependencyMissing, &["`dep_fn`"]);
    says(&heard("./app.so: undefined symbol: dep_fn, version V1"), Code::DependencyMissing, &["`dep_fn@V1`"]);
}

#[test]
fn too_little_static_storage_names_the_usual_cause() {
    let error = heard("./app.so: cannot allocate memory in static TLS block");
    says(&error, Code::StaticTls, &["100000 bytes", "allocator", "rtld.optional_static_tls"]);
}

#[test]
fn a_file_system_without_code_is_told_from_a_lack_of_memory() {
    let error = heard("./app.so: failed to map segment from shared object");
    says(&error, Code::LoadFailed, &["noexec"]);
    let error = heard("./app.so: failed to map segment from shared object: Operation not permitted");
    says(&error, Code::LoadFailed, &["noexec"]);
    let error = heard("./app.so: failed to map segment from shared object: Cannot allocate memory");
    says(&error, Code::LoadFailed, &["Cannot allocate memory; give the process more memory"]);
}

#[test]
fn other_words_stay_as_they_are() {
    let cases = [
        ("/opt/lib/libdep.so: file too short", "install it again"),
        ("/opt/lib/libdep.so: invalid ELF header", "install it again"),
        ("libdep.so: wrong ELF class: ELFCLASS32", "word size"),
        ("./app.so: shared object cannot be dlopen()ed", "nodlopen"),
        (
            "./app.so: cannot enable executable stack as shared object requires: Permission denied",
            "noexecstack",
        ),
        ("./app.so: cannot create shared object descriptor: Cannot allocate memory", "/srv/app.so"),
        ("words that nobody has heard before", "/srv/app.so"),
        ("", "/srv/app.so"),
    ];
    for (message, fix) in cases {
        says(&heard(message), Code::LoadFailed, &[message, fix]);
    }
}

#[test]
fn what_the_loader_finds_out_after_us_has_codes_of_its_own() {
    let path = || "/srv/app.so".into();
    let message = || "no database".to_owned();
    let limit = std::time::Duration::from_secs(120);
    says(&LoadError::InitFailed { path: path(), message: message() }, Code::StartFailed, &["no database"]);
    says(
        &LoadError::InitPanicked { path: path(), message: String::new() },
        Code::StartPanicked,
        &["panicked"],
    );
    says(&LoadError::InitTimedOut { path: path(), limit }, Code::StartTimeout, &["120s", "startup_timeout"]);
    says(
        &LoadError::TooManyGenerations { path: path(), limit: 16 },
        Code::TooManyGenerations,
        &["16", "restart"],
    );
}

#[test]
fn a_library_that_cannot_be_loaded_leaves_nothing_behind_and_may_be_tried_again_and_again() {
    let workshop = Workshop::new();
    let source = format!("{}int nowhere(void); int shop(void) {{ return nowhere(); }}", sound());
    let path = workshop.path("refused.so");
    std::fs::rename(workshop.library(&source, &[]), &path).unwrap();
    for _ in 0..150 {
        let refused = in_process::Library::open(&path).expect_err("nobody defines the symbol");
        says(&refused, Code::DependencyMissing, &["`nowhere`"]);
    }
    let ours = format!("cohost-libraries-{}-", std::process::id());
    let within = |directory: PathBuf| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let copies = within(std::env::temp_dir())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours))
        .flat_map(|entry| within(entry.path()))
        .filter(|copy| copy.path().join("refused.so").exists());
    assert_eq!(copies.count(), 0);
}
