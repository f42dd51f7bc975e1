//! The program's own log: to stderr, so that stdout stays for what was asked for.

use std::{fs::File, io::IsTerminal as _, os::fd::OwnedFd, sync::Arc};

use cohost::config::{Log, LogFormat};
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt::writer::BoxMakeWriter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::exit::{Exit, Refused};

/// Starts logging as `log` says. To be called once.
pub(crate) fn start(log: &Log) -> Result<(), Refused> {
    start_on(log, None)
}

/// The same, for a worker, whose standard error is not what the program's was.
pub(crate) fn start_on(log: &Log, descriptor: Option<OwnedFd>) -> Result<(), Refused> {
    let filter: Targets = log
        .level
        .parse()
        .map_err(|error| Exit::Usage.because(format!("not a level of the log: {:?}: {error}", log.level)))?;
    let (is_terminal, writer) = match descriptor.map(File::from) {
        Some(file) => (file.is_terminal(), BoxMakeWriter::new(Arc::new(file))),
        None => (std::io::stderr().is_terminal(), BoxMakeWriter::new(std::io::stderr)),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Human => lines.with_ansi(is_terminal && wants_colour()).boxed(),
        _ if is_terminal => lines.with_ansi(wants_colour()).boxed(),
        _ => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|error| Exit::Failed.because(format!("cannot start the log: {error}")))
}

/// The custom of <https://no-color.org>.
pub(crate) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
