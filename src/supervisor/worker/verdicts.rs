//! What becomes of applications that end workers: nothing, a pause, or a process of their own.
//!
//! In: who ended a worker, and the time. Out: a [`Verdict`], and who is to be refused for how long. Never: looks at a
//! clock, or at an application that did nothing: whatever one does, the others are served.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::super::{
    life::{Policy, Why},
    patience::Patience,
};

/// What is known of applications that have ended workers.
#[derive(Debug, Default)]
pub struct Verdicts {
    applications: BTreeMap<String, Record>,
}

#[derive(Debug)]
struct Record {
    patience: Patience,
    /// When it ended a worker, oldest first, as far as that counts for a demotion.
    ends: VecDeque<Instant>,
    /// What it did the last time.
    last: String,
}

/// How patient one is with an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// Until it is left alone for a while.
    pub policy: Policy,
    /// After how many ends of workers within a minute it gets a process of its own; `None` for one that has its place.
    pub demote_after: Option<NonZeroU32>,
}

/// When an application ended a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// While it, or the worker, started: it would do so again at once.
    Starting,
    /// Later.
    Running,
}

/// What becomes of an application that has ended a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, in the next worker.
    GoesOn,
    /// It is refused, there and in all others, until then.
    Refused(Instant, Why),
    /// It is to run in a process of its own. What it did until now does not count there.
    Demoted,
}

/// An application that no worker is to start now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub application: String,
    /// Until when.
    pub until: Instant,
    /// Why.
    pub why: Why,
    /// What it did the last time.
    pub last: String,
}

impl Verdicts {
    /// An application has ended a worker; `what` says how.
    pub fn ended(
        &mut self,
        now: Instant,
        application: &str,
        stage: Stage,
        leniency: Leniency,
        what: String,
    ) -> Verdict {
        let Record { patience, ends, last } =
            self.applications.entry(application.to_owned()).or_insert_with(|| Record {
                patience: Patience::new(leniency.policy),
                ends: VecDeque::new(),
                last: String::new(),
            });
        *last = what;
        ends.push_back(now);
        ends.retain(|end| now.saturating_duration_since(*end) < MINUTE);
        if leniency.demote_after.is_some_and(|enough| ends.len() >= enough.get() as usize) {
            self.applications.remove(application);
            return Verdict::Demoted;
        }
        match stage {
            Stage::Starting => patience.start_failed(now),
            Stage::Running => {
                // So it has started.
                patience.started();
                patience.crashed(now);
            }
        }
        // More than this is never needed to count.
        ends.truncate(MOST_ENDS);
        match patience.refused(now) {
            Some((until, why)) => Verdict::Refused(until, why),
            None => Verdict::GoesOn,
        }
    }

    /// Whom a worker that is started now has to refuse.
    pub fn refused(&self, now: Instant) -> impl Iterator<Item = Refused> {
        self.applications.iter().filter_map(move |(application, record)| {
            let (until, why) = record.patience.refused(now)?;
            let (application, last) = (application.clone(), record.last.clone());
            Some(Refused { application, until, why, last })
        })
    }

    /// The past does not count any more: there is a new configuration, or an operator says so.
    pub fn forget(&mut self) {
        self.applications.clear();
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const MOST_ENDS: usize = 10_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leniency(rapid: u32, demote_after: u32) -> Leniency {
        let policy = Policy { rapid_fails_per_minute: rapid, ..Policy::default() };
        Leniency { policy, demote_after: NonZeroU32::new(demote_after) }
    }

    fn ended(verdicts: &mut Verdicts, now: Instant, stage: Stage, leniency: Leniency) -> Verdict {
        verdicts.ended(now, "a", stage, leniency, "SIGSEGV at GET /".to_owned())
    }

    #[test]
    fn too_many_ends_within_a_minute_pause_it_and_nobody_else() {
        let (mut verdicts, now) = (Verdicts::default(), Instant::now());
        for _ in 0..2 {
            assert_eq!(ended(&mut verdicts, now, Stage::Running, leniency(2, 0)), Verdict::GoesOn);
        }
        let verdict = ended(&mut verdicts, now, Stage::Running, leniency(2, 0));
        assert_eq!(verdict, Verdict::Refused(now + MINUTE, Why::FailFast));
        let refused: Vec<_> = verdicts.refused(now).collect();
        assert_eq!(
            (refused.len(), &*refused[0].application, &*refused[0].last),
            (1, "a", "SIGSEGV at GET /")
        );
        assert_eq!(verdicts.refused(now + MINUTE).count(), 0);
    }

    #[test]
    fn one_that_ends_workers_when_it_starts_waits_longer_each_time() {
        let (mut verdicts, now) = (Verdicts::default(), Instant::now());
        for seconds in [1, 2, 4] {
            let verdict = ended(&mut verdicts, now, Stage::Starting, leniency(10, 0));
            assert_eq!(verdict, Verdict::Refused(now + Duration::from_secs(seconds), Why::BackingOff));
        }
        // Once it has started, that is over.
        assert_eq!(ended(&mut verdicts, now, Stage::Running, leniency(10, 0)), Verdict::GoesOn);
    }

    #[test]
    fn one_that_may_be_demoted_is_after_enough_ends_within_a_minute() {
        let (mut verdicts, now) = (Verdicts::default(), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        for (seconds, verdict) in
            [(0, Verdict::GoesOn), (30, Verdict::GoesOn), (70, Verdict::GoesOn), (80, Verdict::Demoted)]
        {
            assert_eq!(ended(&mut verdicts, later(seconds), Stage::Running, leniency(10, 3)), verdict);
        }
        assert_eq!(verdicts.refused(later(80)).count(), 0);
    }

    #[test]
    fn a_new_configuration_forgives() {
        let (mut verdicts, now) = (Verdicts::default(), Instant::now());
        ended(&mut verdicts, now, Stage::Starting, leniency(10, 0));
        verdicts.forget();
        assert_eq!(verdicts.refused(now).count(), 0);
    }

    proptest! {
        // Names are of three applications, one of which does nothing.
        #[test]
        fn every_pause_ends_is_told_and_hits_only_who_earned_it(
            events in proptest::collection::vec((0_usize..2, any::<bool>(), 0_u64..30_000), 1..100),
            rapid in 1_u32..5,
            demote_after in 0_u32..5,
        ) {
            let (mut verdicts, mut now) = (Verdicts::default(), Instant::now());
            for (application, starting, pause) in events {
                now += Duration::from_millis(pause);
                let name = ["a", "b"][application];
                let stage = if starting { Stage::Starting } else { Stage::Running };
                let verdict = verdicts.ended(now, name, stage, leniency(rapid, demote_after), String::new());
                let refused: Vec<_> = verdicts.refused(now).collect();
                prop_assert!(refused.iter().all(|refused| refused.application != "c"));
                let own = refused.iter().find(|refused| refused.application == name);
                match verdict {
                    Verdict::Refused(until, why) => {
                        prop_assert!(until > now && until <= now + MINUTE);
                        prop_assert_eq!(own.map(|own| (own.until, own.why)), Some((until, why)));
                        prop_assert!(verdicts.refused(until).all(|refused| refused.application != name));
                    }
                    Verdict::GoesOn | Verdict::Demoted => prop_assert_eq!(own, None),
                }
                prop_assert!(verdict != Verdict::Demoted || demote_after > 0);
                prop_assert!(stage == Stage::Running || verdict != Verdict::GoesOn, "it would end the next one too");
            }
        }
    }
}
