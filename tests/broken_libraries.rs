//! Behaviour 3: whatever is wrong with an application library has a code of its own, the same under both hosting
//! models, and a line in the log that names the file and the fix. The host stays up, serves its other applications,
//! and stops as it should.

use std::{fs, path::Path, process::Command};

use crate::{
    both_models,
    host::{HELLO, Model, Setup, Workshop, library, program},
};

// ---- files that cannot be one

both_models! {
    async fn a_library_that_is_missing(model: Model) {
        let workshop = Workshop::new();
        is_refused(model, &workshop.path("libshop.so"), "file_missing", "build the application").await;
    }

    async fn an_empty_file(model: Model) {
        let workshop = Workshop::new();
        is_refused(model, &workshop.file("libshop.so", ""), "not_a_library", "an empty file").await;
    }

    async fn a_text(model: Model) {
        let workshop = Workshop::new();
        let text = workshop.file("libshop.so", "<html>404 Not Found</html>\n");
        is_refused(model, &text, "not_a_library", "name the shared library").await;
    }

    async fn a_library_that_is_cut_short(model: Model) {
        let workshop = Workshop::new();
        let whole = fs::read(workshop.hello()).unwrap();
        for length in [5, 20, 64, whole.len() / 2, whole.len() - 1] {
            let cut = workshop.file("libshop.so", &whole[..length]);
            is_refused(model, &cut, "library_truncated", "copy it again").await;
        }
    }

    async fn a_library_for_another_machine(model: Model) {
        let workshop = Workshop::new();
        let other = patched(&workshop, MACHINE, &[SPARC_V9, 0]);
        is_refused(model, &other, "wrong_architecture", "built for sparc64").await;
    }

    async fn a_library_of_32_bits(model: Model) {
        let workshop = Workshop::new();
        let other = patched(&workshop, CLASS, &[CLASS_32]);
        is_refused(model, &other, "wrong_architecture", "32-bit").await;
    }

    async fn a_program(model: Model) {
        let workshop = Workshop::new();
        let program = workshop.compile("shop", "int main(void) { return 0; }\n", &[]);
        is_refused(model, &program, "not_a_library", "run it with `command`").await;
    }
}

// ---- libraries that cannot be loaded, or are no application

both_models! {
    async fn a_library_that_needs_another_one_that_is_missing(model: Model) {
        let workshop = Workshop::new();
        is_refused(model, &with_missing_dependency(&workshop), "dependency_missing", "libparts.so").await;
    }

    async fn a_library_with_a_symbol_that_nobody_defines(model: Model) {
        let workshop = Workshop::new();
        let source = format!("{HELLO}int nowhere(void); int shop(void) {{ return nowhere(); }}\n");
        let library = workshop.library("libshop.so", &source, &[]);
        is_refused(model, &library, "dependency_missing", "the symbol `nowhere`").await;
    }

    async fn a_library_without_an_entry(model: Model) {
        let workshop = Workshop::new();
        let library = workshop.library("libshop.so", "int shop(void) { return 1; }\n", &[]);
        is_refused(model, &library, "entry_missing", "does not export `cohost_app_v1`").await;
    }

    async fn a_library_for_another_major_version(model: Model) {
        let workshop = Workshop::new();
        let library = workshop.library("libshop.so", OTHER_MAJOR, &[]);
        is_refused(model, &library, "abi_mismatch", "speaks ABI 2, this host speaks ABI 1").await;
    }

    async fn a_library_with_too_much_static_thread_local_storage(model: Model) {
        let workshop = Workshop::new();
        is_refused(model, &with_static_storage(&workshop), "static_tls", "host it out of process").await;
    }
}

// ---- applications that do not start

both_models! {
    async fn a_constructor_that_returns_an_error(model: Model) {
        let said = "could not start: the database is not there";
        does_not_start(Setup::broken(model, "constructor-error"), model, "start_failed", said).await;
    }

    async fn a_constructor_that_panics(model: Model) {
        let said = "panicked while it started: the constructor was told to panic";
        does_not_start(Setup::broken(model, "constructor-panic"), model, "start_panicked", said).await;
    }

    async fn a_constructor_that_does_not_return(model: Model) {
        let setup = Setup::broken(model, "constructor-hang").application("startup_timeout = \"300ms\"");
        does_not_start(setup, model, "start_timeout", "raise `startup_timeout`").await;
    }

    async fn an_application_that_never_gets_ready(model: Model) {
        let setup = Setup::broken(model, "not-ready").application("startup_timeout = \"300ms\"");
        does_not_start(setup, model, "start_timeout", "raise `startup_timeout`").await;
    }
}

/// That `file` is refused, by the host and by the commands that look at files.
async fn is_refused(model: Model, file: &Path, code: &str, said: &str) {
    let detail = refusal(Setup::library(file, model), model, code).await;
    assert!(detail.contains(&file.display().to_string()), "the file is not named: {detail}");
    assert!(detail.contains(said), "{detail}");
    commands_name(file);
}

async fn does_not_start(setup: Setup, model: Model, code: &str, said: &str) {
    let file = library("test_apps").display().to_string();
    let detail = refusal(setup, model, code).await;
    assert!(detail.contains(&file), "the file is not named: {detail}");
    assert!(detail.contains(said), "{detail}");
}

/// What the host says of an application that it cannot start, while it goes on.
async fn refusal(setup: Setup, model: Model, code: &str) -> String {
    let workshop = Workshop::new();
    let host = setup.beside(&workshop.hello(), model).start().await;

    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, code));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(answer.json()["code"], code);

    let event = host.log.message("application did not start").await;
    let facts = (&event["level"], &event["application"], &event["failure"]);
    assert_eq!(facts, (&"ERROR".into(), &"app".into(), &code.into()), "{event}");
    host.log.times("application did not start", 1).await;

    assert_eq!(host.get("/healthy/x").await.text(), "hello from C: /x\n");
    assert!(host.stop().await.success());
    event["detail"].as_str().unwrap().to_owned()
}

// ---- the commands that look at files

/// That `cohost check` and `cohost inspect` name the file, whatever they think of it.
fn commands_name(file: &Path) {
    for command in ["check", "inspect"] {
        let (_, said) = cohost(command, file);
        assert!(said.contains(file.to_str().unwrap()), "cohost {command}: {said}");
    }
}

/// How a command ended, and what it said.
fn cohost(command: &str, file: &Path) -> (Option<i32>, String) {
    let done = Command::new(program()).arg(command).arg(file).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn the_commands_refuse_what_no_loader_would_take() {
    let workshop = Workshop::new();
    let whole = fs::read(workshop.hello()).unwrap();
    let program = workshop.compile("program", "int main(void) { return 0; }\n", &[]);
    let refused = [
        (workshop.path("missing.so"), "file_missing"),
        (workshop.file("empty.so", ""), "not_a_library"),
        (workshop.file("text.so", "text\n"), "not_a_library"),
        (workshop.file("cut.so", &whole[..whole.len() / 2]), "library_truncated"),
        (patched(&workshop, MACHINE, &[SPARC_V9, 0]), "wrong_architecture"),
        (program, "not_a_library"),
        (workshop.library("no_entry.so", "int shop(void) { return 1; }\n", &[]), "entry_missing"),
        (workshop.library("other_major.so", OTHER_MAJOR, &[]), "abi_mismatch"),
    ];
    for (file, code) in refused {
        let (exit, said) = cohost("inspect", &file);
        assert_eq!(exit, Some(1), "{said}");
        assert!(said.starts_with(&format!("cohost: [{code}] {}", file.display())), "{said}");
        let (exit, said) = cohost("check", &file);
        assert_eq!(exit, Some(1), "{said}");
    }
}

#[test]
fn the_commands_warn_of_what_only_the_loader_can_tell() {
    let workshop = Workshop::new();
    let doubtful = [
        (with_missing_dependency(&workshop), "needs libparts.so, which was not found"),
        (with_static_storage(&workshop), "wants static thread-local storage"),
    ];
    for (file, warning) in doubtful {
        for command in ["check", "inspect"] {
            let (exit, said) = cohost(command, &file);
            assert_eq!(exit, Some(0), "{said}");
            assert!(said.contains(warning), "cohost {command}: {said}");
        }
    }
}

// ---- libraries that find what they need beside themselves

both_models! {
    async fn a_dependency_beside_the_library_is_found(model: Model) {
        let workshop = Workshop::new();
        part(&workshop, "libpart.so", 1, &[]);
        finds_its_part(model, &workshop, &["-Wl,-rpath,$ORIGIN"]).await;
    }

    async fn a_dependency_in_a_folder_beside_the_library_is_found(model: Model) {
        let workshop = Workshop::new();
        part(&workshop, "lib/libpart.so", 1, &[]);
        finds_its_part(model, &workshop, &["-Llib", "-Wl,-rpath,${ORIGIN}/lib"]).await;
    }

    async fn a_dependency_in_a_folder_above_the_library_is_found(model: Model) {
        let workshop = Workshop::new();
        let elsewhere = workshop.path("..").join(workshop.path("").file_name().unwrap());
        part(&workshop, "libpart.so", 1, &["-Wl,-soname,libpart.so"]);
        let rpath = format!("-Wl,-rpath,$ORIGIN/../{}", elsewhere.file_name().unwrap().display());
        finds_its_part(model, &workshop, &[&rpath]).await;
    }

    async fn a_dependency_of_a_dependency_is_found_beside_that(model: Model) {
        let workshop = Workshop::new();
        workshop.library("lib/libscrew.so", "int screw(void) { return 1; }\n", &[]);
        let source = "int screw(void); int part(void) { return screw(); }\n";
        let arguments = ["-Llib", "-lscrew", "-Wl,-rpath,$ORIGIN"];
        workshop.library("lib/libpart.so", source, &arguments);
        finds_its_part(model, &workshop, &["-Llib", "-Wl,-rpath,$ORIGIN/lib"]).await;
    }

    async fn a_dependency_that_was_beside_the_library_and_is_gone_is_named(model: Model) {
        let workshop = Workshop::new();
        let part = part(&workshop, "libpart.so", 1, &[]);
        let library = with_part(&workshop, &["-Wl,-rpath,$ORIGIN"]);
        fs::remove_file(part).unwrap();
        is_refused(model, &library, "dependency_missing", "needs libpart.so, which is not there").await;
    }
}

/// A library that only says that it is there.
fn part(workshop: &Workshop, name: &str, number: u32, arguments: &[&str]) -> std::path::PathBuf {
    workshop.library(name, &format!("int part(void) {{ return {number}; }}\n"), arguments)
}

/// An application that needs `libpart.so`, and does not start if that is another one than it was built with.
fn with_part(workshop: &Workshop, arguments: &[&str]) -> std::path::PathBuf {
    let source = format!(
        "{HELLO}int part(void);\n\
         __attribute__((constructor)) static void look(void) {{ if (part() != 1) __builtin_trap(); }}\n"
    );
    let arguments: Vec<&str> = ["-L.", "-lpart"].iter().chain(arguments).copied().collect();
    workshop.library("libshop.so", &source, &arguments)
}

async fn finds_its_part(model: Model, workshop: &Workshop, arguments: &[&str]) {
    let host = Setup::library(&with_part(workshop, arguments), model).start().await;
    let answer = host.get("/x").await;
    assert_eq!(answer.text(), "hello from C: /x\n");
    assert!(host.stop().await.success());
}

// ---- what is broken

/// The smallest application, with these bytes of its header.
fn patched(workshop: &Workshop, place: usize, bytes: &[u8]) -> std::path::PathBuf {
    let mut library = fs::read(workshop.hello()).unwrap();
    library[place..place + bytes.len()].copy_from_slice(bytes);
    workshop.file("libshop.so", library)
}

fn with_missing_dependency(workshop: &Workshop) -> std::path::PathBuf {
    let parts = workshop.library("libparts.so", "int parts(void) { return 1; }\n", &[]);
    let source = format!("{HELLO}int parts(void); int shop(void) {{ return parts(); }}\n");
    let library = workshop.library("libshop.so", &source, &["-L.", "-lparts"]);
    fs::remove_file(parts).unwrap();
    library
}

fn with_static_storage(workshop: &Workshop) -> std::path::PathBuf {
    let source = format!(
        "{HELLO}__attribute__((tls_model(\"initial-exec\"))) __thread char much[1 << 20];\n\
         char *shop(void) {{ return much; }}\n"
    );
    workshop.library("libstatic.so", &source, &[])
}

const OTHER_MAJOR: &str = "
#include \"cohost.h\"
COHOST_PUBLIC const cohost_app cohost_app_v2 = { .magic = COHOST_MAGIC, .size = sizeof(cohost_app), .major = 2 };
";

/// Places in an ELF header, and what can stand there.
const CLASS: usize = 4;
const CLASS_32: u8 = 1;
const MACHINE: usize = 18;
const SPARC_V9: u8 = 43;
