//! `cohost inspect`: what a library says of itself.

use std::fmt::Write as _;

use cohost::dispatcher::in_process::preflight::{Dependency, Library, default_directories};

use crate::{
    cli::Inspect,
    exit::{Exit, Refused},
    libraries, say,
};

/// Prints what is known of the library, or why it cannot be served.
pub(crate) fn inspect(arguments: &Inspect) -> Result<Exit, Refused> {
    let library = libraries::examine(&arguments.library).map_err(|error| {
        Exit::Failed.because(format!("[{}] {}", error.code(), libraries::explain(&error)))
    })?;
    say(&report(&library));
    Ok(Exit::Success)
}

fn report(library: &Library) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{name:<14}{value}");
    };
    line("library", &library.path.display());
    line("machine", &library.machine);
    if let Some(claims) = library.descriptor.or(library.note) {
        line("ABI", &format_args!("{}.{}", claims.major, claims.minor));
        line("needs host", &format_args!("{}.{}", claims.major, claims.min_host_minor));
    }
    if let Some(build) = &library.build_id {
        line("build", build);
    }
    for dependency in library.dependencies(&default_directories()) {
        line("needs", &found(&dependency));
    }
    for warning in libraries::warnings(library) {
        line("warning", &warning);
    }
    text
}

fn found(dependency: &Dependency) -> String {
    match &dependency.found {
        Some(path) => format!("{} ({})", dependency.name, path.display()),
        None => format!("{} (not found)", dependency.name),
    }
}
