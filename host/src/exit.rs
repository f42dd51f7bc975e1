//! How the program can end.

use std::{fmt, process::ExitCode};

/// How the program ended. The numbers are stable; scripts and service units depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Did what was asked for; after `run`, every request in flight was finished.
    Success = 0,
    /// Something failed that no other code is for.
    Failed = 1,
    /// The arguments make no sense. Also what `clap` ends with.
    Usage = 2,
    /// The configuration has faults; all of them were reported.
    Configuration = 3,
    /// The application could not be built; the compiler has said why.
    Build = 4,
    /// Stopped, but requests in flight had to be cut off, or an instance to be killed.
    Forced = 5,
    /// No host runs in the runtime directory.
    NoHost = 6,
}

impl Exit {
    pub(crate) const ALL: [Self; 7] = [
        Self::Success,
        Self::Failed,
        Self::Usage,
        Self::Configuration,
        Self::Build,
        Self::Forced,
        Self::NoHost,
    ];

    /// What it means, for the help page.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "done; after run: stopped, with every request finished",
            Self::Failed => "failed",
            Self::Usage => "the arguments make no sense",
            Self::Configuration => "the configuration has faults, all of which were reported",
            Self::Build => "the application could not be built",
            Self::Forced => "stopped, but requests had to be cut off or a process to be killed",
            Self::NoHost => "no host runs in the runtime directory",
        }
    }

    /// Refuses to go on, with a message that names the thing and the fix.
    pub(crate) fn because(self, message: impl Into<String>) -> Refused {
        Refused { exit: self, message: message.into() }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the program ends before its work is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exit {
            // Faults begin with their place, where editors look for it.
            Exit::Configuration => f.write_str(&self.message),
            _ => write!(f, "cohost: {}", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_from_zero_without_gaps() {
        for (number, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(exit as usize, number);
        }
    }
}
