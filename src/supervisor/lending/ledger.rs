//! Who has which instance: decisions, and nothing else.
//!
//! In: what workers want and let go of, what became of starts, and the time. Out: what to do about it, in this order.
//! Never: starts, asks or stops anything, or looks at a clock.
//!
//! Each [`Action::Start`] is answered by one of [`Event::Started`], [`Event::NotStarted`], also one that was called
//! off; each instance that has started, by [`Event::Ended`] at last. Whatever runs is held by a worker that lives, or
//! has a time at which it is stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::{Launch, Listen, patience::Why, worker::Generation},
    failures::Failures,
    message::{Ask, Found, Parting},
};

/// An instance, counted from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(pub(super) u64);

/// A wish of one of the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Loan {
    pub(super) worker: Generation,
    pub(super) ask: Ask,
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A worker was started.
    Came(Generation),
    /// A worker was told to end.
    Leaves(Generation),
    /// A worker has ended, however it did.
    Gone(Generation),
    /// A worker wants an instance.
    Wanted(Loan, Arc<Launch>),
    /// A worker has no more use for one.
    Released(Loan, Parting),
    /// A worker has tried one, with this outcome.
    Tried(Loan, Fitness),
    /// An instance is ready.
    Started(Number),
    /// There is no instance, and nothing left of one.
    NotStarted(Number),
    /// An instance has ended.
    Ended(Number),
    /// What this application has is wanted by nobody any more, but for those who have it.
    Dismissed(Arc<str>),
    /// The host stops: nothing stays that no worker has.
    Stop,
    /// Time went by.
    Tick,
}

/// What came of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fitness {
    Fit,
    Unfit,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Start an instance.
    Start(Number, Arc<Launch>),
    /// Tell the worker that it has this one.
    Lend(Loan, Number, Found),
    /// Tell the worker that the start failed which it waited for, or that its trial counts, and until when there is no
    /// other.
    Fail(Loan, Option<Pause>),
    /// Tell the worker that the application failed before, and is not tried now.
    Refuse(Loan, Arc<Launch>, Pause),
    /// Tell the worker that the port it wants is that of another instance, and stays so.
    PortHeld(Loan, u16),
    /// Tell the worker that its instance has ended.
    TellEnd(Loan),
    /// Tell the worker that the instance it let go of goes on.
    TellKept(Loan),
    /// Tell the instance that its end is near.
    Announce(Number),
    /// Stop the instance.
    Stop(Number),
    /// Give up a start, and end what it has started.
    CallOff(Number),
}

/// Until when something is not tried, and why.
pub(super) type Pause = (Instant, Why);

/// Who has which instance.
#[derive(Debug)]
pub(super) struct Ledger {
    instances: BTreeMap<Number, Entry>,
    /// Wishes for a port that another instance has.
    waiting: Vec<Waiting>,
    workers: BTreeSet<Generation>,
    /// Those that were told to end, and have a limit for it.
    leaving: BTreeSet<Generation>,
    pub(super) failures: Failures,
    last: Number,
    /// How long an instance is kept that no worker has.
    unclaimed: Duration,
    stopping: bool,
    /// The latest that was heard of.
    now: Instant,
    actions: Vec<Action>,
}

#[derive(Debug)]
struct Entry {
    launch: Arc<Launch>,
    phase: Phase,
    /// Those who have it, or wait for its start or its end.
    loans: BTreeSet<Loan>,
    /// When it is stopped, if nobody wants it before.
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Stopping,
}

#[derive(Debug)]
struct Waiting {
    loan: Loan,
    launch: Arc<Launch>,
    until: Instant,
}

impl Ledger {
    pub(super) fn new(now: Instant, unclaimed: Duration) -> Self {
        Self {
            instances: BTreeMap::new(),
            waiting: Vec::new(),
            workers: BTreeSet::new(),
            leaving: BTreeSet::new(),
            failures: Failures::default(),
            last: Number(0),
            unclaimed,
            stopping: false,
            now,
            actions: Vec::new(),
        }
    }

    /// What to do about an event.
    pub(super) fn on(&mut self, now: Instant, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        match event {
            Event::Came(worker) => drop(self.workers.insert(worker)),
            Event::Leaves(worker) => drop(self.leaving.insert(worker)),
            Event::Gone(worker) => self.gone(worker),
            Event::Wanted(loan, launch) => {
                let until = self.now + launch.startup_timeout;
                self.wanted(loan, launch, until);
            }
            Event::Released(loan, parting) => self.released(loan, parting),
            Event::Tried(loan, fitness) => self.tried(loan, fitness),
            Event::Started(number) => self.started(number),
            Event::NotStarted(number) => self.not_started(number),
            Event::Ended(number) => self.ended(number),
            Event::Dismissed(application) => self.dismissed(&application),
            Event::Stop => self.stop(),
            Event::Tick => {}
        }
        self.settle();
        std::mem::take(&mut self.actions)
    }

    /// When to tell that time went by, if nothing else happens before.
    pub(super) fn due(&self) -> Option<Instant> {
        let unclaimed = self.instances.values().filter_map(|entry| entry.until);
        let in_vain = self.waiting.iter().filter(|waiting| !self.will_be_free(&waiting.launch));
        unclaimed.chain(in_vain.map(|waiting| waiting.until)).min()
    }

    /// Whether nothing runs.
    pub(super) fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// Whether this application has one, or is about to.
    pub(super) fn has(&self, application: &str) -> bool {
        self.instances.values().any(|entry| *entry.launch.application == *application)
    }

    /// Whether nothing starts or ends, and nobody waits.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.instances.values().all(|entry| entry.phase == Phase::Running)
    }

    /// What a worker has.
    pub(super) fn lent(&self, loan: Loan) -> Option<&Arc<Launch>> {
        self.instances.values().find(|entry| entry.loans.contains(&loan)).map(|entry| &entry.launch)
    }

    /// Who has it.
    pub(super) fn loans(&self, number: Number) -> impl Iterator<Item = Loan> {
        self.instances.get(&number).into_iter().flat_map(|entry| entry.loans.iter().copied())
    }

    /// An instance that runs, with those who have it: from the ledger before this one.
    pub(super) fn resume(&mut self, number: Number, launch: Arc<Launch>, loans: impl Iterator<Item = Loan>) {
        let loans: BTreeSet<_> = loans.collect();
        self.workers.extend(loans.iter().map(|loan| loan.worker));
        self.last = self.last.max(number);
        // Its time begins anew; the next event sees to it.
        let until = Some(self.now + self.unclaimed).filter(|_| loans.is_empty());
        self.instances.insert(number, Entry { launch, phase: Phase::Running, loans, until });
    }

    /// Whether the host stops.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether it runs, and nobody has asked it to end.
    pub(super) fn is_running(&self, number: Number) -> bool {
        self.instances.get(&number).is_some_and(|entry| entry.phase == Phase::Running)
    }

    /// Whether it runs, and no worker has it.
    pub(super) fn is_unclaimed(&self, number: Number) -> bool {
        self.is_running(number) && self.loans(number).next().is_none()
    }

    fn wanted(&mut self, loan: Loan, launch: Arc<Launch>, until: Instant) {
        // Said by one that has ended meanwhile, it would be held for ever.
        if !self.workers.contains(&loan.worker) {
            return;
        }
        // Never the same one twice to one worker: one that it has and wants again is to be replaced.
        let fits = |entry: &Entry| {
            entry.launch == launch
                && entry.phase != Phase::Stopping
                && entry.loans.iter().all(|other| other.worker != loan.worker)
        };
        // The newest, if there are several.
        if let Some((number, entry)) = self.instances.iter_mut().rev().find(|(_, entry)| fits(entry)) {
            entry.loans.insert(loan);
            entry.until = None;
            if entry.phase == Phase::Running {
                self.actions.push(Action::Lend(loan, *number, Found::Running));
            }
            return;
        }
        if self.has_holder(&launch) {
            self.waiting.push(Waiting { loan, launch, until });
        } else if let Some(pause) = self.failures.refused(self.now, &launch) {
            self.actions.push(Action::Refuse(loan, launch, pause));
        } else {
            self.start(loan, launch);
        }
    }

    fn start(&mut self, loan: Loan, launch: Arc<Launch>) {
        self.last = Number(self.last.0 + 1);
        let loans = BTreeSet::from([loan]);
        let entry = Entry { launch: Arc::clone(&launch), phase: Phase::Starting, loans, until: None };
        self.instances.insert(self.last, entry);
        self.actions.push(Action::Start(self.last, launch));
    }

    /// Whether an instance has the one port that this may listen on.
    fn has_holder(&self, launch: &Launch) -> bool {
        let wanted = port(launch);
        wanted.is_some() && self.instances.values().any(|entry| port(&entry.launch) == wanted)
    }

    /// Whether those that have the port of `launch` end within limits of their own: they stop, or their workers do.
    fn will_be_free(&self, launch: &Launch) -> bool {
        let wanted = port(launch);
        let leaves = |entry: &Entry| entry.loans.iter().all(|loan| self.leaving.contains(&loan.worker));
        let mut holders = self.instances.values().filter(|entry| port(&entry.launch) == wanted);
        holders.all(|entry| match entry.phase {
            Phase::Stopping => true,
            Phase::Starting | Phase::Running => !entry.loans.is_empty() && leaves(entry),
        })
    }

    fn started(&mut self, number: Number) {
        let Some(entry) = self.instances.get_mut(&number) else { return };
        // It was called off too late.
        if entry.phase == Phase::Stopping {
            self.actions.push(Action::Stop(number));
            return;
        }
        entry.phase = Phase::Running;
        // Otherwise that is to be seen.
        if !entry.launch.tried {
            self.failures.started(self.now, &entry.launch);
        }
        // The first is the one for whom it was started; it may have ended meanwhile, which makes no difference.
        let mut found = Found::Started;
        for loan in &entry.loans {
            self.actions.push(Action::Lend(*loan, number, found));
            found = Found::Running;
        }
    }

    fn tried(&mut self, loan: Loan, fitness: Fitness) {
        let launch = self.lent(loan).cloned();
        match (fitness, launch) {
            (Fitness::Fit, Some(launch)) => self.failures.started(self.now, &launch),
            (Fitness::Fit, None) => {}
            (Fitness::Unfit, launch) => {
                let pause = launch.and_then(|launch| {
                    self.failures.start_failed(self.now, &launch);
                    self.failures.refused(self.now, &launch)
                });
                // Also if it has ended meanwhile, which counted then: the worker waits for this.
                self.actions.push(Action::Fail(loan, pause));
            }
        }
    }

    fn not_started(&mut self, number: Number) {
        let Some(Entry { launch, loans, phase, .. }) = self.instances.remove(&number) else { return };
        // Otherwise it was called off, which is no failure.
        if phase == Phase::Starting {
            self.failures.start_failed(self.now, &launch);
        }
        let pause = self.failures.refused(self.now, &launch);
        self.actions.extend(loans.into_iter().map(|loan| Action::Fail(loan, pause)));
        self.retry();
    }

    fn ended(&mut self, number: Number) {
        let Some(Entry { launch, loans, phase, .. }) = self.instances.remove(&number) else { return };
        // Nobody had asked it to.
        if phase == Phase::Running {
            self.failures.crashed(self.now, &launch);
        }
        self.actions.extend(loans.into_iter().map(Action::TellEnd));
        self.retry();
    }

    /// Who waited for a port may have it now, or waits for the next one.
    fn retry(&mut self) {
        for Waiting { loan, launch, until } in std::mem::take(&mut self.waiting) {
            self.wanted(loan, launch, until);
        }
    }

    fn released(&mut self, loan: Loan, parting: Parting) {
        self.waiting.retain(|waiting| waiting.loan != loan);
        let Some((number, entry)) = self.instances.iter_mut().find(|(_, entry)| entry.loans.contains(&loan))
        else {
            return;
        };
        let number = *number;
        match (entry.phase, parting) {
            // It is told of the end, as it waits for that.
            (Phase::Running, Parting::ForGood) if entry.loans.len() == 1 => self.end(number),
            (Phase::Stopping, Parting::ForGood) => {}
            (Phase::Starting, Parting::ForGood) if entry.loans.len() == 1 => self.call_off(number),
            (phase, _) => {
                entry.loans.remove(&loan);
                if phase == Phase::Running && parting == Parting::ForGood {
                    self.actions.push(Action::TellKept(loan));
                }
            }
        }
    }

    fn gone(&mut self, worker: Generation) {
        self.workers.remove(&worker);
        self.leaving.remove(&worker);
        self.waiting.retain(|waiting| waiting.loan.worker != worker);
        for entry in self.instances.values_mut() {
            entry.loans.retain(|loan| loan.worker != worker);
        }
    }

    fn dismissed(&mut self, application: &str) {
        let now = self.now;
        let its = |entry: &&mut Entry| entry.loans.is_empty() && *entry.launch.application == *application;
        self.instances.values_mut().filter(its).for_each(|entry| entry.until = Some(now));
    }

    fn stop(&mut self) {
        if !self.stopping {
            self.stopping = true;
            let running = self.those(|entry| entry.phase == Phase::Running);
            self.actions.extend(running.into_iter().map(Action::Announce));
        }
    }

    /// Sees to those that no worker has, and to those who wait for too long.
    fn settle(&mut self) {
        let (now, until) = (self.now, self.now + self.unclaimed);
        let wanted_ports: Vec<_> = self.waiting.iter().map(|waiting| port(&waiting.launch)).collect();
        for number in self.those(|entry| entry.loans.is_empty()) {
            let Some(entry) = self.instances.get_mut(&number) else { continue };
            match entry.phase {
                Phase::Running if self.stopping => self.end(number),
                Phase::Starting if self.stopping => self.call_off(number),
                Phase::Running if wanted_ports.contains(&port(&entry.launch)) => self.end(number),
                Phase::Running if *entry.until.get_or_insert(until) <= now => self.end(number),
                // The next worker may want just this; and when it has started, its time runs.
                Phase::Running | Phase::Starting | Phase::Stopping => {}
            }
        }
        let (in_vain, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.until <= now && !self.will_be_free(&waiting.launch));
        self.waiting = waiting;
        let in_vain: Vec<Waiting> = in_vain;
        let held =
            |waiting: Waiting| Action::PortHeld(waiting.loan, port(&waiting.launch).unwrap_or_default());
        self.actions.extend(in_vain.into_iter().map(held));
    }

    fn end(&mut self, number: Number) {
        let Some(entry) = self.instances.get_mut(&number) else { return };
        entry.phase = Phase::Stopping;
        entry.until = None;
        self.actions.push(Action::Stop(number));
    }

    /// It is there until nothing of it is left: its port may not be free before, nor its files.
    fn call_off(&mut self, number: Number) {
        let Some(entry) = self.instances.get_mut(&number) else { return };
        entry.phase = Phase::Stopping;
        entry.loans.clear();
        self.actions.push(Action::CallOff(number));
    }

    fn those(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Number> {
        let those = self.instances.iter().filter(|(_, entry)| wanted(entry));
        those.map(|(number, _)| *number).collect()
    }
}

fn port(launch: &Launch) -> Option<u16> {
    match launch.listen() {
        Listen::FixedPort(port) => Some(port),
        Listen::Port | Listen::Socket => None,
    }
}
