//! What the supervisor does about applications that end workers.
//!
//! In: how a worker ended, and what its flight recorder says. Out: a line in the log, orders to refuse an application,
//! and an event for the plan, which need not be patient with workers if an application is known to be the cause.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use cohost::{
    HostingModel,
    config::{Application, Config},
    supervisor::{
        Exit,
        life::{Policy, Why},
        worker::{
            self, Blame, Culprit, Event, Evidence, Generation, Held, Leniency, Order, Process, Refuse,
            Refused, Stage, Stuck, Verdict, Verdicts,
        },
    },
};

use super::{Supervisor, Worker, trials::Trials};
use crate::{
    crash::{self, While},
    decisions::Decisions,
    edition::Edition,
    runtime_dir::RuntimeDir,
    standing::Described,
    wish::Wish,
};

/// What is known of applications that have ended workers, and which workers refuse which of them from their start.
pub(super) struct Justice {
    pub(super) verdicts: Verdicts,
    pub(super) trials: Trials,
    decisions: Decisions,
}

impl Justice {
    /// With what was decided before the host ended, put in force.
    pub(super) fn left(runtime_dir: &RuntimeDir, edition: &mut Edition, config: &Config) -> Self {
        let decisions = Decisions::left(runtime_dir, edition);
        decisions.apply(edition, config);
        Self::new(decisions, Verdicts::default())
    }

    pub(super) fn new(decisions: Decisions, verdicts: Verdicts) -> Self {
        Self { verdicts, trials: Trials::default(), decisions }
    }
}

impl Supervisor {
    /// A worker has ended, and nobody had told it to.
    pub(super) fn crashed(&mut self, generation: Generation, worker: &Worker, exit: Exit) -> Vec<Event> {
        let blame = Blame::of(&worker.process.recording(), exit);
        crash::report(generation, worker.process.pid(), exit, &blame, While::Serving);
        self.crashes.note(exit, &blame, &worker.process.output_tail());
        let back = match worker.edition == self.plan.edition() {
            true => self.go_back(blame.culprit.as_ref().map(|culprit| &*culprit.application)),
            false => Vec::new(),
        };
        let Some(culprit) = blame.culprit else { return vec![Event::Exited(generation, exit)] };
        // What was not even started there cannot have done it: the evidence misleads.
        if worker.refuses(&culprit.application, Instant::now()) {
            return vec![Event::Exited(generation, exit)];
        }
        let changing = self.plan.is_changing(generation);
        let spared = changing && is_certain(culprit.evidence) && self.spare(&culprit.application);
        // Of a configuration that is not in force, and will not be; or perhaps of one that it was changing to.
        if worker.edition != self.plan.edition() || changing && !spared {
            return vec![Event::Exited(generation, exit)];
        }
        let ready = self.plan.is_ready(generation);
        let stage = if ready && !culprit.starting { Stage::Running } else { Stage::Starting };
        self.judge(&culprit.application, stage, format!("{exit}{}", at(&culprit)));
        if back.contains(&culprit.application) {
            self.justice.verdicts.hold(&culprit.application);
            self.refuse(&culprit.application, Instant::now());
        }
        vec![Event::Felled(generation, exit)]
    }

    /// A worker has ended that was told to. If it crashed meanwhile, the requests that it still had are lost all the same;
    /// but nothing has to be done about it.
    pub(super) fn ended_as_told(&mut self, generation: Generation, worker: &Worker, exit: Exit) {
        let pid = worker.process.pid();
        if !matches!(exit, Exit::Signal(signal) if signal != KILL) {
            tracing::info!(worker = generation.0, pid, %exit, "worker ended");
            return;
        }
        let blame = Blame::of(&worker.process.recording(), exit);
        crash::report(generation, pid, exit, &blame, While::Ending);
        self.crashes.note(exit, &blame, &worker.process.output_tail());
    }

    /// An application does not give back a thread of a worker.
    pub(super) fn stuck(&mut self, generation: Generation, stuck: &Stuck) -> Vec<Event> {
        let Some(worker) = self.workers.get_mut(&generation) else { return Vec::new() };
        // A lock that nobody lets go of holds one thread after the other: that is one hang, and one worker to replace.
        if !worker.stuck.insert(stuck.application.clone()) {
            return Vec::new();
        }
        tracing::error!(
            worker = generation.0,
            pid = worker.process.pid(),
            application = stuck.application,
            "worker is replaced, because an application hangs in it"
        );
        let events = vec![Event::Recycle(generation)];
        let of_current = worker.edition == self.plan.edition();
        if self.plan.is_changing(generation) {
            self.spare(&stuck.application);
        }
        if of_current {
            let what = format!("a hang at {}", stuck.at);
            self.judge(&stuck.application, Stage::Running, what);
        }
        events
    }

    /// Whether the change that is under way has nothing to do with this application. Then it is made again, with the next
    /// worker: nobody should have to wish for it once more because somebody else has ended this one.
    fn spare(&mut self, application: &str) -> bool {
        let Some(number) = self.changes.proposal() else { return false };
        let spared = !self.differ(self.plan.edition(), number).contains(application);
        if spared {
            self.changes.spare();
        }
        spared
    }

    fn judge(&mut self, application: &str, stage: Stage, what: String) {
        let leniency = self.written(application).map(leniency).unwrap_or_default();
        let now = Instant::now();
        match self.justice.verdicts.ended(now, application, stage, leniency, what.clone()) {
            Verdict::GoesOn => {}
            Verdict::Demoted => self.demote(application, what),
            Verdict::Refused(until, why) => {
                let retry_after = until.saturating_duration_since(now);
                tracing::error!(
                    application,
                    ?why,
                    ?retry_after,
                    "application refused until then, because of its crashes; the others are served"
                );
                self.refuse(application, now);
            }
        }
    }

    /// Tells all workers what there is against an application.
    pub(super) fn refuse(&self, application: &str, now: Instant) {
        let refused = self.justice.verdicts.refused(now).find(|it| it.application == application);
        if let Some(refused) = refused {
            let order = Order::Refuse(refuse(&refused, now));
            self.workers.values().for_each(|worker| worker.process.order(&order));
        }
    }

    /// Nobody waits any more for an application to become what it was before it changed.
    pub(super) fn let_go(&mut self, application: &str) {
        if self.justice.verdicts.let_go(application) {
            self.allow(application);
        }
    }

    /// Tells workers that there is nothing against an application any more. Those of an earlier edition end, and may have
    /// another generation of it, against which there still is.
    pub(super) fn allow(&mut self, application: &str) {
        let order = Order::Allow { application: application.to_owned() };
        let edition = self.plan.edition();
        for worker in self.workers.values_mut().filter(|worker| worker.edition >= edition) {
            worker.refused.retain(|refused| refused.application != application);
            worker.process.order(&order);
        }
    }

    /// Has an application run in a process of its own from now on.
    fn demote(&mut self, application: &str, what: String) {
        tracing::error!(
            application,
            last = what,
            "application demoted: it crashed too often in the host's process, and gets one of its own until it is \
             promoted"
        );
        self.justice.decisions.demoted(application, what);
        self.changes.wish(Wish::Host(application.to_owned(), HostingModel::OutOfProcess), None);
    }

    /// Tells a worker that is to serve this edition whom to refuse: nobody that is another one there. Returns them.
    pub(super) fn tell_refused(&self, edition: worker::Edition, process: &Process) -> Vec<Refused> {
        let now = Instant::now();
        let others = self.differ(self.plan.edition(), edition);
        let refused = self.justice.verdicts.refused(now).filter(|it| !others.contains(&*it.application));
        refused.inspect(|refused| process.order(&Order::Refuse(refuse(refused, now)))).collect()
    }

    /// There is another edition in force: what was done by those that are others there does not count any more.
    pub(super) fn forgive(&mut self, edition: worker::Edition) {
        let before = self.editions.first_key_value().map_or(edition, |(before, _)| *before);
        let mut forgiven = self.differ(before, edition);
        forgiven.iter().for_each(|application| self.justice.verdicts.forget(application));
        if self.changes.forgives_all(edition) {
            self.justice.verdicts.forgive();
            forgiven.extend(applications(&self.editions[&edition].1).map(|it| it.name.to_string()));
        }
        forgiven.iter().for_each(|application| self.lender.forgive(application));
        for refused in self.justice.verdicts.refused(Instant::now()) {
            forgiven.remove(&refused.application);
        }
        forgiven.iter().for_each(|application| self.allow(application));
        let (edition, config) = &self.editions[&self.plan.edition()];
        self.justice.decisions.keep(edition, config);
    }

    pub(super) fn written(&self, application: &str) -> Option<&Application> {
        let config = &self.editions.get(&self.plan.edition())?.1;
        applications(config).find(|written| &*written.name == application)
    }

    /// The applications that are not the same in both editions.
    fn differ(&self, one: worker::Edition, other: worker::Edition) -> BTreeSet<String> {
        let (Some(one), Some(other)) = (self.editions.get(&one), self.editions.get(&other)) else {
            return BTreeSet::new();
        };
        let described = |(edition, config): &(Edition, Config)| -> BTreeMap<String, Described> {
            let all = applications(config).map(|it| (it.name.to_string(), edition.described(it)));
            all.collect()
        };
        let (one, other) = (described(one), described(other));
        let names = one.keys().chain(other.keys());
        names.filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
    }
}

impl Worker {
    /// Whether it has refused this application all the time.
    fn refuses(&self, application: &str, now: Instant) -> bool {
        let refused = self.refused.iter().find(|refused| refused.application == application);
        refused.is_some_and(|refused| refused.held != Held::No || refused.until > now)
    }
}

fn applications(config: &Config) -> impl Iterator<Item = &Application> {
    config.sites.iter().flat_map(|site| &site.applications)
}

/// Whether the application did it for certain, and not only for want of others.
fn is_certain(evidence: Evidence) -> bool {
    matches!(evidence, Evidence::Thread | Evidence::Code | Evidence::Stack)
}

fn leniency(application: &Application) -> Leniency {
    let rapid_fails_per_minute = application.options.rapid_fails_per_minute;
    Leniency {
        policy: Policy { rapid_fails_per_minute, ..Policy::default() },
        demote_after: application.demote_after,
        trial: application.trial,
    }
}

/// As a worker is told.
fn refuse(refused: &Refused, now: Instant) -> Refuse {
    let last = &refused.last;
    let detail = match (refused.why, refused.held) {
        (Why::FailFast, _) => {
            format!("it ended workers, or did not start, too often within a minute; the last time: {last}")
        }
        (Why::BackingOff, Held::UntilChanged) => {
            format!("it ended a worker right after a change, which is being undone: {last}")
        }
        (Why::BackingOff, _) => format!("it ended a worker when it was started: {last}"),
    };
    Refuse {
        application: refused.application.clone(),
        why: refused.why,
        detail,
        retry_after: refused.until.saturating_duration_since(now),
        held: refused.held != Held::No,
    }
}

/// Sent by us to whoever is late, which has been said.
const KILL: i32 = 9;

fn at(culprit: &Culprit) -> String {
    match &culprit.request {
        Some(request) if !request.path.is_empty() => {
            format!(" at {} {} (request {})", request.method, request.path, request.id)
        }
        _ if culprit.starting => " while it started".to_owned(),
        _ => String::new(),
    }
}
