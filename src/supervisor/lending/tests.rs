//! The ledger against a world in which everything may happen in any order.

mod failing;
mod generated;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::{Launch, Listen, Program, patience::Why, worker::Generation},
    ledger::{Action, Event, Fitness, Ledger, Loan, Number},
    message::{Ask, Found, Parting},
};

const UNCLAIMED: Duration = Duration::from_secs(60);

const MINUTE: Duration = Duration::from_secs(60);

/// Does what the ledger wants, and watches over what must never happen.
struct World {
    ledger: Ledger,
    now: Instant,
    workers: BTreeSet<Generation>,
    leaving: BTreeSet<Generation>,
    running: BTreeMap<Number, Arc<Launch>>,
    starting: BTreeMap<Number, Arc<Launch>>,
    ending: BTreeSet<Number>,
    /// Starts that were called off and have not come to an end.
    called_off: BTreeSet<Number>,
    /// What was lent and not given back.
    lent: BTreeMap<Loan, Number>,
    /// Wishes that were not answered.
    open: BTreeMap<Loan, Arc<Launch>>,
    /// Those who gave something back for good, and wait for what becomes of it.
    parting: BTreeSet<Loan>,
    /// Trials that failed, and of which the worker waits to hear.
    unfit: BTreeSet<Loan>,
    /// When what failed, for its application alone.
    failures: Vec<(Instant, Arc<Launch>)>,
    asks: u64,
}

fn launch(name: &str) -> Arc<Launch> {
    Arc::new(Launch::new(name, Program::Command(vec!["x".into()]), "/"))
}

fn on_port(name: &str, port: u16) -> Arc<Launch> {
    Arc::new(Launch { listen: Listen::FixedPort(port), ..(*launch(name)).clone() })
}

/// One that is left alone after its second failure.
fn impatient(name: &str) -> Arc<Launch> {
    Arc::new(Launch { rapid_fails_per_minute: 1, ..(*launch(name)).clone() })
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            ledger: Ledger::new(now, UNCLAIMED),
            now,
            workers: BTreeSet::new(),
            leaving: BTreeSet::new(),
            running: BTreeMap::new(),
            starting: BTreeMap::new(),
            ending: BTreeSet::new(),
            called_off: BTreeSet::new(),
            lent: BTreeMap::new(),
            open: BTreeMap::new(),
            parting: BTreeSet::new(),
            unfit: BTreeSet::new(),
            failures: Vec::new(),
            asks: 0,
        }
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        let actions = self.ledger.on(self.now, event);
        for action in &actions {
            self.act(action);
        }
        self.check();
        actions
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Start(number, launch) => {
                if let Listen::FixedPort(_) = launch.listen {
                    let others = self.running.values().chain(self.starting.values());
                    assert!(others.into_iter().all(|other| other.listen != launch.listen), "a port twice");
                }
                assert!(self.recent(launch) <= launch.rapid_fails_per_minute as usize, "failed too often");
                assert!(self.starting.insert(*number, Arc::clone(launch)).is_none());
            }
            Action::Lend(loan, number, _) => {
                let wanted = self.open.remove(loan).expect("lent to one who wants it");
                assert_eq!(self.running[number], wanted, "lent something else");
                assert!(!self.ending.contains(number), "lent while it ends");
                let twice = |(other, held): (&Loan, &Number)| other.worker == loan.worker && held == number;
                assert!(!self.lent.iter().any(twice), "lent twice to one worker");
                self.lent.insert(*loan, *number);
            }
            Action::Fail(loan, _) if self.unfit.remove(loan) => {}
            Action::Fail(loan, _) | Action::PortHeld(loan, _) => {
                self.open.remove(loan).expect("refused to one who wants it");
            }
            Action::Refuse(loan, launch, (until, _)) => {
                assert_eq!(self.open.remove(loan).as_ref(), Some(launch), "refused to one who wants it");
                assert!(*until > self.now && *until <= self.now + MINUTE, "no time to come back");
                assert!(self.recent(launch) > 0, "nothing has failed");
            }
            Action::TellEnd(loan) => {
                assert!(self.lent.remove(loan).is_some() || self.parting.remove(loan), "told for nothing");
            }
            Action::TellKept(loan) => assert!(self.parting.remove(loan), "told for nothing"),
            Action::Announce(number) => assert!(self.running.contains_key(number)),
            Action::Stop(number) => {
                assert!(self.running.contains_key(number) && self.ending.insert(*number), "stopped twice");
                assert!(!self.lent.values().any(|held| held == number), "stopped under somebody");
            }
            Action::CallOff(number) => {
                assert!(self.starting.contains_key(number), "it is not being started");
                assert!(self.called_off.insert(*number), "called off twice");
            }
        }
    }

    /// How often it failed within a minute, since another launch of that name did.
    fn recent(&self, launch: &Arc<Launch>) -> usize {
        let of_that_name = |other: &Launch| other.application == launch.application;
        let failures = self.failures.iter().rev().filter(|(_, other)| of_that_name(other));
        let in_a_row = failures.take_while(|(_, other)| other == launch);
        in_a_row.filter(|(at, _)| self.now < *at + MINUTE).count()
    }

    /// What has to hold at any time.
    fn check(&self) {
        for number in self.running.keys() {
            let held = self.lent.values().any(|lent| lent == number);
            let ends = self.ending.contains(number) || self.ledger.due().is_some();
            assert!(held || ends, "{number:?} is left, and nobody will end it");
        }
        assert!(self.unfit.is_empty(), "a worker waits for an answer");
        assert_eq!(self.ledger.is_empty(), self.running.is_empty() && self.starting.is_empty());
        // Whoever waits, waits for something.
        if !self.open.is_empty() {
            let ends = !self.ending.is_empty() || !self.leaving.is_empty();
            let something = ends || !self.starting.is_empty() || self.ledger.due().is_some();
            assert!(something, "{:?} wait for nothing", self.open.keys());
        }
    }

    fn come(&mut self, worker: u64) -> Vec<Action> {
        self.workers.insert(Generation(worker));
        self.tell(Event::Came(Generation(worker)))
    }

    fn leave(&mut self, worker: u64) -> Vec<Action> {
        self.leaving.insert(Generation(worker));
        self.tell(Event::Leaves(Generation(worker)))
    }

    fn go(&mut self, worker: u64) -> Vec<Action> {
        let worker = Generation(worker);
        self.workers.remove(&worker);
        self.leaving.remove(&worker);
        self.lent.retain(|loan, _| loan.worker != worker);
        self.open.retain(|loan, _| loan.worker != worker);
        self.parting.retain(|loan| loan.worker != worker);
        self.tell(Event::Gone(worker))
    }

    fn want(&mut self, worker: u64, launch: &Arc<Launch>) -> (Loan, Vec<Action>) {
        self.asks += 1;
        let loan = Loan { worker: Generation(worker), ask: Ask(self.asks) };
        if self.workers.contains(&loan.worker) {
            self.open.insert(loan, Arc::clone(launch));
        }
        (loan, self.tell(Event::Wanted(loan, Arc::clone(launch))))
    }

    fn release(&mut self, loan: Loan, parting: Parting) -> Vec<Action> {
        let lent = self.lent.remove(&loan).is_some();
        self.open.remove(&loan);
        if lent && parting == Parting::ForGood {
            self.parting.insert(loan);
        }
        self.tell(Event::Released(loan, parting))
    }

    fn tried(&mut self, loan: Loan, fitness: Fitness) -> Vec<Action> {
        if fitness == Fitness::Unfit {
            let launch = self.lent.get(&loan).and_then(|number| self.running.get(number));
            self.failures.extend(launch.map(|launch| (self.now, Arc::clone(launch))));
            self.unfit.insert(loan);
        }
        self.tell(Event::Tried(loan, fitness))
    }

    fn started(&mut self, number: Number) -> Vec<Action> {
        let Some(launch) = self.starting.remove(&number) else { return Vec::new() };
        self.running.insert(number, launch);
        self.called_off.remove(&number);
        self.tell(Event::Started(number))
    }

    fn not_started(&mut self, number: Number) -> Vec<Action> {
        let launch = self.starting.remove(&number);
        if !self.called_off.remove(&number) {
            self.failures.extend(launch.map(|launch| (self.now, launch)));
        }
        self.tell(Event::NotStarted(number))
    }

    fn ended(&mut self, number: Number) -> Vec<Action> {
        let launch = self.running.remove(&number);
        if !self.ending.remove(&number) {
            self.failures.extend(launch.map(|launch| (self.now, launch)));
        }
        self.tell(Event::Ended(number))
    }

    /// A worker that has an instance of `launch`.
    fn served(&mut self, worker: u64, launch: &Arc<Launch>) -> (Loan, Number) {
        self.come(worker);
        let (loan, actions) = self.want(worker, launch);
        let [Action::Start(number, _)] = actions[..] else { panic!("{actions:?}") };
        assert_eq!(self.started(number), [Action::Lend(loan, number, Found::Started)]);
        (loan, number)
    }
}

#[test]
fn the_next_worker_gets_what_the_one_that_crashed_had() {
    let mut world = World::new();
    let shop = launch("shop");
    let (_, number) = world.served(1, &shop);
    assert_eq!(world.go(1), []);
    world.come(2);
    let (loan, actions) = world.want(2, &shop);
    assert_eq!(actions, [Action::Lend(loan, number, Found::Running)]);
    world.now += 2 * UNCLAIMED;
    assert_eq!(world.tell(Event::Tick), []);
}

#[test]
fn what_nobody_claims_is_stopped_in_the_end() {
    let mut world = World::new();
    let (loan, number) = world.served(1, &launch("shop"));
    assert_eq!(world.release(loan, Parting::Leaving), []);
    world.now += UNCLAIMED / 2;
    assert_eq!(world.tell(Event::Tick), []);
    world.now = world.ledger.due().unwrap();
    assert_eq!(world.tell(Event::Tick), [Action::Stop(number)]);
    assert_eq!(world.ended(number), []);
    assert!(world.ledger.is_empty());
}

#[test]
fn two_workers_share_one_and_it_ends_with_the_last() {
    let mut world = World::new();
    let shop = launch("shop");
    let (first, number) = world.served(1, &shop);
    world.come(2);
    let (second, _) = world.want(2, &shop);
    assert_eq!(world.release(first, Parting::ForGood), [Action::TellKept(first)]);
    assert_eq!(world.release(second, Parting::ForGood), [Action::Stop(number)]);
    assert_eq!(world.ended(number), [Action::TellEnd(second)]);
}

#[test]
fn wishes_for_the_same_share_one_start_and_its_failure() {
    let mut world = World::new();
    let shop = launch("shop");
    world.come(1);
    world.come(2);
    let (first, actions) = world.want(1, &shop);
    let [Action::Start(number, _)] = actions[..] else { panic!("{actions:?}") };
    let (second, actions) = world.want(2, &shop);
    assert_eq!(actions, []);
    let pause = Some((world.now + Duration::from_secs(1), Why::BackingOff));
    assert_eq!(world.not_started(number), [Action::Fail(first, pause), Action::Fail(second, pause)]);
}

#[test]
fn a_worker_that_wants_what_it_has_gets_another_one() {
    let mut world = World::new();
    let shop = launch("shop");
    let (old, number) = world.served(1, &shop);
    let (new, actions) = world.want(1, &shop);
    let [Action::Start(next, _)] = actions[..] else { panic!("{actions:?}") };
    assert_eq!(world.started(next), [Action::Lend(new, next, Found::Started)]);
    assert_eq!(world.release(old, Parting::ForGood), [Action::Stop(number)]);
}

#[test]
fn a_start_goes_on_for_the_next_worker() {
    let mut world = World::new();
    let shop = launch("shop");
    world.come(1);
    let (_, actions) = world.want(1, &shop);
    let [Action::Start(number, _)] = actions[..] else { panic!("{actions:?}") };
    assert_eq!(world.go(1), []);
    world.come(2);
    let (loan, _) = world.want(2, &shop);
    assert_eq!(world.started(number), [Action::Lend(loan, number, Found::Started)]);
}

#[test]
fn a_start_that_nobody_wants_any_more_is_called_off() {
    let mut world = World::new();
    world.come(1);
    let (loan, actions) = world.want(1, &launch("shop"));
    let [Action::Start(number, _)] = actions[..] else { panic!("{actions:?}") };
    assert_eq!(world.release(loan, Parting::ForGood), [Action::CallOff(number)]);
    assert!(world.ledger.has("shop"), "something of it may be left");
    assert_eq!(world.not_started(number), []);
    assert!(!world.ledger.has("shop"));
}

#[test]
fn a_start_that_was_called_off_too_late_is_stopped() {
    let mut world = World::new();
    world.come(1);
    let (loan, actions) = world.want(1, &launch("shop"));
    let [Action::Start(number, _)] = actions[..] else { panic!("{actions:?}") };
    world.release(loan, Parting::ForGood);
    assert_eq!(world.started(number), [Action::Stop(number)]);
    assert_eq!(world.ended(number), []);
    assert!(world.ledger.is_empty());
}

#[test]
fn the_port_of_a_start_that_was_called_off_is_free_when_nothing_of_it_is_left() {
    let mut world = World::new();
    world.come(1);
    let (loan, actions) = world.want(1, &on_port("shop", 5000));
    let [Action::Start(number, _)] = actions[..] else { panic!("{actions:?}") };
    world.release(loan, Parting::ForGood);
    assert_eq!(world.want(1, &on_port("changed", 5000)).1, []);
    assert!(matches!(world.not_started(number)[..], [Action::Start(..)]));
}

#[test]
fn a_port_goes_to_the_next_one_when_the_other_has_ended() {
    let mut world = World::new();
    let (old, number) = world.served(1, &on_port("shop", 5000));
    world.come(2);
    let (new, actions) = world.want(2, &on_port("changed", 5000));
    assert_eq!(actions, []);
    // Somebody wants its port, so it does not wait to be claimed.
    assert_eq!(world.release(old, Parting::Leaving), [Action::Stop(number)]);
    let actions = world.ended(number);
    let [Action::Start(next, _)] = actions[..] else { panic!("{actions:?}") };
    assert_eq!(world.started(next), [Action::Lend(new, next, Found::Started)]);
}

#[test]
fn who_waits_for_a_port_does_not_wait_for_ever() {
    let mut world = World::new();
    world.served(1, &on_port("shop", 5000));
    let changed = on_port("changed", 5000);
    let (loan, _) = world.want(1, &changed);
    world.now += changed.startup_timeout;
    assert_eq!(world.tell(Event::Tick), [Action::PortHeld(loan, 5000)]);
}

#[test]
fn who_waits_for_the_port_of_a_worker_that_leaves_waits_for_its_last_request() {
    let mut world = World::new();
    let (old, number) = world.served(1, &on_port("shop", 5000));
    world.come(2);
    let changed = on_port("changed", 5000);
    let (_, actions) = world.want(2, &changed);
    assert_eq!((actions, world.leave(1)), (Vec::new(), Vec::new()));
    world.now += 2 * changed.startup_timeout;
    assert_eq!(world.tell(Event::Tick), []);
    assert_eq!(world.ledger.due(), None);
    assert_eq!(world.release(old, Parting::Leaving), [Action::Stop(number)]);
    assert!(matches!(world.ended(number)[..], [Action::Start(..)]));
}

#[test]
fn at_the_stop_instances_end_after_their_workers() {
    let mut world = World::new();
    let (_, number) = world.served(1, &launch("shop"));
    assert_eq!(world.tell(Event::Stop), [Action::Announce(number)]);
    assert_eq!(world.go(1), [Action::Stop(number)]);
    assert!(!world.ledger.is_empty());
    assert_eq!(world.ended(number), []);
    assert!(world.ledger.is_empty());
}

#[test]
fn a_worker_that_has_ended_gets_nothing() {
    let mut world = World::new();
    world.come(1);
    world.go(1);
    assert_eq!(world.want(1, &launch("shop")).1, []);
}
