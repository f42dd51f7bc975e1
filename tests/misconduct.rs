//! Behaviours 13 to 15, 21 and 31 for programs at their worst: whatever a process does, the other applications go on, the
//! next clean request is answered, the log names application and cause, and nothing is left behind.

// Processes that end when they should not.
mod ends;

// Processes that keep their port for longer than the next one would wait.
mod ports;

// Processes that do not come up, or not where they should.
mod starts;

// What processes start and leave behind, and what becomes of it when the host ends.
mod remains;

use std::{path::PathBuf, sync::LazyLock};

use crate::host::{Host, Model, Setup, Workshop, library};

/// The program that misbehaves as it is asked to.
static UNRULY: LazyLock<(Workshop, PathBuf)> = LazyLock::new(|| {
    let workshop = Workshop::new();
    let program = workshop.compile("unruly", include_str!("programs/unruly.c"), &["-pthread"]);
    (workshop, program)
});

/// The program with these options, beside an application that is well.
pub fn unruly(options: &[&str]) -> Setup {
    let program = UNRULY.1.to_str().unwrap();
    let words: Vec<_> = std::iter::once(program).chain(options.iter().copied()).collect();
    Setup::command(&words).beside(&library("sample_app"), Model::OutOfProcess)
}

/// That the application beside it answers.
async fn the_other_is_well(host: &Host) {
    assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
}
