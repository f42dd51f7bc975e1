//! How patient one is with what fails: the pause after a failed start, and the end of all tries after too many.
//!
//! In: failures, and the time. Out: until when to wait, and why. Never: waits, or looks at a clock.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

#[cfg(feature = "out-of-process")]
use super::wire;

/// How patient one is with an application that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// With more failures than this within a minute, the application is left alone until they are a minute old.
    pub rapid_fails_per_minute: u32,
    /// How long after a failed start the next one waits; doubled with each further failure.
    pub backoff_initial: Duration,
    /// How long it waits at most.
    pub backoff_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rapid_fails_per_minute: 10,
            backoff_initial: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }
}

/// Why an application is not started now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The last start failed, and it is too early for the next.
    BackingOff,
    /// It failed too often within a minute.
    FailFast,
}

/// Counts failures, as far as the policy needs them.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "out-of-process", derive(Serialize, Deserialize))]
pub(super) struct Patience {
    policy: Policy,
    /// When it failed, oldest first.
    #[cfg_attr(feature = "out-of-process", serde(with = "wire::moments"))]
    failures: VecDeque<Instant>,
    /// Failed starts in a row.
    streak: u32,
    /// After a failed start: no other before.
    #[cfg_attr(feature = "out-of-process", serde(with = "wire::moment_if_any"))]
    not_before: Option<Instant>,
}

impl Patience {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, failures: VecDeque::new(), streak: 0, not_before: None }
    }

    /// A start succeeded: the next one need not wait.
    pub(super) fn started(&mut self) {
        self.streak = 0;
        self.not_before = None;
    }

    /// A start failed: the next one waits, the longer the more failed in a row.
    pub(super) fn start_failed(&mut self, now: Instant) {
        self.note(now);
        self.streak = self.streak.saturating_add(1);
        self.not_before = now.checked_add(self.backoff());
    }

    /// What had started ended by itself: that counts, and the next start need not wait.
    pub(super) fn crashed(&mut self, now: Instant) {
        self.note(now);
    }

    /// The past does not count any more.
    pub(super) fn forget(&mut self) {
        self.failures.clear();
        self.started();
    }

    /// How often it failed within the last minute, as far as the policy counts.
    pub(super) fn failures(&self, now: Instant) -> usize {
        self.failures.iter().filter(|failure| recent(**failure, now)).count()
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.failures.len()
    }

    /// Until when it may not be started, and why. At that very time it may.
    pub(super) fn refused(&self, now: Instant) -> Option<(Instant, Why)> {
        let backoff = self.not_before.filter(|time| *time > now);
        let pause = self.pause(now);
        match (pause, backoff) {
            (Some(pause), backoff) => Some((backoff.map_or(pause, |time| time.max(pause)), Why::FailFast)),
            (None, Some(time)) => Some((time, Why::BackingOff)),
            (None, None) => None,
        }
    }

    /// When there will be no more failures within a minute than allowed, if there are now.
    fn pause(&self, now: Instant) -> Option<Instant> {
        let allowed = usize::try_from(self.policy.rapid_fails_per_minute).unwrap_or(usize::MAX);
        let excess = self.failures.len().checked_sub(allowed)?.checked_sub(1)?;
        let until = *self.failures.get(excess)? + WINDOW;
        (until > now).then_some(until)
    }

    fn note(&mut self, now: Instant) {
        while self.failures.front().is_some_and(|oldest| !recent(*oldest, now)) {
            self.failures.pop_front();
        }
        // A clock that callers read on several threads may step back a little; the order has to hold.
        let now = self.failures.back().map_or(now, |last| now.max(*last));
        self.failures.push_back(now);
        let enough =
            usize::try_from(self.policy.rapid_fails_per_minute).unwrap_or(usize::MAX).saturating_add(1);
        if self.failures.len() > enough {
            self.failures.pop_front();
        }
    }

    fn backoff(&self) -> Duration {
        let doublings = self.streak.saturating_sub(1).min(31);
        self.policy.backoff_initial.saturating_mul(1 << doublings).min(self.policy.backoff_max)
    }
}

fn recent(failure: Instant, now: Instant) -> bool {
    now < failure + WINDOW
}

const WINDOW: Duration = Duration::from_secs(60);
