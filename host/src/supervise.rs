//! The program as a supervisor: keeps the listening sockets, and a worker that serves on them.
//!
//! In: a configuration, signals, what workers report, and how they end. Out: orders to workers, and an exit code when all
//! of them have ended. Never: runs code of an application, reads a byte of what a client sends, waits for
//! anything but events, or decides anything itself: [`Plan`] does that.

mod changes;
mod commands;
mod crashes;
mod editions;
mod fresh;
mod justice;
mod logs;
mod reports;
mod said;
pub(crate) mod succession;
mod survey;
mod terms;
mod trials;
mod upkeep;
mod warm;
mod wishes;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use cohost::{
    config::Config,
    dispatcher::in_process::Pins,
    supervisor::{
        Exit as Ended,
        lending::{Lender, UNCLAIMED},
        life::Policy,
        worker::{
            self, Action, Children, Event, Generation, Heard, Order, Outcome, Overdue, Part, Plan, Preload,
            Process, Refused as Refusal, Start,
        },
    },
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use self::{
    changes::Changes, commands::Waiting, justice::Justice, succession::Followed, survey::Surveys,
    terms::terms, upkeep::Upkeep,
};
pub(crate) use self::{crashes::Crashes, terms::check};
use crate::{
    door::Door,
    edition::Edition,
    exit::{Exit, Refused},
    greeting::Greeting,
    hearing, hosting, log,
    next::Next,
    printed,
    runtime_dir::RuntimeDir,
    signals::{Signals, Terminal},
    sockets::Sockets,
    systemd,
    upgrade::Upgrade,
    wish::Wish,
};

/// Has workers serve `edition`, and its successors, until told to stop; says `greeting` once the first one does.
pub(crate) fn supervise(
    edition: Edition,
    greeting: Greeting,
    runtime_dir: &RuntimeDir,
) -> Result<Exit, Refused> {
    let changes = Changes::new(Pins::new(&std::env::temp_dir()).map_err(|error| {
        Exit::Failed.because(format!("cannot make a place for copies of libraries: {error}"))
    })?);
    let Next { mut edition, config, .. } = changes.first(edition)?;
    let mut sockets = Sockets::new(systemd::sockets());
    sockets.open(&config)?;
    sockets.close_kept();
    check(&edition, &config)?;
    let justice = Justice::left(runtime_dir, &mut edition, &config);
    let supervisor = || Ok(Supervisor::new((edition, config), greeting, sockets, changes, justice));
    watch(|| Door::open(runtime_dir), supervisor)
}

fn watch(
    door: impl FnOnce() -> Result<Door, Refused>,
    supervisor: impl FnOnce() -> Result<Supervisor, Refused>,
) -> Result<Exit, Refused> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For what may block: files. Decisions are made on this thread alone.
        .thread_name("cohost-blocking")
        .build()
        .map_err(|error| Exit::Failed.because(format!("cannot watch over workers: {error}")))?;
    runtime.block_on(async {
        let signals = Signals::to_stop_or_change()?;
        let children = Children::adopt()
            .map_err(|error| Exit::Failed.because(format!("cannot watch over workers: {error}")))?;
        hearing::hear();
        let door = door()?;
        let mut supervisor = supervisor()?;
        let outcome = supervisor.run(signals, children, door).await;
        Ok(match outcome {
            Outcome::Gracefully => Exit::Success,
            Outcome::Forced => Exit::Forced,
        })
    })
}

struct Supervisor {
    plan: Plan,
    /// What the plan wants done first.
    begin: Vec<Action>,
    sockets: Sockets,
    editions: BTreeMap<worker::Edition, (Edition, Config)>,
    last: worker::Edition,
    workers: BTreeMap<Generation, Worker>,
    heard: UnboundedReceiver<(Generation, Heard)>,
    hear: UnboundedSender<(Generation, Heard)>,
    greeting: Option<Greeting>,
    stop: Stop,
    changes: Changes,
    upgrade: Upgrade,
    followed: Option<Followed>,
    /// Where this program was started.
    directory: PathBuf,
    since: SystemTime,
    waiting: Waiting,
    surveys: Surveys,
    upkeep: Upkeep,
    crashes: Crashes,
    justice: Justice,
    lender: Lender,
}

struct Worker {
    process: Process,
    edition: worker::Edition,
    part: Part,
    since: SystemTime,
    /// Applications that it refuses from its start.
    refused: Vec<Refusal>,
    /// Whether it may have sockets to accept on.
    accepts: bool,
    /// Applications that it had before a change, and that finish what they have.
    retiring: Vec<String>,
    /// Applications that do not give back threads of it.
    stuck: BTreeSet<String>,
    end: End,
}

/// Whether somebody has told a worker to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Untold,
    Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    NotAsked,
    Asked,
}

impl Supervisor {
    fn new(
        (edition, config): (Edition, Config),
        greeting: Greeting,
        sockets: Sockets,
        changes: Changes,
        justice: Justice,
    ) -> Self {
        let first = worker::Edition(1);
        let (plan, begin) = Plan::new(Instant::now(), first, terms(&config), Policy::default());
        let idle = Self::idle(plan, (first, edition, config), sockets, changes, justice);
        Self { begin, greeting: Some(greeting), ..idle }
    }

    /// One that has no workers and no instances, and nothing to do, and serves this edition.
    fn idle(
        plan: Plan,
        (number, edition, config): (worker::Edition, Edition, Config),
        sockets: Sockets,
        changes: Changes,
        justice: Justice,
    ) -> Self {
        printed::keep(&config);
        changes.look_after(&edition, &config);
        let (hear, heard) = unbounded_channel();
        Self {
            plan,
            begin: Vec::new(),
            sockets,
            editions: BTreeMap::from([(number, (edition, config))]),
            last: number,
            workers: BTreeMap::new(),
            heard,
            hear,
            greeting: None,
            stop: Stop::NotAsked,
            changes,
            upgrade: Upgrade::None,
            followed: None,
            directory: std::env::current_dir().unwrap_or_default(),
            since: SystemTime::now(),
            waiting: Waiting::default(),
            surveys: Surveys::default(),
            upkeep: Upkeep::default(),
            crashes: Crashes::default(),
            justice,
            lender: Lender::new(hosting::runner(), UNCLAIMED),
        }
    }

    async fn run(&mut self, mut signals: Signals, mut children: Children, mut door: Door) -> Outcome {
        let mut terminal = Terminal::of_this_process();
        let mut alive = systemd::watchdog().map(tokio::time::interval);
        let begin = std::mem::take(&mut self.begin);
        let mut outcome = self.act(begin);
        // Instances end after the workers that had them.
        while outcome.is_none() || !self.lender.is_over() {
            let others = self.upkeep.due().into_iter().chain(self.trial_due()).chain(self.tickets_due());
            let due = self.plan.due().into_iter().chain(self.upgrade.due()).chain(others).min();
            let due = due.map_or_else(far, tokio::time::Instant::from_std);
            let events = tokio::select! {
                asked = signals.next() => self.asked(terminal.meant(asked)),
                Some((generation, heard)) = self.heard.recv() => self.heard(generation, heard),
                call = door.next() => self.called(call),
                Some(made) = self.changes.made.recv() => self.made(made),
                Some(tried) = self.justice.trials.told.recv() => self.tried(tried),
                Some(paths) = self.changes.changed.recv() => {
                    self.changes.wish(Wish::Look(paths), None);
                    Vec::new()
                }
                Some(told) = self.upkeep.told.recv() => self.read(&told),
                () = children.changed() => self.reap(&children),
                () = self.lender.turn() => Vec::new(),
                () = tokio::time::sleep_until(due) => vec![Event::Tick],
                () = tick(alive.as_mut()) => {
                    systemd::alive();
                    Vec::new()
                }
            };
            for event in events {
                outcome = outcome.or(self.tell(event));
            }
            let (in_force, _) = &self.editions[&self.plan.edition()];
            self.waiting.look(&self.workers, &mut self.lender, in_force);
            self.keep_fresh();
            self.age_tickets();
            self.go_on_with_changes();
            self.go_on_with_trials();
            if let Some(asked) = self.go_on_with_upgrade(&mut signals).await {
                for event in self.asked(terminal.meant(asked)) {
                    outcome = outcome.or(self.tell(event));
                }
            }
        }
        // Guards that outlive their worker for a moment, and what escaped from applications in process.
        children.end().await;
        printed::finish();
        let outcome = match self.lender.outcome() {
            Outcome::Gracefully => outcome.unwrap_or(Outcome::Forced),
            Outcome::Forced => Outcome::Forced,
        };
        self.waiting.end(outcome);
        door.close().await;
        outcome
    }

    fn tell(&mut self, event: Event) -> Option<Outcome> {
        let actions = self.plan.on(Instant::now(), event);
        self.act(actions)
    }

    fn serving(&mut self, generation: Generation) {
        let pid = self.workers.get(&generation).map(|worker| worker.process.pid());
        tracing::info!(worker = generation.0, pid, "worker serves");
        if let Some(greeting) = self.greeting.take() {
            greeting.say(|listen| self.sockets.address(listen));
            systemd::ready();
        }
    }

    fn reap(&mut self, children: &Children) -> Vec<Event> {
        let ended = children.reap(self.workers.values().map(|worker| &worker.process));
        ended.into_iter().filter_map(|(pid, exit)| self.ended(pid, exit)).flatten().collect()
    }

    /// `None` for a child that is no worker.
    fn ended(&mut self, pid: u32, exit: Ended) -> Option<Vec<Event>> {
        if let Some(why) = self.upgrade.ended(pid, exit) {
            self.upgrade_refused(&why);
        }
        let generation = *self.workers.iter().find(|(_, worker)| worker.process.pid() == pid)?.0;
        let worker = self.workers.remove(&generation)?;
        worker.process.last_words();
        self.surveys.ended(generation);
        self.lender.gone(generation);
        match worker.end {
            End::Told => self.ended_as_told(generation, &worker, exit),
            End::Untold => return Some(self.crashed(generation, &worker, exit)),
        }
        Some(vec![Event::Exited(generation, exit)])
    }

    /// Does what the plan wants; tells when nothing is left to do.
    fn act(&mut self, actions: Vec<Action>) -> Option<Outcome> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Start { generation, edition, part, preload } => {
                    if let Err(error) = self.start(generation, edition, part, preload) {
                        tracing::error!(worker = generation.0, %error, "cannot start a worker");
                        actions.extend(self.plan.on(Instant::now(), Event::NotStarted(generation)));
                    }
                }
                Action::Serve(generation) => self.serve(generation),
                Action::Change(generation, edition) => self.change(generation, edition),
                Action::GiveUp(generation) => self.give_up_change(generation),
                Action::Adopt(edition) => {
                    self.forgive(edition);
                    self.editions.retain(|other, _| *other >= edition);
                    self.close_unneeded();
                    printed::keep(&self.editions[&edition].1);
                    log::filter_as(&self.editions[&edition].1.log);
                    tracing::info!(edition = edition.0, "configuration in force");
                    self.say_ready();
                    self.became(edition, None);
                }
                Action::Refuse(edition, why) => {
                    self.editions.remove(&edition);
                    self.close_unneeded();
                    tracing::error!(
                        edition = edition.0,
                        ?why,
                        "configuration refused; the one in force stays"
                    );
                    self.say_ready();
                    self.became(edition, Some(why));
                }
                Action::Drain(generation) => self.tell_to_end(generation, &Order::Drain),
                Action::Hurry(generation) => self.tell_to_end(generation, &Order::Hurry),
                Action::Kill(generation, overdue) => self.kill(generation, overdue),
                Action::End(outcome) => return Some(outcome),
            }
        }
        None
    }

    fn start(
        &mut self,
        generation: Generation,
        edition: worker::Edition,
        part: Part,
        preload: Preload,
    ) -> std::io::Result<()> {
        let written = serde_json::to_value(&self.editions[&edition].0)?;
        let program = Path::new("/proc/self/exe");
        let log = std::io::stderr().as_fd().try_clone_to_owned()?;
        let process = Process::start(program, generation, &systemd::HIDDEN, self.hear.clone())?;
        process.prints_for(printed::only(&self.editions[&edition], &part));
        match part {
            Part::Everything => {
                tracing::info!(
                    worker = generation.0,
                    pid = process.pid(),
                    edition = edition.0,
                    "worker starts"
                );
            }
            Part::Safe { why, retry_after } => tracing::error!(
                worker = generation.0,
                pid = process.pid(),
                ?why,
                ?retry_after,
                "workers crash; starting one without the applications in process until the next try"
            ),
        }
        let refused = self.tell_refused(edition, &process);
        let version = worker::VERSION;
        // One that waits for a crash needs nothing of this: it would hold what nobody may ever want.
        let old = self.serving_worker().filter(|_| part == Part::Everything && preload == Preload::All);
        let start = Start { version, generation, part, preload, edition: written, warm: old.is_some() };
        process.begin(start, Arc::new(log));
        self.lender.came(generation, process.voice());
        if let Some(old) = old {
            self.warm(&process, old);
        }
        self.workers.insert(
            generation,
            Worker {
                process,
                edition,
                part,
                since: SystemTime::now(),
                refused,
                accepts: false,
                retiring: Vec::new(),
                stuck: BTreeSet::new(),
                end: End::Untold,
            },
        );
        Ok(())
    }

    fn serve(&mut self, generation: Generation) {
        let Some(worker) = self.workers.get_mut(&generation) else { return };
        worker.accepts = true;
        for socket in self.sockets.of(&self.editions[&worker.edition].1) {
            worker.process.hand(socket);
        }
        worker.process.order(&Order::Serve);
    }

    fn tell_to_end(&mut self, generation: Generation, order: &Order) {
        let Some(worker) = self.workers.get_mut(&generation) else { return };
        worker.end = End::Told;
        worker.process.order(order);
        self.lender.leaves(generation);
    }

    fn kill(&mut self, generation: Generation, overdue: Overdue) {
        let Some(worker) = self.workers.get_mut(&generation) else { return };
        let message = match overdue {
            Overdue::Start => "worker did not start in time; killing it",
            Overdue::Stop => "worker did not end in time; killing it",
            Overdue::Hung => "worker closed the conversation and did not end; killing it",
        };
        tracing::error!(worker = generation.0, pid = worker.process.pid(), "{message}");
        worker.end = End::Told;
        worker.process.kill();
    }

    /// Tells the service manager that a change has ended. Not before the host serves at all, or when it ends: then it would
    /// take that for news of another kind.
    fn say_ready(&self) {
        if self.greeting.is_none() && self.stop == Stop::NotAsked {
            systemd::ready();
        }
    }

    fn close_unneeded(&mut self) {
        self.sockets.keep(self.editions.values().map(|(_, config)| config));
    }
}

async fn tick(interval: Option<&mut tokio::time::Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

fn far() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(24 * 60 * 60)
}
