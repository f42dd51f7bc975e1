//! The program `cohost`.
//!
//! In: arguments, the environment, files. Out: an exit code, whose meanings stand in one place, [`exit::Exit`]. What
//! was asked for goes to stdout; the log, and what went wrong, to stderr.
//! Never: does anything that the library could do.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    reason = "this is the program; the library is what keeps silent"
)]

mod acme;
mod app;
mod artifact;
mod ask;
mod build;
mod carried;
mod certificates;
mod check;
mod cli;
mod codeless;
mod crash;
mod decisions;
mod door;
mod edition;
mod exit;
mod explain;
mod gate;
mod greeting;
mod hearing;
mod hosting;
mod import;
mod inspect;
mod libraries;
mod log;
mod mounted;
mod next;
mod offline;
mod options;
mod outward;
mod printed;
mod replaced;
mod rewrite_test;
mod rollback;
mod run;
mod runtime_dir;
mod serve;
mod serving;
mod settings;
mod signals;
mod sockets;
mod standing;
mod supervise;
mod systemd;
mod tail;
mod tls;
mod told;
mod tree;
mod trial;
mod upgrade;
mod warm;
mod wish;
mod worker;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    exit::Refused,
};

// The system's allocator gives little back after a burst and contends between threads. This one stands in its place, for
// application libraries too (decision 12); still no memory changes its owner at the seam. It is not declared as Rust's
// global allocator: it is reached as `malloc`, which, unlike that, has no alignment to look at.
use mimalloc as _;

fn main() -> ExitCode {
    // Before all else: this very program is also the guard and the runner of its instances.
    if let Some(exit) = cohost::enter_if_asked() {
        return exit;
    }
    match worker::enter_if_asked() {
        Some(served) => end(served.map(Into::into)),
        None => end(obey()),
    }
}

/// Does what the command line says.
fn obey() -> Result<ExitCode, Refused> {
    match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments).map(Into::into),
        Command::Check(arguments) => check::check(&arguments).map(Into::into),
        Command::RewriteTest(arguments) => rewrite_test::rewrite_test(&arguments).map(Into::into),
        Command::Inspect(arguments) => inspect::inspect(&arguments).map(Into::into),
        Command::App(arguments) => app::run(&arguments),
        Command::Status(arguments) => ask::status(&arguments).map(Into::into),
        Command::Reload(arguments) => ask::reload(&arguments).map(Into::into),
        Command::Recycle(arguments) => ask::recycle(&arguments).map(Into::into),
        Command::Offline(arguments) => ask::offline(&arguments).map(Into::into),
        Command::Online(arguments) => ask::online(&arguments).map(Into::into),
        Command::Rollback(arguments) => ask::rollback(&arguments).map(Into::into),
        Command::Promote(arguments) => ask::promote(&arguments).map(Into::into),
        Command::Demote(arguments) => ask::demote(&arguments).map(Into::into),
        Command::Logs(arguments) => ask::logs(&arguments).map(Into::into),
        Command::Upgrade(arguments) => ask::upgrade(&arguments).map(Into::into),
        Command::Stop(arguments) => ask::stop(&arguments).map(Into::into),
        Command::Explain(arguments) => Ok(explain::explain(&arguments).into()),
        Command::Import(arguments) => import::import(&arguments).map(Into::into),
        Command::Schema => {
            say(&format!("{:#}\n", cohost::config::schema()));
            Ok(exit::Exit::Success.into())
        }
        Command::Completions(arguments) => {
            say(&cli::completions(arguments.shell));
            Ok(exit::Exit::Success.into())
        }
    }
}

/// The exit code, and why it is not a good one.
fn end(outcome: Result<ExitCode, Refused>) -> ExitCode {
    let code = outcome.unwrap_or_else(|refused| {
        eprintln!("{refused}");
        refused.exit.into()
    });
    log::finish();
    code
}

/// Writes to stdout. A reader who has gone away, as `head` does, is no failure.
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
