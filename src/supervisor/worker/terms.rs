//! What a worker is and what it is started for.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::super::life::Why;

/// A worker, counted from the first that this supervisor started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is to be served, counted from the first edition that this supervisor had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Edition(pub u64);

/// What holds for the workers of one edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long one may take until all that is preloaded has started.
    pub start_limit: Duration,
    /// How long one that serves may take to change to this edition.
    pub change_limit: Duration,
    /// How long one may take to end.
    pub stop_limit: Duration,
    /// Whether another one waits for the crash of the one that serves.
    pub standby: Standby,
}

/// Whether another worker waits for the crash of the one that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standby {
    /// It does: a crash costs no start.
    Kept,
    /// The next one is started when it is needed.
    None,
}

/// What a worker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// All applications.
    Everything,
    /// Only those that run in processes of their own: one of the others has crashed too many workers.
    Safe {
        /// Why not all.
        why: Why,
        /// After which time a worker for everything will be tried again.
        retry_after: Duration,
    },
}

/// What of the applications to preload is started before the worker counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preload {
    /// All of them.
    All,
    /// Those in process: the worker may wait for long, and processes that nobody needs cost memory.
    InProcess,
}

/// What became of the applications to preload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preloaded {
    /// They run.
    Running,
    /// At least one of them does not.
    Failed,
}
