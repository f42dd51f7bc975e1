//! What becomes of applications that end workers: nothing, a pause, or a process of their own.
//!
//! In: who ended a worker, what became of trials, and the time. Out: a [`Verdict`], who is to be refused for how long, and
//! who is to be tried when. Never: looks at a clock, or at an application that did nothing: whatever one does, the others
//! are served.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::super::{
    life::{Policy, Why},
    patience::Patience,
    wire,
};

/// What is known of applications that have ended workers. One program leaves it to the next; a trial that is under way
/// ends with the program, and is due again in the next one.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Verdicts {
    applications: BTreeMap<String, Record>,
    trials: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    patience: Patience,
    /// When it ended a worker, oldest first, as far as that counts for a demotion.
    #[serde(with = "wire::moments")]
    ends: VecDeque<Instant>,
    /// What it did the last time.
    last: String,
    retry: Retry,
}

/// What has to come before it gets a request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "bool", from = "bool")]
enum Retry {
    /// The end of the pause.
    Pause,
    /// That, and then a trial: it would end the next worker, too, and cost others their requests.
    Trial,
    /// The end of this trial.
    Trying(Trial),
    /// Another generation of it: it has just changed, and that is to be undone.
    Change,
}

impl From<Retry> for bool {
    fn from(retry: Retry) -> Self {
        retry != Retry::Pause
    }
}

impl From<bool> for Retry {
    fn from(held: bool) -> Self {
        if held { Self::Trial } else { Self::Pause }
    }
}

/// One start of an application outside of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial(u64);

/// How patient one is with an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// Until it is left alone for a while.
    pub policy: Policy,
    /// After how many ends of workers within a minute it gets a process of its own; `None` for one that has its place.
    pub demote_after: Option<NonZeroU32>,
    /// Whether it is tried outside of workers before it gets a request again, if it ended one when it started.
    pub trial: bool,
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
    /// What has to come before, however long that takes.
    pub held: Held,
}

/// What an application has to wait for besides a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    No,
    /// A trial that goes well.
    UntilTried,
    /// Another generation of it.
    UntilChanged,
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
        let Record { patience, ends, last, retry } =
            self.applications.entry(application.to_owned()).or_insert_with(|| Record {
                patience: Patience::new(leniency.policy),
                ends: VecDeque::new(),
                last: String::new(),
                retry: Retry::Pause,
            });
        *last = what;
        ends.push_back(now);
        ends.retain(|end| now.saturating_duration_since(*end) < MINUTE);
        if leniency.demote_after.is_some_and(|enough| ends.len() >= enough.get() as usize) {
            self.applications.remove(application);
            return Verdict::Demoted;
        }
        match stage {
            Stage::Starting => {
                patience.start_failed(now);
                *retry = if leniency.trial { Retry::Trial } else { Retry::Pause };
            }
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
            let held = match record.retry {
                Retry::Pause => Held::No,
                Retry::Trial | Retry::Trying(_) => Held::UntilTried,
                Retry::Change => Held::UntilChanged,
            };
            let pause = record.patience.refused(now);
            let (until, why) = pause.or_else(|| (held != Held::No).then_some((now, Why::BackingOff)))?;
            let (application, last) = (application.clone(), record.last.clone());
            Some(Refused { application, until, why, last, held })
        })
    }

    /// When the next application is to be tried.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let waiting = self.applications.values().filter(|record| record.retry == Retry::Trial);
        waiting.map(|record| record.patience.refused(now).map_or(now, |(until, _)| until)).min()
    }

    /// Whom to try now; each once, until it is said what became of it.
    pub fn to_try(&mut self, now: Instant) -> Vec<(String, Trial)> {
        let is_due = |record: &Record| record.retry == Retry::Trial && record.patience.refused(now).is_none();
        let due = self.applications.iter_mut().filter(|(_, record)| is_due(record));
        due.map(|(application, record)| {
            self.trials += 1;
            let trial = Trial(self.trials);
            record.retry = Retry::Trying(trial);
            (application.clone(), trial)
        })
        .collect()
    }

    /// What became of a trial; `None` if nobody waits for it any more.
    pub fn tried(
        &mut self,
        now: Instant,
        application: &str,
        trial: Trial,
        became: Result<(), String>,
    ) -> Option<Verdict> {
        let record = self.applications.get_mut(application)?;
        if record.retry != Retry::Trying(trial) {
            return None;
        }
        match became {
            // What it did counts on: it may yet end a worker in which it starts.
            Ok(()) => record.retry = Retry::Pause,
            Err(what) => {
                record.retry = Retry::Trial;
                record.last = what;
                record.patience.start_failed(now);
            }
        }
        Some(
            record.patience.refused(now).map_or(Verdict::GoesOn, |(until, why)| Verdict::Refused(until, why)),
        )
    }

    /// It has just changed, and is to become what it was: until then, it would end the next worker as it did this one.
    pub fn hold(&mut self, application: &str) {
        let record = self.applications.get_mut(application);
        if let Some(record) = record.filter(|record| record.retry == Retry::Pause) {
            record.retry = Retry::Change;
        }
    }

    /// It has become what it was, or will not. Whether somebody waited for that.
    pub fn let_go(&mut self, application: &str) -> bool {
        let record = self.applications.get_mut(application);
        let held = record.filter(|record| record.retry == Retry::Change);
        held.is_some_and(|record| {
            record.retry = Retry::Pause;
            true
        })
    }

    /// What this one did does not count any more: it is another one now, or a fresh one.
    pub fn forget(&mut self, application: &str) {
        self.applications.remove(application);
    }

    /// Everybody gets a new chance at once: an operator says so. Those that have to be tried, or to change, before are
    /// still held.
    pub fn forgive(&mut self) {
        self.applications.retain(|_, record| record.retry != Retry::Pause);
        self.applications.values_mut().for_each(|record| record.patience.forget());
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
        Leniency { policy, demote_after: NonZeroU32::new(demote_after), trial: false }
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
    fn who_has_changed_starts_anew_and_nobody_else() {
        let (mut verdicts, now) = (Verdicts::default(), Instant::now());
        ended(&mut verdicts, now, Stage::Starting, leniency(10, 0));
        verdicts.forget("b");
        assert_eq!(verdicts.refused(now).count(), 1);
        verdicts.forget("a");
        assert_eq!(verdicts.refused(now).count(), 0);
    }

    #[test]
    fn one_that_ended_a_worker_when_it_started_is_refused_until_a_trial_went_well() {
        let (mut verdicts, begin) = (Verdicts::default(), Instant::now());
        let leniency = Leniency { trial: true, ..leniency(10, 0) };
        ended(&mut verdicts, begin, Stage::Starting, leniency);
        let mut now = begin;
        for pause in [1, 2] {
            assert_eq!(verdicts.to_try(now), []);
            now += Duration::from_secs(pause);
            assert_eq!(verdicts.due(begin), Some(now));
            let tried = verdicts.to_try(now);
            assert_eq!((&*tried[0].0, tried.len()), ("a", 1));
            assert_eq!((verdicts.to_try(now), verdicts.due(now)), (Vec::new(), None), "one trial at a time");
            assert!(
                verdicts.refused(now).all(|refused| refused.held == Held::UntilTried)
                    && verdicts.refused(now).count() == 1
            );
            let verdict = verdicts.tried(now, "a", tried[0].1, Err("SIGSEGV".to_owned()));
            let until = now + Duration::from_secs(2 * pause);
            assert_eq!(verdict, Some(Verdict::Refused(until, Why::BackingOff)));
        }
        now += Duration::from_secs(4);
        let (_, trial) = verdicts.to_try(now).remove(0);
        assert_eq!(verdicts.tried(now, "a", trial, Ok(())), Some(Verdict::GoesOn));
        assert_eq!((verdicts.refused(now).count(), verdicts.due(now)), (0, None));
        // It does it only in workers: the next pause is the longer for what was before.
        let verdict = ended(&mut verdicts, now, Stage::Starting, leniency);
        assert_eq!(verdict, Verdict::Refused(now + Duration::from_secs(8), Why::BackingOff));
    }

    #[test]
    fn the_next_program_goes_on_with_what_counts_and_tries_again_what_was_being_tried() {
        let (mut verdicts, now) = (Verdicts::default(), Instant::now());
        let tried = Leniency { trial: true, ..leniency(10, 0) };
        ended(&mut verdicts, now, Stage::Starting, tried);
        let later = now + Duration::from_secs(1);
        assert_eq!(verdicts.to_try(later).len(), 1);
        verdicts.ended(later, "b", Stage::Running, leniency(1, 0), String::new());
        verdicts.ended(later, "c", Stage::Starting, leniency(10, 0), "why".to_owned());

        let text = serde_json::to_string(&verdicts).unwrap();
        let mut next: Verdicts = serde_json::from_str(&text).unwrap();
        let refused: Vec<_> = next.refused(later).map(|it| (it.application, it.last, it.held)).collect();
        let was: Vec<_> = verdicts.refused(later).map(|it| (it.application, it.last, it.held)).collect();
        assert_eq!((&refused, refused.len()), (&was, 2));
        // When that is, the clock's own reading may say a little differently.
        let (until, differs) = (next.refused(later).last().unwrap().until, Duration::from_millis(100));
        assert!(
            until > later + Duration::from_secs(1) - differs
                && until < later + Duration::from_secs(1) + differs
        );
        assert_eq!(next.to_try(later + differs).len(), 1);
        let again = next.ended(later, "b", Stage::Running, leniency(1, 0), String::new());
        assert!(matches!(again, Verdict::Refused(_, Why::FailFast)), "{again:?}");
    }

    #[test]
    fn a_trial_that_came_too_late_says_nothing() {
        let (mut verdicts, now) = (Verdicts::default(), Instant::now());
        let leniency = Leniency { trial: true, ..leniency(10, 0) };
        ended(&mut verdicts, now, Stage::Starting, leniency);
        // Whoever asks for it gets the next trial at once.
        verdicts.forgive();
        let (_, trial) = verdicts.to_try(now).remove(0);
        verdicts.forget("a");
        assert_eq!(verdicts.tried(now, "a", trial, Ok(())), None);
        ended(&mut verdicts, now, Stage::Starting, leniency);
        assert_eq!(verdicts.tried(now, "a", trial, Ok(())), None);
        assert_eq!(verdicts.refused(now).count(), 1);
    }

    #[test]
    fn what_is_to_become_what_it_was_is_held_until_then_and_nobody_tries_it() {
        let (mut verdicts, now) = (Verdicts::default(), Instant::now());
        verdicts.hold("a");
        assert_eq!(verdicts.refused(now).count(), 0, "it did nothing");
        ended(&mut verdicts, now, Stage::Running, leniency(10, 0));
        verdicts.hold("a");
        let later = now + 2 * MINUTE;
        let held: Vec<_> = verdicts.refused(later).map(|refused| (refused.until, refused.held)).collect();
        assert_eq!(held, [(later, Held::UntilChanged)]);
        assert_eq!((verdicts.due(later), verdicts.to_try(later)), (None, Vec::new()));
        verdicts.forgive();
        assert_eq!(verdicts.refused(later).count(), 1);
        assert_eq!((verdicts.let_go("a"), verdicts.let_go("a")), (true, false));
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
