//! Why there is no instance.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use super::super::{Exit, runner};
use crate::failure::{Code, Failure};

/// An instance could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program, the library or the working directory is not there.
    #[error("{what} {} does not exist; correct the path or deploy the application", file.display())]
    FileMissing {
        /// Which file of the configuration it is.
        what: &'static str,
        /// The file, or the command that was searched for.
        file: PathBuf,
        /// The system's word on it.
        source: io::Error,
    },
    /// The system did not start the process.
    #[error("cannot start {}: {advice}", file.display())]
    SpawnFailed {
        /// What was to be started.
        file: PathBuf,
        /// What is wrong, and the fix.
        advice: &'static str,
        /// The system's word on it.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{command} ended with {exit} before it was ready{}; see its output", daemon_hint(*exit))]
    InstanceExited {
        /// What was started.
        command: String,
        /// How it ended.
        exit: Exit,
        /// Why, if it is a runner of ours: in its application's words.
        said: Option<Arc<str>>,
        /// The end of what it printed.
        output: Arc<str>,
    },
    /// It was not ready in time.
    #[error(
        "{command} was not ready within {limit:?}: {waited_for}; make its start quicker, or raise `startup_timeout`"
    )]
    StartTimeout {
        /// What was started.
        command: String,
        /// The limit.
        limit: Duration,
        /// What did not happen.
        waited_for: String,
        /// The end of what it printed.
        output: Arc<str>,
    },
    /// Nobody wanted it any more.
    #[error("the start of {command} was called off")]
    CalledOff {
        /// What was started.
        command: String,
    },
    /// Somebody else listens on the port.
    #[error("port {port} is not the instance's: {why}")]
    PortTaken {
        /// The port.
        port: u16,
        /// What was seen there, and the fix.
        why: &'static str,
        /// The end of what the instance printed.
        output: Arc<str>,
    },
}

impl StartError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::FileMissing { .. } => Code::FileMissing,
            Self::SpawnFailed { .. } => Code::SpawnFailed,
            Self::InstanceExited { .. } => Code::InstanceExited,
            Self::StartTimeout { .. } => Code::StartTimeout,
            Self::PortTaken { .. } => Code::PortTaken,
            Self::CalledOff { .. } => Code::Draining,
        }
    }

    /// The end of what the instance printed, if it got that far.
    #[must_use]
    pub fn output(&self) -> Option<&Arc<str>> {
        match self {
            Self::FileMissing { .. } | Self::SpawnFailed { .. } | Self::CalledOff { .. } => None,
            Self::InstanceExited { output, .. }
            | Self::StartTimeout { output, .. }
            | Self::PortTaken { output, .. } => Some(output),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        // A runner of ours says by its exit code what its application would have said in process.
        if let StartError::InstanceExited { exit: Exit::Code(exit), said: Some(said), output, .. } = &error
            && let Some(code) = runner::failure_of(*exit)
        {
            return Self { output: Some(Arc::clone(output)), ..Self::new(code).detail(&**said) };
        }
        let mut failure = Self::new(error.code()).detail(error.to_string());
        failure.output = error.output().cloned();
        failure.source(error)
    }
}

fn daemon_hint(exit: Exit) -> &'static str {
    if exit.success() { " (it has to stay in the foreground)" } else { "" }
}
