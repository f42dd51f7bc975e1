//! Which worker serves, which waits, which has to end: the decisions of the supervisor, and nothing else.
//!
//! In: what happened, and the time. Out: what to do about it, in this order. Never: starts, asks or signals anything, or
//! looks at a clock.
//!
//! After each event the plan compares what there is with what there should be: one worker that serves the configuration
//! in force, perhaps another one that waits to replace it after a crash, and while a new configuration is tried, a worker
//! of that one. A worker takes over before the one that it replaces is told to drain; only in between do two of them
//! accept. Whoever was started is gone for certain with [`Event::Exited`] or [`Event::NotStarted`], one of which has to
//! follow each [`Action::Start`].

mod candidate;
pub(super) mod resume;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use self::candidate::{Candidate, Wanted, Way};
use super::{
    super::{Exit, life::Policy, patience::Patience},
    event::{Action, Event, Outcome, Overdue, Refusal},
    terms::{Edition, Generation, Part, Preload, Preloaded, Standby, Terms},
};

/// The plan of one supervisor.
#[derive(Debug)]
pub struct Plan {
    workers: BTreeMap<Generation, Worker>,
    last: Generation,
    edition: Edition,
    terms: Terms,
    candidate: Option<Candidate>,
    /// What came while the worker that serves was changing; it can do only one thing at a time.
    waiting: Option<(Edition, Terms, Wanted)>,
    /// With workers for everything.
    patience: Patience,
    /// With workers for the safe part.
    patience_safe: Patience,
    stopping: Stopping,
    /// The latest that was heard of.
    now: Instant,
    actions: Vec<Action>,
}

#[derive(Debug)]
struct Worker {
    edition: Edition,
    terms: Terms,
    part: Part,
    state: State,
    ready: Ready,
    /// Generations that it has loaded and uses no more.
    left: usize,
    /// Did not say in time what became of a change.
    doubtful: bool,
    /// Is to be replaced by a fresh one.
    worn: bool,
    /// When it has to be further, and what will be said if it is not.
    due: Option<(Instant, Overdue)>,
}

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Was started.
    Starting,
    /// Could serve.
    Configured,
    /// Was told to serve.
    Told,
    /// Serves.
    Serving,
    /// Was told to end.
    Draining,
    /// Was killed.
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    NotYet,
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// All were told to end; how it went so far.
    Yes(Outcome),
    /// And have ended.
    Over,
}

impl Worker {
    fn is_live(&self) -> bool {
        !matches!(self.state, State::Draining | State::Killed)
    }

    fn accepts(&self) -> bool {
        matches!(self.state, State::Told | State::Serving)
    }

    /// Serves everything, as far as is known, and is to go on with it.
    fn is_whole(&self) -> bool {
        self.is_for_everything() && !self.doubtful && !self.worn
    }

    fn is_for_everything(&self) -> bool {
        self.part == Part::Everything
    }

    /// Could take over from one that serves.
    fn waits(&self) -> bool {
        self.state == State::Configured && self.ready == Ready::Ready
    }
}

impl Plan {
    /// A plan for the first edition, and what to do first.
    #[must_use]
    pub fn new(now: Instant, edition: Edition, terms: Terms, policy: Policy) -> (Self, Vec<Action>) {
        let mut plan = Self::empty(now, edition, terms, policy);
        let actions = plan.on(now, Event::Tick);
        (plan, actions)
    }

    fn empty(now: Instant, edition: Edition, terms: Terms, policy: Policy) -> Self {
        Self {
            workers: BTreeMap::new(),
            last: Generation(0),
            edition,
            terms,
            candidate: None,
            waiting: None,
            patience: Patience::new(policy),
            patience_safe: Patience::new(policy),
            stopping: Stopping::No,
            now,
            actions: Vec::new(),
        }
    }

    /// What to do about an event.
    pub fn on(&mut self, now: Instant, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        self.note(event);
        self.overdue();
        self.settle();
        std::mem::take(&mut self.actions)
    }

    /// When to tell that time went by, if nothing else happens before.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let limits = self.workers.values().filter_map(|worker| worker.due).map(|(when, _)| when);
        let running = self.stopping == Stopping::No;
        let pauses = [&self.patience, &self.patience_safe].into_iter().filter(|_| running);
        let pauses = pauses.filter_map(|patience| patience.refused(self.now)).map(|(until, _)| until);
        limits.chain(pauses).chain(self.change_due()).min()
    }

    /// Whether a worker has started what it was to preload.
    #[must_use]
    pub fn is_ready(&self, generation: Generation) -> bool {
        self.workers.get(&generation).is_some_and(|worker| worker.ready == Ready::Ready)
    }

    /// The configuration in force.
    #[must_use]
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// How far a worker has come; `None` once it has ended.
    #[must_use]
    pub fn state(&self, generation: Generation) -> Option<State> {
        self.workers.get(&generation).map(|worker| worker.state)
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Configured(generation) => self.configured(generation),
            Event::Ready(generation, preloaded) => self.ready(generation, preloaded),
            Event::Serving(generation) => self.serving(generation),
            Event::Exited(generation, exit) => self.exited(generation, Some(exit)),
            Event::NotStarted(generation) => self.exited(generation, None),
            Event::Felled(generation, exit) => drop(self.gone(generation, Some(exit))),
            Event::Hung(generation) => self.hung(generation),
            Event::Changed(generation, edition, left) => self.changed(generation, edition, left),
            Event::NotChanged(generation, edition, left) => self.not_changed(generation, edition, left),
            Event::Replace(edition, terms) => self.want(edition, terms, Wanted::Replace),
            Event::Change(edition, terms) => self.want(edition, terms, Wanted::Change),
            Event::Recycle(generation) => self.recycle(generation),
            Event::Stop => self.stop(),
            Event::Tick => {}
        }
    }

    fn configured(&mut self, generation: Generation) {
        let Some(worker) = self.workers.get_mut(&generation) else { return };
        if worker.state == State::Starting {
            worker.state = State::Configured;
            worker.due = self.now.checked_add(worker.terms.start_limit).map(|when| (when, Overdue::Start));
        }
    }

    fn ready(&mut self, generation: Generation, preloaded: Preloaded) {
        let Some(worker) = self.workers.get_mut(&generation).filter(|worker| worker.is_live()) else {
            return;
        };
        worker.ready = Ready::Ready;
        if worker.state == State::Configured {
            worker.due = None;
        }
        if worker.is_for_everything() {
            self.patience.started();
        }
        // Outside of a replacement there is nothing better to go on with.
        if preloaded == Preloaded::Failed && self.is_candidate(generation) {
            self.refuse(Refusal::PreloadFailed);
        }
    }

    fn serving(&mut self, generation: Generation) {
        let Some(worker) = self.workers.get_mut(&generation) else { return };
        if worker.state != State::Told {
            return;
        }
        worker.state = State::Serving;
        worker.due = None;
        if self.is_candidate(generation)
            && let Some(candidate) = self.candidate.take()
        {
            self.adopt(candidate);
        }
    }

    fn exited(&mut self, generation: Generation, exit: Option<Exit>) {
        let Some(worker) = self.gone(generation, exit) else { return };
        let patience = if worker.is_for_everything() { &mut self.patience } else { &mut self.patience_safe };
        match worker.ready {
            Ready::Ready => patience.crashed(self.now),
            Ready::NotYet => patience.start_failed(self.now),
        }
    }

    /// A worker is no more; returned, if that was neither wanted nor to be expected of a new configuration.
    fn gone(&mut self, generation: Generation, exit: Option<Exit>) -> Option<Worker> {
        let candidate = self.is_candidate(generation);
        let worker = self.workers.remove(&generation)?;
        if self.is_changing(generation) {
            self.refuse(exit.map_or(Refusal::NotStarted, Refusal::Crashed));
        }
        if !worker.is_live() {
            let gracefully = worker.state == State::Draining && exit.is_none_or(Exit::success);
            if matches!(self.stopping, Stopping::Yes(_)) && !gracefully {
                self.stopping = Stopping::Yes(Outcome::Forced);
            }
            return None;
        }
        if candidate {
            self.refuse(exit.map_or(Refusal::NotStarted, Refusal::Crashed));
            return None;
        }
        Some(worker)
    }

    fn recycle(&mut self, generation: Generation) {
        // One that does not serve is no harm, and has its own way to an end.
        let Some(worker) = self.workers.get_mut(&generation).filter(|worker| worker.accepts()) else {
            return;
        };
        worker.worn = true;
        // The next one serves what is in force: whether this one comes to serve something newer must not matter any more.
        if self.is_changing(generation) {
            self.refuse(Refusal::TimedOut);
        }
    }

    fn hung(&mut self, generation: Generation) {
        let Some(worker) = self.workers.get_mut(&generation) else { return };
        let soon = self.now + LAST_BREATH;
        if worker.state != State::Killed && worker.due.is_none_or(|(when, _)| soon < when) {
            worker.due = Some((soon, Overdue::Hung));
        }
    }

    fn stop(&mut self) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Yes(Outcome::Gracefully);
            self.refuse(Refusal::Stopping);
            self.drop_waiting(Refusal::Stopping);
            for generation in self.those(Worker::is_live) {
                self.drain(generation);
            }
            return;
        }
        let draining = self.those(|worker| worker.state == State::Draining);
        self.actions.extend(draining.into_iter().map(Action::Hurry));
    }

    fn drain(&mut self, generation: Generation) {
        let Some(worker) = self.workers.get_mut(&generation) else { return };
        worker.state = State::Draining;
        worker.due = self.now.checked_add(worker.terms.stop_limit).map(|when| (when, Overdue::Stop));
        self.actions.push(Action::Drain(generation));
    }

    /// Kills who is late.
    fn overdue(&mut self) {
        let now = self.now;
        self.overdue_change();
        for generation in self.those(|worker| worker.due.is_some_and(|(when, _)| when <= now)) {
            let (candidate, changing) = (self.is_candidate(generation), self.is_changing(generation));
            let Some(worker) = self.workers.get_mut(&generation) else { continue };
            let Some((_, overdue)) = worker.due.take() else { continue };
            let was_live = worker.is_live();
            worker.state = State::Killed;
            self.actions.push(Action::Kill(generation, overdue));
            let patience =
                if worker.is_for_everything() { &mut self.patience } else { &mut self.patience_safe };
            match (was_live, overdue) {
                (true, _) if candidate => self.refuse(Refusal::TimedOut),
                (true, Overdue::Hung) => patience.crashed(now),
                (true, _) => patience.start_failed(now),
                (false, _) => {}
            }
            if changing {
                self.refuse(Refusal::TimedOut);
            }
        }
    }

    /// Makes what there is into what there should be.
    fn settle(&mut self) {
        match self.stopping {
            Stopping::No => {
                // Whoever is not needed any more first, so that at most two accept at any time.
                self.retire();
                self.begin();
                self.hand_over();
                self.fill();
            }
            Stopping::Yes(outcome) if self.workers.is_empty() => {
                self.stopping = Stopping::Over;
                self.actions.push(Action::End(outcome));
            }
            Stopping::Yes(_) | Stopping::Over => {}
        }
    }

    /// Tells the next worker to serve, if there is one that is better than the one that does.
    fn hand_over(&mut self) {
        // One at a time: what was told to serve has to do it before another one may be told.
        if self.workers.values().any(|worker| worker.state == State::Told) {
            return;
        }
        let Some(next) = self.next() else { return };
        if let Some(worker) = self.workers.get_mut(&next) {
            worker.state = State::Told;
            worker.due = self.now.checked_add(PROMPT).map(|when| (when, Overdue::Start));
            self.actions.push(Action::Serve(next));
        }
    }

    fn next(&self) -> Option<Generation> {
        let first = |wanted: &dyn Fn(&Worker) -> bool| {
            self.workers.iter().find(|(_, worker)| wanted(worker)).map(|(generation, _)| *generation)
        };
        if let Some(Candidate { edition, .. }) = self.candidate
            && let Some(generation) = first(&|worker| worker.edition == edition && worker.waits())
        {
            return Some(generation);
        }
        let current = |worker: &Worker| worker.edition == self.edition;
        let server = self.workers.values().find(|worker| worker.accepts());
        match server {
            Some(server) if server.is_whole() => None,
            Some(_) => first(&|worker| current(worker) && worker.is_whole() && worker.waits()),
            // Nobody accepts: better one that is still loading than none.
            None => first(&|worker| current(worker) && worker.is_whole() && worker.waits())
                .or_else(|| {
                    first(&|worker| current(worker) && worker.is_whole() && worker.state == State::Configured)
                })
                .or_else(|| first(&|worker| current(worker) && worker.state == State::Configured)),
        }
    }

    /// Tells those to end who are not needed any more.
    fn retire(&mut self) {
        let (current, candidate) = (self.edition, self.candidate.map(|candidate| candidate.edition));
        let serves = |worker: &Worker| worker.state == State::Serving;
        let newest = |wanted: fn(&Worker) -> bool| {
            let mut newest_first = self.workers.iter().rev();
            let found = newest_first.find(|(_, it)| serves(it) && it.edition == current && wanted(it));
            found.map(|(generation, _)| *generation)
        };
        let unneeded = |worker: &Worker| {
            let other = worker.edition != current && Some(worker.edition) != candidate;
            worker.is_live() && (other || !worker.is_whole() || serves(worker))
        };
        let (server, unneeded) = match newest(Worker::is_whole) {
            Some(server) => (server, self.those(unneeded)),
            // One that is to be replaced itself is enough until then; two would be one too many.
            None => match newest(Worker::is_for_everything) {
                Some(server) => (server, self.those(serves)),
                None => return,
            },
        };
        for generation in unneeded {
            if generation != server {
                self.drain(generation);
            }
        }
    }

    /// Starts whoever is missing.
    fn fill(&mut self) {
        let preload = Preload::All;
        if let Some(Candidate { edition, terms, way: Way::Replace }) = self.candidate
            && !self.workers.values().any(|worker| worker.edition == edition)
        {
            self.start(edition, terms, Part::Everything, preload);
        }
        let (edition, terms) = (self.edition, self.terms);
        let ours = |worker: &&Worker| worker.edition == edition && worker.is_live();
        let whole = self.workers.values().filter(ours).filter(|worker| worker.is_whole()).count();
        let safe = self.workers.values().filter(ours).any(|worker| !worker.is_whole());
        match self.patience.refused(self.now) {
            None if whole == 0 => self.start(edition, terms, Part::Everything, preload),
            None if whole == 1 && self.wants_standby() => {
                self.start(edition, terms, Part::Everything, Preload::InProcess);
            }
            Some((until, why)) if whole == 0 && !safe && self.patience_safe.refused(self.now).is_none() => {
                let retry_after = until.saturating_duration_since(self.now);
                self.start(edition, terms, Part::Safe { why, retry_after }, preload);
            }
            _ => {}
        }
    }

    /// Whether everything is as it should be, so that a worker may wait for a crash.
    fn wants_standby(&self) -> bool {
        let settled = |worker: &Worker| {
            worker.edition == self.edition
                && worker.is_whole()
                && worker.state == State::Serving
                && worker.ready == Ready::Ready
        };
        self.terms.standby == Standby::Kept && self.candidate.is_none() && self.workers.values().any(settled)
    }

    fn start(&mut self, edition: Edition, terms: Terms, part: Part, preload: Preload) {
        self.last = Generation(self.last.0 + 1);
        let due = self.now.checked_add(PROMPT).map(|when| (when, Overdue::Start));
        let (state, ready) = (State::Starting, Ready::NotYet);
        let worker =
            Worker { edition, terms, part, state, ready, left: 0, doubtful: false, worn: false, due };
        self.workers.insert(self.last, worker);
        self.actions.push(Action::Start { generation: self.last, edition, part, preload });
    }

    fn those(&self, wanted: impl Fn(&Worker) -> bool) -> Vec<Generation> {
        let those = self.workers.iter().filter(|(_, worker)| wanted(worker));
        those.map(|(generation, _)| *generation).collect()
    }
}

/// How long a worker may take for what takes a moment: to understand its configuration, to begin to accept.
const PROMPT: Duration = Duration::from_secs(30);

/// How long a worker may live after it has closed its end of the conversation.
const LAST_BREATH: Duration = Duration::from_secs(2);
