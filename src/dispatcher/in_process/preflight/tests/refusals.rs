//! Files that are refused, each with its own code, its name and what to do.

use std::os::unix::fs::symlink;

use super::{super::examine_bytes, Claims, Code, LoadError, Workshop, application, refusal, says, sound};

#[test]
fn a_missing_file_is_named() {
    let workshop = Workshop::new();
    says(&refusal(&workshop.path("app.so")), Code::FileMissing, &["does not exist", "build"]);
    let file = workshop.file("file", "");
    says(&refusal(&file.join("app.so")), Code::FileMissing, &["does not exist"]);
}

#[test]
fn a_link_to_nothing_says_where_it_points() {
    let workshop = Workshop::new();
    symlink("gone.so", workshop.path("app.so")).unwrap();
    says(&refusal(&workshop.path("app.so")), Code::FileMissing, &["gone.so"]);
}

#[test]
fn a_file_that_cannot_be_opened_keeps_the_systems_reason() {
    let workshop = Workshop::new();
    // Root may read everything, but a circle of links is a circle to everybody.
    symlink("app.so", workshop.path("app.so")).unwrap();
    let error = refusal(&workshop.path("app.so"));
    says(&error, Code::FileMissing, &["cannot read"]);
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn what_is_no_regular_file_is_neither_opened_nor_waited_for() {
    let workshop = Workshop::new();
    says(&refusal(workshop.0.path()), Code::NotALibrary, &["a directory"]);
    let pipe = workshop.path("pipe.so");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    says(&refusal(&pipe), Code::NotALibrary, &["a pipe"]);
    says(&refusal("/dev/null".as_ref()), Code::NotALibrary, &["a device"]);
}

#[test]
fn what_is_no_elf_file_is_recognised() {
    let workshop = Workshop::new();
    let cases: [(&[u8], &str); 6] = [
        (b"", "an empty file"),
        (b"#!/bin/sh\n", "a script"),
        (b"!<arch>\n", "a static archive"),
        (b"MZ\x90\0", "a Windows library"),
        (b"[application]\nname = \"shop\"\n", "a text"),
        (b"\x01\x02\x03\x04", "something else"),
    ];
    for (bytes, words) in cases {
        says(&refusal(&workshop.file("app.so", bytes)), Code::NotALibrary, &[words, ".so"]);
    }
}

#[test]
fn a_library_that_is_cut_short_says_where_it_should_end() {
    let workshop = Workshop::new();
    let whole = std::fs::read(workshop.library(&sound(), &[])).unwrap();
    let cut = workshop.file("cut.so", &whole[..whole.len() / 2]);
    let has = format!("has {} bytes", whole.len() / 2);
    says(&refusal(&cut), Code::LibraryTruncated, &["cut short", &has]);
}

#[test]
#[cfg(all(target_pointer_width = "64", target_endian = "little"))]
fn another_machine_is_named_beside_our_own() {
    let workshop = Workshop::new();
    let whole = std::fs::read(workshop.library(&sound(), &[])).unwrap();
    let host = super::super::machine::Target::HOST.to_string();
    let patched = |changes: &[(usize, u8)]| {
        let mut bytes = whole.clone();
        changes.iter().for_each(|(offset, byte)| bytes[*offset] = *byte);
        refusal(&workshop.file("other.so", bytes))
    };
    let (class, order, machine) = (4, 5, 18);
    let sparc = patched(&[(order, 2), (machine, 0), (machine + 1, 43)]);
    says(&sparc, Code::WrongArchitecture, &["big-endian sparc64", &host]);
    says(&patched(&[(machine, 8)]), Code::WrongArchitecture, &["mips", &host]);
    says(&patched(&[(class, 1), (machine, 3)]), Code::WrongArchitecture, &["32-bit i386", &host]);
    says(&patched(&[(class, 1)]), Code::WrongArchitecture, &["32-bit", &host]);
    says(&patched(&[(machine, 0xfe), (machine + 1, 0xfe)]), Code::WrongArchitecture, &["number 65278"]);
}

#[test]
fn programs_and_object_files_are_no_libraries() {
    let workshop = Workshop::new();
    let program = "int main(void) { return 0; }";
    for kind in ["-pie", "-no-pie"] {
        let path = workshop.cc("program", program, &[kind]);
        says(&refusal(&path), Code::NotALibrary, &["is a program", "`command`"]);
    }
    let object = workshop.cc("app.o", "int x;", &["-c"]);
    says(&refusal(&object), Code::NotALibrary, &["object file", "-shared"]);
}

#[test]
fn a_library_that_is_no_application_lacks_the_entry() {
    let workshop = Workshop::new();
    let missing = ["cohost_app_v1", "cohost-app"];
    says(&refusal(&workshop.library("int x;", &[])), Code::EntryMissing, &missing);
    let hidden = sound().replace("visibility(\"default\")", "visibility(\"hidden\")");
    says(&refusal(&workshop.library(&hidden, &[])), Code::EntryMissing, &missing);
    let only_used = "extern char cohost_app_v1[]; char *p(void) { return cohost_app_v1; }";
    says(&refusal(&workshop.library(only_used, &[])), Code::EntryMissing, &missing);
}

#[test]
fn an_entry_that_is_no_descriptor_is_refused() {
    let workshop = Workshop::new();
    let cases = [
        ("void cohost_app_v1(void) {}", "is not data"),
        ("const long cohost_app_v1 = 1;", "is smaller"),
        ("const long cohost_app_v1[40] = { 1 };", "magic number"),
    ];
    for (source, words) in cases {
        says(&refusal(&workshop.library(source, &[])), Code::AbiMismatch, &[words, "cohost.h"]);
    }
}

#[test]
fn an_application_of_another_major_names_both_versions() {
    let workshop = Workshop::new();
    let newer = sound().replace("cohost_app_v1", "cohost_app_v2");
    let words = ["speaks ABI 2", "speaks ABI 1", "update the host"];
    says(&refusal(&workshop.library(&newer, &[])), Code::AbiMismatch, &words);
    let both = format!("{}\nconst long cohost_app_v2[40] = {{ 1 }};", sound());
    assert_eq!(super::examine(&workshop.library(&both, &[])).unwrap().other_entry, Some(2));
}

#[test]
fn an_application_that_needs_a_newer_host_names_both_versions() {
    let claims = Claims { minor: 9, min_host_minor: 4, ..Claims::default() };
    let path = Workshop::new();
    let error = refusal(&path.library(&application(&claims, &claims, ""), &[]));
    says(&error, Code::AbiMismatch, &["ABI 1.4", "ABI 1.0", "update the host"]);
}

#[test]
fn features_that_are_not_offered_are_named() {
    let features = 1 | cohost_abi::features::AFFINE_THREADS as u32 | 1 << 30;
    let claims = Claims { features, ..Claims::default() };
    let workshop = Workshop::new();
    let error = refusal(&workshop.library(&application(&claims, &claims, ""), &[]));
    says(&error, Code::AbiMismatch, &["affine threads, unknown (0x40000000)"]);
    assert!(!error.to_string().contains("upgrade"), "{error}");
}

#[test]
fn note_and_descriptor_have_to_agree() {
    let workshop = Workshop::new();
    let note = Claims { flags: 1, ..Claims::default() };
    let differing = application(&note, &Claims::default(), "");
    says(&refusal(&workshop.library(&differing, &[])), Code::AbiMismatch, &["flags 1", "descriptor 0"]);
    let note = Claims { major: 3, ..Claims::default() };
    let differing = application(&note, &Claims::default(), "");
    says(
        &refusal(&workshop.library(&differing, &[])),
        Code::AbiMismatch,
        &["major version 3", "descriptor 1"],
    );
}

#[test]
fn bytes_need_not_be_aligned() {
    let workshop = Workshop::new();
    let path = workshop.library(&sound(), &[]);
    let mut shifted = vec![0];
    shifted.extend(std::fs::read(&path).unwrap());
    assert_eq!(examine_bytes(&path, &shifted[1..]).unwrap(), super::examine(&path).unwrap());
    assert!(matches!(examine_bytes(&path, &shifted), Err(LoadError::NotElf { .. })));
}
