//! The clock of the contract: `CLOCK_MONOTONIC` in nanoseconds, which [`std::time::Instant`] keeps to itself.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long until `at`; zero when it is over.
pub(crate) fn until(at: u64) -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
    Duration::from_nanos(at).saturating_sub(now)
}
