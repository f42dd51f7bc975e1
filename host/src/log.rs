//! The program's own log: to stderr, so that stdout stays for what was asked for.
//!
//! Whoever logs never waits for the one who reads: neither the supervisor, which has one thread for everything, nor a
//! worker, whose threads would all end up waiting.

mod outlet;
mod patient;

use std::{
    io::IsTerminal as _,
    os::fd::{AsFd as _, OwnedFd},
    sync::OnceLock,
    time::Duration,
};

use cohost::config::{Log, LogFormat};
use tracing_subscriber::{
    Layer as _, Registry, filter::Targets, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use self::patient::Patient;
use crate::exit::{Exit, Refused};

/// Starts logging as `log` says. To be called once.
pub(crate) fn start(log: &Log) -> Result<(), Refused> {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    start_on(log, stderr.map_err(|error| Exit::Failed.because(format!("cannot start the log: {error}")))?)
}

/// The same, for a worker, whose standard error is not what the program's was.
pub(crate) fn start_on(log: &Log, descriptor: OwnedFd) -> Result<(), Refused> {
    let is_terminal = descriptor.is_terminal();
    let (filter, filtered) = reload::Layer::new(filter(log)?);
    let writer = Patient::to(descriptor);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer.clone());
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Human => lines.with_ansi(is_terminal && wants_colour()).boxed(),
        _ if is_terminal => lines.with_ansi(wants_colour()).boxed(),
        _ => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|error| Exit::Failed.because(format!("cannot start the log: {error}")))?;
    let _only_once = STARTED.set(Started { filtered, writer });
    Ok(())
}

/// From now on, what is below the level of `log` is not written. Its format stays.
pub(crate) fn filter_as(log: &Log) {
    // It was understood when the configuration was read.
    if let (Some(started), Ok(filter)) = (STARTED.get(), filter(log)) {
        let _the_subscriber_is_there = started.filtered.reload(filter);
    }
}

/// Waits a moment for all of it to be written.
pub(crate) fn finish() {
    if let Some(started) = STARTED.get() {
        started.writer.finish(LAST_MOMENT);
    }
}

struct Started {
    filtered: reload::Handle<Targets, Registry>,
    writer: Patient,
}

static STARTED: OnceLock<Started> = OnceLock::new();

fn filter(log: &Log) -> Result<Targets, Refused> {
    let refused = |error| Exit::Usage.because(format!("not a level of the log: {:?}: {error}", log.level));
    log.level.parse().map_err(refused)
}

/// The custom of <https://no-color.org>.
pub(crate) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Nobody may ever read it; that must not hold the end of the host.
const LAST_MOMENT: Duration = Duration::from_secs(1);
