//! What is read out of libraries that can be served.

use super::{super::Note, Claims, Library, Workshop, application, examine, sound};

fn read(source: &str, arguments: &[&str]) -> Library {
    examine(&Workshop::new().library(source, arguments)).unwrap()
}

#[test]
fn a_sound_library_is_described_and_draws_no_warning() {
    let marks = "-Wl,--no-as-needed,--enable-new-dtags,-soname,libapp.so.1,-rpath,$ORIGIN:/opt/lib";
    let library = read(&sound(), &[marks, "-lc"]);
    let claims = Note { major: 1, minor: 0, min_host_minor: 0, flags: 0, requires_features: 0 };
    assert_eq!(library.note, Some(claims));
    assert_eq!(library.descriptor, Some(claims));
    assert!(library.entry);
    assert_eq!(library.other_entry, None);
    assert_eq!(library.soname.as_deref(), Some("libapp.so.1"));
    assert_eq!(library.runpath, ["$ORIGIN", "/opt/lib"]);
    assert!(library.needed.iter().any(|name| name.starts_with("libc.so")));
    assert_eq!(library.build_id.as_ref().map(String::len), Some(40));
    assert_eq!(library.exported, <[&str; 0]>::default());
    assert_eq!(library.warnings(), <[&str; 0]>::default());
}

#[test]
fn stripping_takes_nothing_away_that_matters() {
    let workshop = Workshop::new();
    let path = workshop.library(&sound(), &["-g"]);
    let before = examine(&path).unwrap();
    assert!(std::process::Command::new("strip").arg(&path).status().unwrap().success());
    assert_eq!(examine(&path).unwrap(), before);
}

#[test]
fn section_headers_are_not_needed() {
    let workshop = Workshop::new();
    let path = workshop.library(&sound(), &[]);
    let before = examine(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0x28..0x30].fill(0); // e_shoff
    bytes[0x3c..0x40].fill(0); // e_shnum, e_shstrndx
    workshop.file("app.so", bytes);
    assert_eq!(examine(&path).unwrap(), before);
}

#[test]
fn the_older_hash_table_will_do() {
    assert!(read(&sound(), &["-Wl,--hash-style=sysv"]).entry);
    assert!(read(&sound(), &["-Wl,--hash-style=gnu"]).entry);
}

#[test]
fn the_note_carries_flags_and_versions() {
    let claims =
        Claims { minor: 7, flags: cohost_abi::app_flags::BLOCKING, features: 3, ..Claims::default() };
    let library = read(&application(&claims, &claims, ""), &[]);
    let note = library.note.unwrap();
    assert_eq!((note.minor, note.flags, note.requires_features), (7, cohost_abi::app_flags::BLOCKING, 3));
    assert_eq!(library.flags(), cohost_abi::app_flags::BLOCKING);
}

#[test]
fn a_library_without_a_note_is_served_with_a_warning() {
    let source =
        application(&Claims::default(), &Claims::default(), "").replace(".note.cohost", ".data.other");
    let library = read(&source, &[]);
    assert_eq!(library.note, None);
    assert!(library.descriptor.is_some());
    warns(&library, "no note");
}

#[test]
fn a_descriptor_that_code_fills_in_is_left_to_the_loader() {
    let source = format!("{}\nstruct app cohost_app_v1;", declarations_and_note());
    let library = read(&source, &[]);
    assert!(library.entry);
    assert_eq!(library.descriptor, None);
}

#[test]
fn a_panic_that_ends_the_process_is_warned_of() {
    let claims = Claims { flags: cohost_abi::app_flags::PANIC_ABORT, ..Claims::default() };
    warns(&read(&application(&claims, &claims, ""), &[]), "panic = \"abort\"");
}

#[test]
fn static_thread_local_storage_is_warned_of_with_its_size() {
    let storage = "__thread char big[4000] __attribute__((tls_model(\"initial-exec\"), visibility(\"hidden\"))); \
                   __attribute__((used)) static char *first(void) { return big; }";
    let library = read(&application(&Claims::default(), &Claims::default(), storage), &[]);
    assert!(library.static_tls && library.tls_size >= 4000);
    warns(&library, &format!("{} bytes", library.tls_size));
}

#[test]
fn dynamic_thread_local_storage_is_no_reason_to_warn() {
    let storage =
        "static __thread char big[4000]; __attribute__((used)) static char *first(void) { return big; }";
    let library = read(&application(&Claims::default(), &Claims::default(), storage), &[]);
    assert!(!library.static_tls && library.tls_size >= 4000);
    assert_eq!(library.warnings(), <[&str; 0]>::default());
}

#[test]
fn symbols_that_the_process_has_only_once_are_named() {
    let unique = r#"__asm__(".data\n.globl only_one\n.type only_one, %gnu_unique_object\n.size only_one, 8\nonly_one: .quad 0\n.text");"#;
    let library = read(&application(&Claims::default(), &Claims::default(), unique), &[]);
    assert_eq!(library.unique_symbols, ["only_one"]);
    warns(&library, "`only_one`");
}

#[test]
fn stray_symbols_are_named_but_not_all_of_them() {
    let many: String = (0..1000).map(|number| format!("int stray_{number};\n")).collect();
    let library = read(&application(&Claims::default(), &Claims::default(), &many), &[]);
    assert_eq!(library.exported.len(), super::super::NAMES_KEPT);
    warns(&library, "and more than");
    let few = application(&Claims::default(), &Claims::default(), "int stray;");
    assert_eq!(read(&few, &[]).exported, ["stray"]);
}

#[test]
fn marks_of_the_linker_are_read() {
    let library = read(&sound(), &["-Wl,-z,nodelete", "-Wl,-z,execstack"]);
    assert!(library.nodelete);
    warns(&library, "executable stack");
}

fn declarations_and_note() -> String {
    let sound = sound();
    sound.split("__attribute__((visibility").next().unwrap().to_owned()
}

fn warns(library: &Library, words: &str) {
    let warnings = library.warnings();
    assert!(warnings.iter().any(|warning| warning.contains(words)), "{warnings:?}");
}
