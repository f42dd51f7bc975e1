//! Does what the plan wants, and watches over what must never happen.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::super::{
    super::{Exit, life::Policy},
    *,
};

/// What the world knows of a worker that was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) edition: u64,
    pub(super) safe: bool,
    pub(super) configured: bool,
    pub(super) ready: bool,
    pub(super) told: bool,
    pub(super) serving: bool,
    pub(super) draining: bool,
    pub(super) killed: bool,
    /// What it was told to change to.
    pub(super) changing: Option<u64>,
    pub(super) left: usize,
}

impl Known {
    fn accepts(&self) -> bool {
        self.told && !self.draining && !self.killed
    }
}

/// Does what the plan wants, and watches over what must never happen.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) now: Instant,
    pub(super) living: BTreeMap<Generation, Known>,
    pub(super) started: u64,
    pub(super) in_force: u64,
    pub(super) latest: u64,
    /// Editions of which it is not yet decided whether they will be in force.
    pub(super) pending: Vec<u64>,
    pub(super) stopped: bool,
    pub(super) ended: Option<Outcome>,
    pub(super) forced: bool,
}

pub(super) const SIGSEGV: Exit = Exit::Signal(11);

pub(super) fn terms(standby: Standby) -> Terms {
    let (start_limit, stop_limit) = (Duration::from_secs(150), Duration::from_secs(25));
    Terms { start_limit, change_limit: Duration::from_secs(140), stop_limit, standby }
}

impl World {
    pub(super) fn new(standby: Standby) -> Self {
        let now = Instant::now();
        let (plan, actions) = Plan::new(now, Edition(1), terms(standby), Policy::default());
        let mut world = Self {
            plan,
            now,
            living: BTreeMap::new(),
            started: 0,
            in_force: 1,
            latest: 1,
            pending: Vec::new(),
            stopped: false,
            ended: None,
            forced: false,
        };
        world.apply(&actions);
        world
    }

    pub(super) fn tell(&mut self, event: Event) -> Vec<Action> {
        let actions = self.plan.on(self.now, event);
        self.apply(&actions);
        actions
    }

    fn apply(&mut self, actions: &[Action]) {
        for action in actions {
            assert_eq!(self.ended, None, "{action:?} after the end");
            self.act(*action);
            let accepting: Vec<_> = self.living.values().filter(|known| known.accepts()).collect();
            // Two in a hand-over only: the one that serves, and the one that was told to.
            assert!(accepting.len() <= 2, "{:?}", self.living);
        }
        let accepting = self.living.values().filter(|known| known.accepts() && known.serving).count();
        assert!(accepting <= 1, "two take new work: {:?}", self.living);
        assert!(
            self.ended.is_some() || !self.living.is_empty() || self.plan.due().is_some(),
            "nothing runs, and nothing is going to happen"
        );
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { generation, edition, part, .. } => {
                assert!(!self.stopped, "started after the stop");
                assert!(generation.0 > self.started, "a number twice");
                self.started = generation.0;
                let safe = part != Part::Everything;
                self.living.insert(generation, Known { edition: edition.0, safe, ..Known::default() });
            }
            Action::Serve(generation) => {
                let known = self.living.get_mut(&generation).expect("it lives");
                assert!(known.configured && !known.told && !known.draining && !known.killed, "{known:?}");
                known.told = true;
            }
            Action::Change(generation, edition) => {
                // One that was given up does not count: whether it ever changes, nobody will ask it anything again.
                let mut serving = self.living.values().filter(|known| known.accepts());
                assert!(serving.all(|known| known.changing.is_none()), "two changes at a time");
                let known = self.living.get_mut(&generation).expect("it lives");
                assert!(known.serving && known.accepts() && !known.safe && known.edition == self.in_force);
                assert!(self.pending.contains(&edition.0));
                known.changing = Some(edition.0);
            }
            Action::GiveUp(generation) => assert!(self.living[&generation].accepts()),
            Action::Adopt(edition) => {
                self.decided(edition);
                self.in_force = edition.0;
            }
            Action::Refuse(edition, _) => self.decided(edition),
            Action::Drain(generation) => {
                let known = self.living.get_mut(&generation).expect("it lives");
                assert!(!known.draining && !known.killed, "told to end twice");
                known.draining = true;
            }
            Action::Hurry(generation) => assert!(self.stopped && self.living[&generation].draining),
            Action::Kill(generation, _) => {
                let known = self.living.get_mut(&generation).expect("it lives");
                assert!(!known.killed, "killed twice");
                known.killed = true;
                self.forced |= self.stopped;
            }
            Action::End(outcome) => {
                assert!(self.stopped && self.living.is_empty(), "{:?} left behind", self.living);
                assert_eq!(outcome == Outcome::Forced, self.forced);
                self.ended = Some(outcome);
            }
        }
    }

    fn decided(&mut self, edition: Edition) {
        let place = self.pending.iter().position(|pending| *pending == edition.0);
        self.pending.remove(place.expect("somebody has asked, and was not told yet"));
    }

    pub(super) fn exit(&mut self, generation: Generation, exit: Exit) -> Vec<Action> {
        let known = self.living.remove(&generation).expect("it lives");
        self.forced |= self.stopped && (!exit.success() || known.killed);
        self.tell(Event::Exited(generation, exit))
    }

    /// The same, by the hand of an application.
    pub(super) fn fell(&mut self, generation: Generation) -> Vec<Action> {
        self.living.remove(&generation).expect("it lives");
        self.forced |= self.stopped;
        self.tell(Event::Felled(generation, SIGSEGV))
    }

    pub(super) fn replace(&mut self) -> Vec<Action> {
        self.latest += 1;
        self.pending.push(self.latest);
        let actions = self.tell(Event::Replace(Edition(self.latest), terms(Standby::Kept)));
        self.at_most_one_waits();
        actions
    }

    pub(super) fn change(&mut self) -> Vec<Action> {
        self.latest += 1;
        self.pending.push(self.latest);
        let actions = self.tell(Event::Change(Edition(self.latest), terms(Standby::Kept)));
        self.at_most_one_waits();
        actions
    }

    /// Besides the one that a worker is changing to, only the last one is of interest.
    fn at_most_one_waits(&self) {
        let changing = self.living.values().filter(|known| known.accepts()).find_map(|known| known.changing);
        assert!(self.pending.iter().all(|pending| *pending == self.latest || Some(*pending) == changing));
    }

    /// A worker says what became of its change.
    pub(super) fn changed(&mut self, generation: Generation) -> Vec<Action> {
        let known = self.living.get_mut(&generation).expect("it lives");
        let edition = known.changing.take().expect("it was told to change");
        known.edition = edition;
        known.left += 1;
        let left = known.left;
        self.tell(Event::Changed(generation, Edition(edition), left))
    }

    pub(super) fn not_changed(&mut self, generation: Generation) -> Vec<Action> {
        let known = self.living.get_mut(&generation).expect("it lives");
        let edition = known.changing.take().expect("it was told to change");
        known.left += 1;
        let left = known.left;
        self.tell(Event::NotChanged(generation, Edition(edition), left))
    }

    /// One worker does the next thing that it has to do, and does it well.
    pub(super) fn cooperate(&mut self, generation: Generation) -> Option<Vec<Action>> {
        let known = self.living.get_mut(&generation)?;
        let event = if known.killed {
            return Some(self.exit(generation, Exit::Signal(9)));
        } else if known.draining {
            return Some(self.exit(generation, Exit::Code(0)));
        } else if !known.configured {
            known.configured = true;
            Event::Configured(generation)
        } else if !known.ready {
            known.ready = true;
            Event::Ready(generation, Preloaded::Running)
        } else if known.told && !known.serving {
            known.serving = true;
            Event::Serving(generation)
        } else if known.changing.is_some() {
            return Some(self.changed(generation));
        } else {
            return None;
        };
        Some(self.tell(event))
    }

    /// All do what they have to, until nothing is left to do.
    pub(super) fn calm_down(&mut self) {
        for _ in 0..1000 {
            let next = self.living.keys().copied().collect::<Vec<_>>();
            let progress = next.into_iter().any(|generation| self.cooperate(generation).is_some());
            if progress {
                continue;
            }
            match self.plan.due() {
                Some(due) if self.ended.is_none() => {
                    self.now = self.now.max(due);
                    self.tell(Event::Tick);
                }
                _ => return,
            }
        }
        panic!("it never comes to rest: {:?}", self.living);
    }

    pub(super) fn nth(&self, n: usize) -> Option<Generation> {
        let count = self.living.len();
        (count > 0).then(|| *self.living.keys().nth(n % count).expect("it is less than the count"))
    }
}

pub(super) fn served(standby: Standby) -> World {
    let mut world = World::new(standby);
    world.calm_down();
    world
}
