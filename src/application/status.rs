//! What an application tells of itself.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use crate::{HostingModel, failure::Code};

/// How an application is at this moment. What it says may be another a moment later.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Where its code runs.
    pub hosting_model: HostingModel,
    /// What requests find.
    pub state: State,
    /// Which loaded copy of its library it is, counted in this process; none out of process.
    pub generation: Option<u32>,
    /// Its own process; none in process.
    pub pid: Option<u32>,
    /// Requests that it has, until their answers have ended.
    pub in_flight: usize,
    /// Requests that came so far.
    pub requests: u64,
    /// Requests that wait for its start.
    pub waiting: usize,
    /// The last time that it did not start, or ended unasked.
    pub failed: Option<Failed>,
}

/// What requests find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Nothing runs; the next request starts it.
    Idle,
    /// It is being started; requests wait.
    Starting,
    /// It serves.
    Running,
    /// It failed, and is not tried again before this time.
    Failed {
        /// When.
        retry_at: SystemTime,
    },
    /// It was ended, and stays so.
    Stopped,
}

/// Why an application did not start, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failed {
    /// The failure's code.
    pub code: Code,
    /// What happened, for the operator.
    pub detail: String,
    /// When.
    pub at: SystemTime,
}

/// The time of day that an instant is at.
pub(super) fn time_of_day(instant: Instant) -> SystemTime {
    let (now, today) = (Instant::now(), SystemTime::now());
    match instant.checked_duration_since(now) {
        Some(ahead) => today.checked_add(ahead),
        None => today.checked_sub(now.duration_since(instant)),
    }
    .unwrap_or(today)
}
