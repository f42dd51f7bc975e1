//! When an application is replaced by a fresh one although nothing is wrong: its age, the time of day, what it has served
//! and what it holds.
//!
//! In: the limits, readings, and the time, by the clock that never jumps and by the one on the wall. Out: that it is due,
//! and why, once. Never: measures, replaces, or looks at a clock.

use std::{
    fmt,
    time::{Duration, Instant},
};

use jiff::civil::{Date, DateTime, time};

use crate::options::{Recycle, TimeOfDay};

/// One application, or the worker, as far as this is about it.
#[derive(Debug)]
pub struct Recycling {
    limits: Recycle,
    state: State,
    /// Until when the times of day have been looked at.
    looked: DateTime,
    /// When each of the times of day was last due.
    due: Vec<Option<Instant>>,
}

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the clock that never jumps.
    pub instant: Instant,
    /// By the one on the wall, where this system is.
    pub local: DateTime,
}

/// What is known of it at a moment; `None` for what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Requests that it has had.
    pub requests: Option<u64>,
    /// Bytes of memory that it has.
    pub memory: Option<u64>,
}

/// Why it is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has run for so long.
    Age(Duration),
    /// It is that late.
    Schedule(TimeOfDay),
    /// It has had so many requests.
    Requests(u64),
    /// It has so many bytes.
    Memory(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running {
        since: Instant,
    },
    /// Somebody was told that it is due.
    Told,
    /// It could not be replaced.
    Refused {
        until: Instant,
    },
}

impl Recycling {
    /// Begins to count.
    #[must_use]
    pub fn new(limits: Recycle, now: Moment) -> Self {
        let due = limits.schedule.iter().map(|_| None).collect();
        Self { limits, state: State::Running { since: now.instant }, looked: now.local, due }
    }

    /// A fresh one runs.
    pub fn begun(&mut self, now: Moment) {
        self.state = State::Running { since: now.instant };
    }

    /// It could not be replaced: the old one goes on. It is not tried again for a while.
    pub fn refused(&mut self, now: Moment) {
        if self.state == State::Told {
            self.state = State::Refused { until: now.instant + PAUSE };
        }
    }

    /// Why it is due, if it is. Then not again before [`begun`](Self::begun) or some time after
    /// [`refused`](Self::refused).
    pub fn look(&mut self, now: Moment, reading: Reading) -> Option<Reason> {
        // Whether or not it counts: what has passed has passed.
        let passed = self.passed(now);
        let age = match self.state {
            State::Running { since } => now.instant.saturating_duration_since(since),
            State::Told => return None,
            State::Refused { until } if now.instant < until => return None,
            State::Refused { .. } => Duration::ZERO,
        };
        if let State::Refused { .. } = self.state {
            self.state = State::Running { since: now.instant };
        }
        let over = |limit: Option<u64>, reading: Option<u64>| {
            reading.filter(|it| limit.is_some_and(|limit| *it >= limit))
        };
        let reason = passed
            .map(Reason::Schedule)
            .or_else(|| self.limits.age.filter(|limit| age >= *limit).map(|_| Reason::Age(age)))
            .or_else(|| over(self.limits.requests, reading.requests).map(Reason::Requests))
            .or_else(|| over(self.limits.memory, reading.memory).map(Reason::Memory));
        if reason.is_some() {
            self.state = State::Told;
        }
        reason
    }

    /// How long nothing is due by time alone.
    #[must_use]
    pub fn rest(&self, now: Moment) -> Option<Duration> {
        let until = match (self.state, self.limits.age) {
            (State::Running { since }, Some(age)) => since.checked_add(age),
            (State::Refused { until }, _) => Some(until),
            _ => None,
        };
        let schedule = self.limits.schedule.iter().map(|time| until_next(now.local, *time).min(LONGEST_REST));
        until.map(|until| until.saturating_duration_since(now.instant)).into_iter().chain(schedule).min()
    }

    /// A time of day that has come since the last look.
    ///
    /// One that the clock jumps over counts, and one that it comes by twice, as in autumn, counts once.
    fn passed(&mut self, now: Moment) -> Option<TimeOfDay> {
        let mut passed = None;
        for (time, due) in self.limits.schedule.iter().zip(&mut self.due) {
            let again = due.is_some_and(|due| now.instant.saturating_duration_since(due) < LEAST_BETWEEN);
            if lies_between(self.looked, *time, now.local) && !again {
                *due = Some(now.instant);
                passed = passed.or(Some(*time));
            }
        }
        self.looked = now.local;
        passed
    }
}

/// Whether it was `time` on some day after `from`, up to `to`.
fn lies_between(from: DateTime, time: TimeOfDay, to: DateTime) -> bool {
    let today = on(to.date(), time);
    let last = if today <= to { Some(today) } else { to.date().yesterday().ok().map(|day| on(day, time)) };
    last.is_some_and(|last| from < last && last <= to)
}

fn on(day: Date, at: TimeOfDay) -> DateTime {
    // Both are far below what the type holds.
    day.to_datetime(time(at.hour().cast_signed(), at.minute().cast_signed(), 0, 0))
}

fn until_next(now: DateTime, time: TimeOfDay) -> Duration {
    let today = on(now.date(), time);
    let next = if today > now { Some(today) } else { now.date().tomorrow().ok().map(|day| on(day, time)) };
    let left = next.map(|next| next.duration_since(now));
    left.and_then(|left| left.try_into().ok()).unwrap_or(LONGEST_REST)
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age(age) => write!(f, "it has run for {} s", age.as_secs()),
            Self::Schedule(time) => write!(f, "it is {time}"),
            Self::Requests(count) => write!(f, "it has had {count} requests"),
            Self::Memory(bytes) => write!(f, "it has {} MB of memory", bytes / 1_000_000),
        }
    }
}

/// How long it is left alone after it could not be replaced. Long enough that nobody calls it a loop.
const PAUSE: Duration = Duration::from_secs(10 * 60);

/// The clock on the wall may be set at any time, so that nobody should wait for it for long.
const LONGEST_REST: Duration = Duration::from_secs(10 * 60);

/// Less than the shortest day, more than any hour that comes twice.
const LEAST_BETWEEN: Duration = Duration::from_secs(20 * 60 * 60);

#[cfg(test)]
mod tests {
    use jiff::{ToSpan as _, civil::date};
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    /// Two clocks that go together, unless one is set.
    #[derive(Clone, Copy)]
    struct Clock(Moment);

    impl Clock {
        fn at(hour: i8, minute: i8) -> Self {
            Self(Moment { instant: Instant::now(), local: date(2026, 3, 1).at(hour, minute, 0, 0) })
        }

        fn goes(&mut self, by: Duration) -> Moment {
            self.0.instant += by;
            self.set(i64::try_from(by.as_secs()).unwrap())
        }

        fn set(&mut self, seconds: i64) -> Moment {
            self.0.local = self.0.local.checked_add(seconds.seconds()).unwrap();
            self.0
        }
    }

    fn at(text: &str) -> Recycle {
        Recycle { schedule: vec![text.parse().unwrap()], ..Recycle::default() }
    }

    const NOTHING: Reading = Reading { requests: None, memory: None };

    #[test]
    fn each_limit_is_a_reason_once_it_is_reached() {
        let clock = Clock::at(12, 0);
        let limits = Recycle { requests: Some(10), memory: Some(1000), ..Recycle::default() };
        for (reading, reason) in [
            (Reading { requests: Some(9), memory: Some(999) }, None),
            (Reading { requests: Some(10), memory: None }, Some(Reason::Requests(10))),
            (Reading { requests: None, memory: Some(1001) }, Some(Reason::Memory(1001))),
        ] {
            let mut recycling = Recycling::new(limits.clone(), clock.0);
            assert_eq!(recycling.look(clock.0, reading), reason);
            assert_eq!(recycling.look(clock.0, reading), None, "told once");
            recycling.begun(clock.0);
            assert_eq!(recycling.look(clock.0, reading), reason);
        }
    }

    #[test]
    fn what_could_not_be_replaced_is_left_alone_for_a_while() {
        let mut clock = Clock::at(12, 0);
        let limits = Recycle { requests: Some(1), ..Recycle::default() };
        let mut recycling = Recycling::new(limits, clock.0);
        let reading = Reading { requests: Some(5), memory: None };
        assert!(recycling.look(clock.0, reading).is_some());
        recycling.refused(clock.0);
        assert_eq!(recycling.rest(clock.0), Some(PAUSE));
        assert_eq!(recycling.look(clock.goes(PAUSE - Duration::from_secs(1)), reading), None);
        assert!(recycling.look(clock.goes(Duration::from_secs(1)), reading).is_some());
    }

    #[test]
    fn a_time_of_day_comes_once_however_the_clock_is_set() {
        let mut clock = Clock::at(1, 30);
        let mut recycling = Recycling::new(at("02:30"), clock.0);
        assert_eq!(recycling.look(clock.goes(HOUR / 2), NOTHING), None);
        // In spring, 02:00 is 03:00.
        assert!(recycling.look(clock.set(3600), NOTHING).is_some());
        recycling.begun(clock.0);
        // In autumn, 03:00 is 02:00.
        clock.set(-3600);
        assert_eq!(recycling.look(clock.0, NOTHING), None);
        assert_eq!(recycling.look(clock.goes(HOUR), NOTHING), None);
        assert!(recycling.look(clock.goes(24 * HOUR), NOTHING).is_some());
        recycling.begun(clock.0);
        // Ten years are one night.
        assert_eq!(recycling.look(clock.set(10 * 365 * 24 * 3600), NOTHING), None);
        assert!(recycling.look(clock.goes(25 * HOUR), NOTHING).is_some());
        recycling.begun(clock.0);
        assert_eq!(recycling.look(clock.set(-10 * 365 * 24 * 3600), NOTHING), None);
        assert!(recycling.look(clock.goes(25 * HOUR), NOTHING).is_some());
    }

    #[test]
    fn a_reason_is_a_sentence() {
        assert_eq!(Reason::Schedule("03:00".parse().unwrap()).to_string(), "it is 03:00");
        assert_eq!(Reason::Memory(512_000_000).to_string(), "it has 512 MB of memory");
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Goes(u64),
        Set(i64),
        Requests(u64),
        Begun,
        Refused,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..7200_u64).prop_map(Step::Goes),
            1 => (-100_000..100_000_i64).prop_map(Step::Set),
            4 => (0..20_u64).prop_map(Step::Requests),
            4 => Just(Step::Begun),
            1 => Just(Step::Refused),
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_clocks_do_nothing_is_due_twice(steps in proptest::collection::vec(step(), 1..200)) {
            let mut clock = Clock::at(0, 0);
            let limits = Recycle { age: Some(29 * HOUR), requests: Some(15), ..at("03:00") };
            let mut recycling = Recycling::new(limits, clock.0);
            // The model: whether somebody was told, until when it is left alone, when it began, when it was last 03:00.
            let (mut told, mut alone, mut since) = (false, clock.0.instant, clock.0.instant);
            let mut night: Option<Instant> = None;
            for step in steps {
                let mut requests = 0;
                match step {
                    Step::Goes(seconds) => drop(clock.goes(Duration::from_secs(seconds))),
                    Step::Set(seconds) => drop(clock.set(seconds)),
                    Step::Requests(count) => requests = count,
                    Step::Begun => {
                        recycling.begun(clock.0);
                        (told, alone, since) = (false, clock.0.instant, clock.0.instant);
                    }
                    Step::Refused => {
                        recycling.refused(clock.0);
                        if told {
                            (told, alone) = (false, clock.0.instant + PAUSE);
                            since = alone;
                        }
                    }
                }
                let (now, rest) = (clock.0.instant, recycling.rest(clock.0));
                prop_assert!(rest.is_some_and(|rest| rest <= LONGEST_REST));
                let reason = recycling.look(clock.0, Reading { requests: Some(requests), memory: None });
                let left_alone = told || now < alone;
                match reason {
                    Some(_) if left_alone => prop_assert!(false, "{reason:?} although told or refused"),
                    Some(Reason::Age(age)) => prop_assert!(age >= 29 * HOUR && now - since >= 29 * HOUR),
                    Some(Reason::Schedule(_)) => {
                        prop_assert!(night.is_none_or(|night| now - night >= LEAST_BETWEEN));
                        night = Some(now);
                    }
                    Some(Reason::Requests(count)) => prop_assert!(count == requests && count >= 15),
                    Some(Reason::Memory(_)) => prop_assert!(false, "there is no limit"),
                    None => prop_assert!(left_alone || requests < 15),
                }
                told |= reason.is_some();
            }
        }

        #[test]
        fn each_night_it_is_due_once(looks in proptest::collection::vec(1..3600_u64, 100..400)) {
            let mut clock = Clock::at(12, 0);
            let mut recycling = Recycling::new(at("03:00"), clock.0);
            let (mut due, start) = (0, clock.0.local);
            for seconds in looks {
                if recycling.look(clock.goes(Duration::from_secs(seconds)), NOTHING).is_some() {
                    due += 1;
                    recycling.begun(clock.0);
                }
            }
            // It began at noon: three in the night comes 15 hours later.
            let hours = clock.0.local.duration_since(start).as_hours();
            prop_assert_eq!(due, (hours + 9) / 24);
        }
    }
}
