//! What an application writes: to the host's log, as it should, and to the process's own output.

use std::{
    io::{self, Write},
    sync::Arc,
};

use axum::{Router, extract::Path, http::StatusCode, routing::any};

use crate::Shared;

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/log", any(log))
        .route("/spawned-log", any(spawned_log))
        .route("/print/{kb}", any(async |Path(kb)| print(kb).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)))
        .route("/print-error/{kb}", any(print_error))
}

/// One event of each level, with fields of each kind.
async fn log() -> &'static str {
    tracing::error!(text = "a\nb", "an error");
    tracing::warn!(number = -1, "a warning");
    tracing::info!(yes = true, float = 0.5, "worth knowing");
    tracing::debug!(big = u64::MAX, "for the developer");
    tracing::trace!("for the developer in despair");
    "logged\n"
}

/// From a task that the request spawned and waits for.
async fn spawned_log() -> Result<&'static str, StatusCode> {
    let task = tokio::spawn(async { tracing::info!("from a spawned task") });
    task.await.map(|()| "logged\n").map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Lines of 64 bytes to standard output.
pub(crate) fn print(kb: usize) -> io::Result<String> {
    lines(io::stdout().lock(), kb)
}

async fn print_error(Path(kb): Path<usize>) -> Result<String, StatusCode> {
    lines(io::stderr().lock(), kb).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

fn lines(mut to: impl Write, kb: usize) -> io::Result<String> {
    for number in 0..kb * 16 {
        writeln!(to, "line {number:010} {:.<47}", "")?;
    }
    to.flush()?;
    Ok(format!("printed {kb} KB\n"))
}
