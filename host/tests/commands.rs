//! The program from outside: what it prints, and how it ends.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// Runs the program in `folder`, with a target directory of its own there.
fn cohost(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the program was built")
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohost"));
    command.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes a crate without dependencies, whose library is of `crate_type`.
fn write_crate(folder: &Path, crate_type: &str, code: &str) {
    let manifest = format!(
        "[package]\nname = \"shop\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\ncrate-type = [\"{crate_type}\"]\n[workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).expect("a folder of our own");
    fs::write(folder.join("lib.rs"), code).expect("a folder of our own");
}

const SITE: &str = "[[site]]\nname = 'shop'\nbindings = ['http://127.0.0.1:0']\n[[site.application]]\n";

#[test]
fn help_shows_examples_and_exit_codes() {
    let output = cohost(Path::new("."), &["--help"]);
    assert!(output.status.success());
    assert!(stdout(&output).contains("cohost run sample-app"), "{}", stdout(&output));
    assert!(stdout(&output).contains("Exit codes:"), "{}", stdout(&output));
}

#[test]
fn arguments_that_make_no_sense_end_with_2() {
    assert_eq!(cohost(Path::new("."), &["serve"]).status.code(), Some(2));
    assert_eq!(cohost(Path::new("."), &["run", "--listen", "ftp://x"]).status.code(), Some(2));
}

#[test]
fn a_failure_code_is_explained_without_a_host() {
    let explained = cohost(Path::new("."), &["explain", "start_failed"]);
    assert!(explained.status.success());
    assert!(stdout(&explained).starts_with("## `start_failed`\n"), "{}", stdout(&explained));
    let all = stdout(&cohost(Path::new("."), &["explain"]));
    assert!(all.lines().any(|line| line.starts_with("port_taken ")), "{all}");
    let unknown = cohost(Path::new("."), &["explain", "start_fialed"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("'start_failed'"), "{}", stderr(&unknown));
}

#[test]
fn a_url_is_tried_on_the_rules_of_the_example() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/config/rewrite.toml");
    let tried = |arguments: &[&str]| {
        let example = example.display().to_string();
        let output =
            cohost(Path::new("."), &[&["rewrite-test", "--config", &example][..], arguments].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(
        tried(&["http://shop.example/articles/7/title?a=b"]),
        "GET http://shop.example/articles/7/title?a=b\nsite shop\n  articles: rewrites to /article?id=7&a=b\n\
         application shop gets GET /article?id=7&a=b\n"
    );
    let moved = tried(&["http://shop.example/about-us"]);
    assert!(moved.ends_with("  moved: redirects to /about\n301 /about\n"), "{moved}");
    let language = tried(&["http://shop.example/x", "--header", "Cookie: lang=de"]);
    assert!(language.ends_with("302 /de/x\n"), "{language}");
    assert!(
        tried(&["http://a/x", "--method", "POST", "--header", "Cookie: lang=de"]).contains("gets POST /x")
    );
    assert!(tried(&["http://shop.example/x"]).contains("site shop\n  none of its rules fires\napplication"));
    assert!(tried(&["http://a/.git/config"]).contains("scanners: closes the connection"));
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = cohost(Path::new("."), &["completions", shell]);
        assert!(stdout(&output).contains("hosting-model"), "{shell}");
    }
}

#[test]
fn faults_of_a_configuration_end_with_3_and_stand_on_a_line_each() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("cohost.toml"),
        format!("{SITE}library = 'x'\npreload = 1\nqueue_limit = 0\n"),
    )
    .unwrap();
    for command in ["check", "run"] {
        let output = cohost(folder.path(), &[command]);
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(
            stderr(&output),
            "cohost.toml:6:11: site.shop.application./.preload: must be true or false (is a whole number)\n\
             cohost.toml:7:15: site.shop.application./.queue_limit: must be at least 1 (is 0)\n"
        );
    }
}

#[test]
fn users_and_groups_that_there_are_not_are_found_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let check = |account: &str| {
        fs::write(folder.path().join("cohost.toml"), format!("{SITE}command = 'x'\n{account}\n")).unwrap();
        cohost(folder.path(), &["check"])
    };
    for (account, fault) in [
        (
            "user = 'no-such-user'",
            "6:8: site.shop.application./.user: there is no user of that name; create it (is \"no-such-user\")",
        ),
        (
            "user = 'root'\ngroup = 'no-such-group'",
            "7:9: site.shop.application./.group: there is no group of that name; create it (is \"no-such-group\")",
        ),
        (
            "user = 3999999999",
            "6:8: site.shop.application./.user: there is no such user, so say which group, too (is \"3999999999\")",
        ),
    ] {
        let output = check(account);
        assert_eq!((output.status.code(), stderr(&output)), (Some(3), format!("cohost.toml:{fault}\n")));
    }
    assert!(check("user = 'root'\ngroup = 12345").status.success());
}

#[test]
fn variables_come_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cohost.toml"), format!("{SITE}command = '${{COHOST_TEST_NOWHERE}}'\n"))
        .unwrap();
    let output = cohost(folder.path(), &["check"]);
    assert!(stderr(&output).contains("the variable COHOST_TEST_NOWHERE is not set"), "{}", stderr(&output));
}

#[test]
fn a_missing_library_is_a_warning_and_a_broken_one_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cohost.toml"), format!("{SITE}library = 'libshop.so'\n")).unwrap();
    let output = cohost(folder.path(), &["check"]);
    assert!(output.status.success());
    assert!(stdout(&output).contains("shop: warning: "), "{}", stdout(&output));

    fs::write(folder.path().join("libshop.so"), "no library").unwrap();
    let output = cohost(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("shop: error: "), "{}", stdout(&output));
}

#[test]
fn libraries_find_the_programs_allocator() {
    use object::{Object as _, ObjectSymbol};

    let program = fs::read(env!("CARGO_BIN_EXE_cohost")).unwrap();
    let program = object::read::elf::ElfFile64::<object::Endianness>::parse(&*program).unwrap();
    let defined = program.dynamic_symbols().filter(ObjectSymbol::is_definition);
    let exported: Vec<_> = defined.filter_map(|symbol| symbol.name().ok()).collect();

    for name in ["malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc"] {
        assert!(exported.contains(&name), "{name}");
    }
}

#[test]
fn a_crate_is_built_and_its_library_found() {
    let folder = tempfile::tempdir().unwrap();
    write_crate(folder.path(), "cdylib", "");
    // The library exports no entry, and only somebody who has found it can know.
    let output = cohost(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("release/libshop.so: error: "), "{}", stdout(&output));
}

#[test]
fn a_library_that_is_also_there_for_tests_is_optimised_while_it_is_linked() {
    let folder = tempfile::tempdir().unwrap();
    write_crate(folder.path(), "cdylib\", \"rlib", "");
    let manifest = folder.path().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text + "[profile.release]\nlto = true\n").unwrap();

    let mut command = command(folder.path(), &["check"]);
    let output = command.env("CARGO_TERM_VERBOSE", "true").output().unwrap();

    assert!(stdout(&output).contains("release/libshop.so: error: "), "{}", stdout(&output));
    assert!(stderr(&output).contains(" -C lto "), "{}", stderr(&output));
}

#[test]
fn of_a_workspace_the_member_that_is_named_is_built() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Cargo.toml"), "[workspace]\nmembers = ['shop', 'stock']\nresolver = '3'\n")
        .unwrap();
    for (name, crate_type) in [("shop", "cdylib"), ("stock", "rlib")] {
        fs::create_dir(folder.path().join(name)).unwrap();
        let manifest = format!(
            "[package]\nname = '{name}'\nedition = '2024'\n[lib]\npath = 'lib.rs'\ncrate-type = ['{crate_type}']\n"
        );
        fs::write(folder.path().join(name).join("Cargo.toml"), manifest).unwrap();
        fs::write(folder.path().join(name).join("lib.rs"), "").unwrap();
    }

    for named in [".", "shop"] {
        let output = cohost(folder.path(), &["check", named]);
        assert!(stdout(&output).contains("release/libshop.so: error: "), "{named}: {}", stderr(&output));
    }
    let output = cohost(folder.path(), &["check", "stock"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("stock/Cargo.toml makes no application library"), "{}", stderr(&output));
}

#[test]
fn what_cannot_be_built_ends_with_4() {
    let folder = tempfile::tempdir().unwrap();
    write_crate(folder.path(), "cdylib", "fn main() -> {}");
    let output = cohost(folder.path(), &["run", "--debug"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("lib.rs:1"), "{}", stderr(&output));

    write_crate(folder.path(), "rlib", "");
    let output = cohost(folder.path(), &["run", "--debug"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("crate-type = [\"cdylib\", \"rlib\"]"), "{}", stderr(&output));

    fs::write(folder.path().join("Cargo.toml"), "[package]\nnames = 'shop'\n").unwrap();
    let output = cohost(folder.path(), &["run"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("Cargo.toml"), "{}", stderr(&output));
}

#[test]
fn inspecting_what_is_no_library_names_the_failure_code() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.so"), "text").unwrap();
    let output = cohost(folder.path(), &["inspect", "x.so"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("[not_a_library]"), "{}", stderr(&output));
}
