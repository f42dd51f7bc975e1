//! What is known of a library before any of its code runs: the one place where the program asks.

use std::path::Path;

use cohost::dispatcher::in_process::preflight::{self, Library, LoadError};

/// Examines the library at `path`.
pub(crate) fn examine(path: &Path) -> Result<Library, LoadError> {
    preflight::examine(path)
}

/// What an operator should know of a library that can be served, one sentence each.
pub(crate) fn warnings(library: &Library) -> Vec<String> {
    let missing = library.missing_dependencies(&preflight::default_directories());
    let missing = missing.into_iter().map(|name| format!("needs {name}, which was not found"));
    library.warnings().into_iter().chain(missing).collect()
}

/// `error`, with what led to it.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
