//! What host and guard say to each other: lines of text.
//!
//! The host begins with a [`Description`] in JSON, which carries any bytes; then come [`Order`]s. The guard answers
//! with [`Report`]s. Both ends are the same executable, so there is no version to agree on.

use std::{ffi::OsString, fmt, io, os::unix::process::ExitStatusExt, process::ExitStatus, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::sys::confine::Confined;

/// What the guard has to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// The executable's path, absolute: nothing is searched for any more.
    pub(crate) program: OsString,
    /// All arguments, beginning with the name under which the program was asked for.
    pub(crate) arguments: Vec<OsString>,
    /// The whole environment; nothing is inherited.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The working directory.
    pub(crate) directory: OsString,
    /// What it may do and take.
    pub(crate) confined: Confined,
    /// The control group that it is to be in; removed at the very end.
    pub(crate) group: Option<OsString>,
    /// What to remove at the very end: the private directory with the sockets.
    pub(crate) remove: Option<OsString>,
}

/// What the host wants done with the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// SIGTERM to its group.
    Terminate,
    /// SIGABRT to its group, for a core file of a hanging one.
    Abort,
    /// SIGKILL to everything.
    Kill,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "terminate",
            Self::Abort => "abort",
            Self::Kill => "kill",
        })
    }
}

impl FromStr for Order {
    type Err = Unintelligible;

    fn from_str(line: &str) -> Result<Self, Unintelligible> {
        match line {
            "terminate" => Ok(Self::Terminate),
            "abort" => Ok(Self::Abort),
            "kill" => Ok(Self::Kill),
            _ => Err(Unintelligible),
        }
    }
}

/// What became of the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It runs, under this number.
    Started(u32),
    /// It could not be started: the system's error number, 0 if there is none, and its text.
    Failed(i32, String),
    /// It ended, and so did its descendants.
    Ended(Exit),
}

impl Report {
    /// That `error` came instead of a process.
    pub(super) fn failed(error: &io::Error) -> Self {
        Self::Failed(error.raw_os_error().unwrap_or(0), error.to_string())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(pid) => write!(f, "started {pid}"),
            Self::Failed(errno, text) => write!(f, "failed {errno} {}", text.replace(['\n', '\r'], " ")),
            Self::Ended(Exit::Code(code)) => write!(f, "exited {code}"),
            Self::Ended(Exit::Signal(signal)) => write!(f, "killed {signal}"),
            Self::Ended(Exit::OutOfMemory) => f.write_str("out-of-memory"),
            Self::Ended(Exit::Lost) => f.write_str("lost"),
        }
    }
}

impl FromStr for Report {
    type Err = Unintelligible;

    fn from_str(line: &str) -> Result<Self, Unintelligible> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "started" => Ok(Self::Started(number(rest)?)),
            "failed" => {
                let (errno, text) = rest.split_once(' ').ok_or(Unintelligible)?;
                Ok(Self::Failed(number(errno)?, text.to_owned()))
            }
            "exited" => Ok(Self::Ended(Exit::Code(number(rest)?))),
            "killed" => Ok(Self::Ended(Exit::Signal(number(rest)?))),
            "out-of-memory" => Ok(Self::Ended(Exit::OutOfMemory)),
            "lost" => Ok(Self::Ended(Exit::Lost)),
            _ => Err(Unintelligible),
        }
    }
}

fn number<N: FromStr>(text: &str) -> Result<N, Unintelligible> {
    text.parse().map_err(|_not_a_number| Unintelligible)
}

/// A line that is no message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message between host and guard")]
pub(crate) struct Unintelligible;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By the system, with SIGKILL, because it and what it started took more memory than `memory_max`.
    OutOfMemory,
    /// Nobody knows: it could not be ended, or its guard was killed, and it then by the host.
    Lost,
}

impl Exit {
    /// Whether it ended by itself and called that a success.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl From<rustix::process::WaitStatus> for Exit {
    fn from(status: rustix::process::WaitStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            // Stops are not asked for, so there is no third kind.
            (None, None) => Self::Lost,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            // Names the signal, too.
            Self::Signal(signal) => ExitStatus::from_raw(*signal).fmt(f),
            Self::OutOfMemory => f.write_str("SIGKILL by the system: it took more memory than memory_max"),
            Self::Lost => f.write_str("lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::*;

    fn exit() -> impl Strategy<Value = Exit> {
        prop_oneof![
            any::<i32>().prop_map(Exit::Code),
            any::<i32>().prop_map(Exit::Signal),
            Just(Exit::OutOfMemory),
            Just(Exit::Lost)
        ]
    }

    fn report() -> impl Strategy<Value = Report> {
        prop_oneof![
            any::<u32>().prop_map(Report::Started),
            (any::<i32>(), "[^\n\r]*").prop_map(|(errno, text)| Report::Failed(errno, text)),
            exit().prop_map(Report::Ended),
        ]
    }

    fn bytes() -> impl Strategy<Value = OsString> {
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(OsString::from_vec)
    }

    proptest! {
        #[test]
        fn a_report_is_one_line_and_comes_back_as_it_was(report in report()) {
            let line = report.to_string();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(line.parse::<Report>(), Ok(report));
        }

        #[test]
        fn any_line_is_understood_or_refused(line in ".*") {
            let _understood = (line.parse::<Report>(), line.parse::<Order>());
        }

        #[test]
        fn a_description_carries_any_bytes_in_one_line(
            program in bytes(),
            arguments in proptest::collection::vec(bytes(), 0..5),
            environment in proptest::collection::vec((bytes(), bytes()), 0..5),
        ) {
            let description = Description {
                program, arguments, environment, directory: OsString::from("/"), confined: Confined::default(),
                group: None, remove: None,
            };
            let line = serde_json::to_string(&description).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Description>(&line).unwrap(), description);
        }
    }

    #[test]
    fn orders_come_back_as_they_were() {
        for order in [Order::Terminate, Order::Abort, Order::Kill] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
    }

    #[test]
    fn a_failure_of_several_lines_stays_one_line() {
        let report = Report::Failed(2, "no\nsuch\r\nfile".to_owned());
        assert_eq!(report.to_string(), "failed 2 no such  file");
    }

    #[test]
    fn an_exit_names_its_signal() {
        assert!(Exit::Signal(11).to_string().contains("SIGSEGV"));
    }
}
