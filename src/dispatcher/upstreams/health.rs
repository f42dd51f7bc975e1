//! Whether one upstream may have requests.
//!
//! In: answers to probes, how requests went, the time. Out: its condition, and how much of its weight counts. Never:
//! looks at a clock, or keeps more than is needed to decide.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::front::{Balance, Passive};

/// How an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It has requests.
    Up,
    /// It was out, and has one request at a time until one has gone well.
    Trying,
    /// It has failed too many requests, and is left alone until then.
    Out(Instant),
    /// It does not answer probes as it should.
    Down,
}

/// What a probe has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Up,
    Down,
}

/// What is known of one upstream.
#[derive(Debug)]
pub(super) struct Health {
    rules: Rules,
    probes: Probes,
    /// When the failures of late were, as many as matter.
    failures: VecDeque<Instant>,
    circuit: Circuit,
    /// Since when it has requests again. `None`: it always had.
    back: Option<Instant>,
    /// How long it was out last.
    was_out: Duration,
}

/// What holds for all upstreams of an application.
#[derive(Clone, Debug)]
struct Rules {
    is_probed: bool,
    healthy: u32,
    unhealthy: u32,
    passive: Option<Passive>,
    slow_start: Option<Duration>,
}

/// What came of probes.
#[derive(Debug)]
enum Probes {
    /// Nothing yet. It counts as well until somebody knows better.
    Unasked,
    /// So many bad answers since the last good one.
    Well(u32),
    /// So many good answers since the last bad one.
    Unwell(u32),
}

#[derive(Debug)]
enum Circuit {
    Closed,
    /// Until then; afterwards one request at a time may try, and this one does.
    Open {
        until: Instant,
        trial: Option<Trial>,
    },
}

/// The one request that finds out whether an upstream has recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trial(pub(super) u64);

impl Health {
    pub(super) fn new(balance: &Balance) -> Self {
        let (healthy, unhealthy) =
            balance.probe.as_ref().map_or((1, 1), |probe| (probe.healthy, probe.unhealthy));
        let Balance { passive, slow_start, .. } = balance.clone();
        Self {
            rules: Rules { is_probed: balance.probe.is_some(), healthy, unhealthy, passive, slow_start },
            probes: Probes::Unasked,
            failures: VecDeque::new(),
            circuit: Circuit::Closed,
            back: None,
            was_out: Duration::ZERO,
        }
    }

    pub(super) fn condition(&self, now: Instant) -> Condition {
        match (&self.probes, &self.circuit) {
            (Probes::Unwell(_), _) => Condition::Down,
            (_, Circuit::Closed) => Condition::Up,
            (_, Circuit::Open { until, .. }) if now < *until => Condition::Out(*until),
            (_, Circuit::Open { .. }) => Condition::Trying,
        }
    }

    /// Whether it may have another request.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        match self.condition(now) {
            Condition::Up => true,
            Condition::Trying => matches!(self.circuit, Circuit::Open { trial: None, .. }),
            Condition::Out(_) | Condition::Down => false,
        }
    }

    /// How much of its weight counts, in thousandths.
    pub(super) fn share(&self, now: Instant) -> u32 {
        if self.condition(now) != Condition::Up {
            return LEAST_SHARE;
        }
        let (Some(whole), Some(back)) = (self.rules.slow_start, self.back) else { return WHOLE };
        let since = now.saturating_duration_since(back);
        if since >= whole {
            return WHOLE;
        }
        let share = since.as_micros() * u128::from(WHOLE) / whole.as_micros().max(1);
        u32::try_from(share).unwrap_or(WHOLE).clamp(LEAST_SHARE, WHOLE)
    }

    /// It gets a request. `trial` is what that is called, should it be the one to find out.
    pub(super) fn begin(&mut self, now: Instant, trial: Trial) -> Option<Trial> {
        match &mut self.circuit {
            Circuit::Open { until, trial: place } if now >= *until => {
                *place = Some(trial);
                Some(trial)
            }
            _ => None,
        }
    }

    /// A request is over, however it went.
    pub(super) fn end(&mut self, ended: Trial) {
        if let Circuit::Open { trial, .. } = &mut self.circuit
            && *trial == Some(ended)
        {
            *trial = None;
        }
    }

    /// A request has gone well. Whether that brings it back.
    pub(super) fn succeeded(&mut self, now: Instant, trial: Option<Trial>) -> bool {
        // Others may have begun before it failed.
        if trial.is_none() || !self.is_tried_by(trial) {
            return false;
        }
        self.circuit = Circuit::Closed;
        self.failures.clear();
        self.back = Some(now);
        true
    }

    /// A request has failed. For how long it is out now because of that.
    pub(super) fn failed(&mut self, now: Instant, trial: Option<Trial>) -> Option<Duration> {
        let passive = self.rules.passive.as_ref()?;
        match self.circuit {
            Circuit::Open { .. } if !self.is_tried_by(trial) => return None,
            Circuit::Open { .. } => {}
            Circuit::Closed => {
                let recent = |at: &Instant| now.saturating_duration_since(*at) < passive.window;
                self.failures.retain(recent);
                self.failures.push_back(now);
                if self.failures.len() < passive.max_fails as usize {
                    return None;
                }
            }
        }
        let out = self.next_out(passive, now);
        self.failures.clear();
        // Who asks for a time that is beyond all times has it out for as long as there is one.
        let until = now.checked_add(out).unwrap_or_else(|| now + FOR_GOOD);
        self.circuit = Circuit::Open { until, trial: None };
        self.was_out = out;
        Some(out)
    }

    /// Somebody else has found out that it is out for so long, or down. Without effect, if something is known already, or
    /// nobody would ever find out that it is well again.
    pub(super) fn leave_alone(&mut self, out: Option<Duration>, now: Instant) {
        let is_news = matches!((&self.probes, &self.circuit), (Probes::Unasked, Circuit::Closed));
        match (out, &self.rules.passive) {
            _ if !is_news || !self.failures.is_empty() => {}
            (None, _) if self.rules.is_probed => self.probes = Probes::Unwell(0),
            (Some(left), Some(passive)) => {
                let left = left.min(passive.longest_out.max(passive.out));
                self.circuit = Circuit::Open { until: now.checked_add(left).unwrap_or(now), trial: None };
                self.was_out = passive.out;
            }
            _ => {}
        }
    }

    /// A probe was answered well, or not. The first one decides by itself.
    pub(super) fn probed(&mut self, is_well: bool, now: Instant) -> Option<Change> {
        let (healthy, unhealthy) = (self.rules.healthy, self.rules.unhealthy);
        match (&mut self.probes, is_well) {
            (probes @ Probes::Unasked, true) => *probes = Probes::Well(0),
            (probes @ Probes::Unasked, false) => {
                *probes = Probes::Unwell(0);
                return Some(Change::Down);
            }
            (Probes::Well(bad), true) => *bad = 0,
            (Probes::Unwell(good), false) => *good = 0,
            (Probes::Well(bad), false) => {
                *bad += 1;
                if *bad >= unhealthy {
                    self.probes = Probes::Unwell(0);
                    return Some(Change::Down);
                }
            }
            (Probes::Unwell(good), true) => {
                *good += 1;
                if *good >= healthy {
                    self.probes = Probes::Well(0);
                    self.back = Some(now);
                    return Some(Change::Up);
                }
            }
        }
        None
    }

    fn is_tried_by(&self, trial: Option<Trial>) -> bool {
        matches!(self.circuit, Circuit::Open { trial: current, .. } if trial.is_some() && current == trial)
    }

    /// Twice as long as last time, unless it was well for longer than that in between.
    fn next_out(&self, passive: &Passive, now: Instant) -> Duration {
        let was_well = match self.circuit {
            Circuit::Open { .. } => false,
            Circuit::Closed => {
                self.back.is_none_or(|back| now.saturating_duration_since(back) > self.was_out)
            }
        };
        let next = if was_well { passive.out } else { self.was_out.saturating_mul(2).max(passive.out) };
        next.min(passive.longest_out.max(passive.out))
    }
}

/// Longer than any worker runs.
const FOR_GOOD: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

const WHOLE: u32 = 1000;

/// With nothing at all it would never be found out how it is.
const LEAST_SHARE: u32 = 100;
