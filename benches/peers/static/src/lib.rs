//! What the host is compared with: servers with the application linked in.
//!
//! Each is a program with one argument, where to listen: `127.0.0.1:8080` or `unix:/run/app.sock`. It stops at
//! SIGTERM. The programs whose names end in `-mimalloc` are the same with the allocator that `cohost` has.

mod address;
pub mod raw_hyper;
pub mod static_axum;

use std::{future::Future, process::ExitCode};

use address::Address;

/// Runs a server on the address that the command line names, as the tokio runtime that `#[tokio::main]` makes does.
fn serve<F: Future<Output = std::io::Result<()>>>(server: impl FnOnce(Address) -> F) -> ExitCode {
    let address = std::env::args().nth(1).and_then(|argument| argument.parse().ok());
    let Some(address) = address else {
        return fail("say where to listen: 127.0.0.1:8080 or unix:/run/app.sock");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(server(address))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

#[expect(clippy::print_stderr, reason = "these are programs")]
fn fail(what: &str) -> ExitCode {
    eprintln!("{what}");
    ExitCode::FAILURE
}

/// Comes when the program is to stop.
async fn terminated() {
    let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    signal.expect("SIGTERM can be listened for").recv().await;
}
