//! When an application may be started: one machine for both hosting models.
//!
//! In: what happened to the application, and the time. Out: what to do with a request for it. Never: waits, starts
//! anything, or looks at a clock.
//!
//! Every [`Outcome::Start`] is answered by exactly one of [`Life::started`], [`Life::start_failed`],
//! [`Life::start_refused`], [`Life::ended`];
//! every `started` by one of [`Life::exited`], [`Life::ended`].

use std::time::Instant;

use super::patience::Patience;
pub use super::patience::{Policy, Why};

/// The life of one application.
#[derive(Clone, Debug)]
pub struct Life {
    phase: Phase,
    gate: Gate,
    patience: Patience,
    /// What somebody else has decided who counts its failures.
    told: Option<(Instant, Why)>,
    /// Forgiven while a start was under way: if it fails, that is of the past, too.
    forgiven: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Starting,
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Stopped,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Start the application; the request waits for it.
    Start,
    /// It is being started; the request waits with the others.
    Join,
    /// It is there.
    Serve,
    /// Not now.
    Refuse {
        /// When it will be tried again, if nothing happens in between.
        until: Instant,
        /// Why not now.
        why: Why,
    },
    /// It was stopped on purpose, and stays so until [`Life::reset`].
    Stopped,
}

impl Life {
    /// An application of which nothing has run yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            phase: Phase::Idle,
            gate: Gate::Open,
            patience: Patience::new(policy),
            told: None,
            forgiven: false,
        }
    }

    /// Somebody wants it: a request, or the host that keeps it running.
    pub fn wanted(&mut self, now: Instant) -> Outcome {
        match (self.gate, self.phase) {
            (Gate::Stopped, _) => Outcome::Stopped,
            (Gate::Open, Phase::Starting) => Outcome::Join,
            (Gate::Open, Phase::Ready) => Outcome::Serve,
            (Gate::Open, Phase::Idle) => match self.refused(now) {
                Some((until, why)) => Outcome::Refuse { until, why },
                None => {
                    self.phase = Phase::Starting;
                    self.forgiven = false;
                    Outcome::Start
                }
            },
        }
    }

    /// What somebody would hear who wanted it now.
    #[must_use]
    pub fn if_wanted(&self, now: Instant) -> Outcome {
        self.clone().wanted(now)
    }

    /// It is ready.
    pub fn started(&mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Ready;
            self.patience.started();
        }
    }

    /// It could not be started, or ended before it was ready.
    pub fn start_failed(&mut self, now: Instant) {
        if self.phase != Phase::Starting {
            return;
        }
        self.phase = Phase::Idle;
        if self.forgiven || self.gate == Gate::Stopped {
            return;
        }
        self.patience.start_failed(now);
    }

    /// It could not be started, and somebody else counts that: no other start before this time, if it names one.
    pub fn start_refused(&mut self, until: Option<(Instant, Why)>) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Idle;
            self.told = until.filter(|_| !self.forgiven);
        }
    }

    /// It ended without being asked, after it was ready. The next start need not wait.
    pub fn exited(&mut self, now: Instant) {
        if self.phase != Phase::Ready {
            return;
        }
        self.phase = Phase::Idle;
        if self.gate == Gate::Open {
            self.patience.crashed(now);
        }
    }

    /// It was ended on purpose: idle, recycled, stopped, or its start was called off. Or by itself, and somebody else
    /// counts that.
    pub fn ended(&mut self) {
        self.phase = Phase::Idle;
    }

    /// The past does not count any more: the operator says so, or the file changed. Ends a stop, too.
    pub fn reset(&mut self) {
        self.gate = Gate::Open;
        self.patience.forget();
        self.told = None;
        self.forgiven = self.phase == Phase::Starting;
    }

    /// Nothing is started from now on; the caller ends what runs, and what is being started.
    pub fn stop(&mut self) {
        self.gate = Gate::Stopped;
    }

    /// From when on a start is allowed; `None` where none is due, because it runs or is stopped.
    ///
    /// For the host that keeps an application running: when to call [`Life::wanted`].
    #[must_use]
    pub fn next_start(&self, now: Instant) -> Option<Instant> {
        let due = self.gate == Gate::Open && self.phase == Phase::Idle;
        due.then(|| self.refused(now).map_or(now, |(until, _)| until))
    }

    /// Until when it may not be started, and why: the later of what was counted here and elsewhere.
    fn refused(&self, now: Instant) -> Option<(Instant, Why)> {
        let told = self.told.filter(|(until, _)| *until > now);
        self.patience.refused(now).into_iter().chain(told).max_by_key(|(until, _)| *until)
    }

    /// Whether it is there, or being started.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.phase != Phase::Idle && self.gate == Gate::Open
    }

    /// Whether a start is under way, wanted or not.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.phase == Phase::Starting
    }

    /// Whether it was stopped on purpose.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.gate == Gate::Stopped
    }

    /// How often it failed within the last minute, as far as the policy counts.
    #[must_use]
    pub fn failures(&self, now: Instant) -> usize {
        self.patience.failures(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn life() -> Life {
        Life::new(Policy { rapid_fails_per_minute: 3, ..Policy::default() })
    }

    #[test]
    fn concurrent_first_requests_start_it_once() {
        let (mut life, now) = (life(), Instant::now());
        assert_eq!(life.wanted(now), Outcome::Start);
        assert_eq!(life.wanted(now), Outcome::Join);
        life.started();
        assert_eq!(life.wanted(now), Outcome::Serve);
    }

    #[test]
    fn a_failed_start_is_retried_later_and_later() {
        let mut life = Life::new(Policy { rapid_fails_per_minute: 100, ..Policy::default() });
        let mut now = Instant::now();
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(life.wanted(now), Outcome::Start);
            life.start_failed(now);
            let until = now + seconds(wait);
            assert_eq!(life.wanted(now), Outcome::Refuse { until, why: Why::BackingOff });
            assert_eq!(life.next_start(now), Some(until));
            now = until;
        }
    }

    #[test]
    fn a_crash_of_a_ready_one_is_made_good_at_once() {
        let (mut life, now) = (life(), Instant::now());
        life.wanted(now);
        life.started();
        life.exited(now);
        assert_eq!(life.next_start(now), Some(now));
        assert_eq!(life.wanted(now), Outcome::Start);
    }

    #[test]
    fn too_many_failures_pause_it_until_the_window_has_passed() {
        let (mut life, begin) = (life(), Instant::now());
        for second in 0..4 {
            assert_eq!(life.wanted(begin + seconds(second)), Outcome::Start);
            life.started();
            life.exited(begin + seconds(second));
        }
        let until = begin + seconds(60);
        assert_eq!(life.failures(begin + seconds(3)), 4);
        assert_eq!(life.wanted(begin + seconds(4)), Outcome::Refuse { until, why: Why::FailFast });
        assert_eq!(life.wanted(until), Outcome::Start);
    }

    #[test]
    fn a_stop_lasts_until_reset() {
        let (mut life, now) = (life(), Instant::now());
        life.wanted(now);
        life.stop();
        life.start_failed(now);
        assert_eq!(life.wanted(now), Outcome::Stopped);
        assert_eq!(life.next_start(now), None);
        life.reset();
        assert_eq!(life.wanted(now), Outcome::Start);
    }

    #[test]
    fn a_start_that_was_under_way_at_reset_may_fail_without_delay() {
        let (mut life, now) = (life(), Instant::now());
        life.wanted(now);
        life.reset();
        life.start_failed(now);
        assert_eq!(life.wanted(now), Outcome::Start);
        life.start_failed(now);
        assert!(matches!(life.wanted(now), Outcome::Refuse { why: Why::BackingOff, .. }));
    }

    #[test]
    fn a_start_that_somebody_else_refused_waits_for_that_and_counts_nothing() {
        let (mut life, now) = (life(), Instant::now());
        let until = now + seconds(7);
        life.wanted(now);
        life.start_refused(Some((until, Why::FailFast)));
        assert_eq!(life.wanted(now), Outcome::Refuse { until, why: Why::FailFast });
        assert_eq!(life.failures(now), 0);
        assert_eq!(life.wanted(until), Outcome::Start);
        life.start_refused(None);
        assert_eq!(life.wanted(until), Outcome::Start);
    }

    #[test]
    fn an_end_on_purpose_is_no_failure() {
        let (mut life, now) = (life(), Instant::now());
        for _ in 0..20 {
            assert_eq!(life.wanted(now), Outcome::Start);
            life.started();
            life.ended();
        }
        assert_eq!(life.failures(now), 0);
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Wanted,
        Started,
        StartFailed,
        StartRefused,
        Exited,
        Ended,
        Reset,
        Stop,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Wanted),
            2 => Just(Event::Started),
            3 => Just(Event::StartFailed),
            2 => Just(Event::StartRefused),
            2 => Just(Event::Exited),
            1 => Just(Event::Ended),
            1 => Just(Event::Reset),
            1 => Just(Event::Stop),
        ]
    }

    fn apply(life: &mut Life, event: Event, now: Instant) -> Option<Outcome> {
        match event {
            Event::Wanted => return Some(life.wanted(now)),
            Event::Started => life.started(),
            Event::StartFailed => life.start_failed(now),
            Event::StartRefused => life.start_refused(Some((now + seconds(7), Why::FailFast))),
            Event::Exited => life.exited(now),
            Event::Ended => life.ended(),
            Event::Reset => life.reset(),
            Event::Stop => life.stop(),
        }
        None
    }

    proptest! {
        // Events come in any order here, also in orders that no caller keeps to.
        #[test]
        fn one_start_in_flight_reasons_for_every_no_and_never_stuck(
            events in proptest::collection::vec((event(), 0_u64..40_000), 0..80),
            rapid in 0_u32..5,
            initial in 0_u64..5_000,
        ) {
            let policy = Policy {
                rapid_fails_per_minute: rapid,
                backoff_initial: Duration::from_millis(initial),
                backoff_max: seconds(60),
            };
            let mut life = Life::new(policy);
            let mut now = Instant::now();
            let mut in_flight = false;
            for (event, pause) in events {
                now += Duration::from_millis(pause);
                let outcome = apply(&mut life, event, now);
                match (event, outcome) {
                    (_, Some(Outcome::Start)) => {
                        prop_assert!(!in_flight, "two starts in flight");
                        in_flight = true;
                    }
                    (_, Some(Outcome::Refuse { until, .. })) => {
                        prop_assert!(until > now && until <= now + seconds(60));
                        prop_assert_eq!(life.next_start(now), Some(until));
                        prop_assert_eq!(life.clone().wanted(until), Outcome::Start);
                    }
                    (Event::Started | Event::StartFailed | Event::StartRefused | Event::Ended, None) => in_flight = false,
                    (Event::Reset, None) => {
                        let mut after = life.clone();
                        if after.wanted(now) == Outcome::Join {
                            after.start_failed(now);
                        }
                        prop_assert!(matches!(after.wanted(now), Outcome::Start | Outcome::Join | Outcome::Serve));
                    }
                    _ => {}
                }
                prop_assert!(life.patience.remembered() <= rapid as usize + 1);
            }
        }
    }
}
