//! What the supervisor does about applications that end workers.
//!
//! In: how a worker ended, and what its flight recorder says. Out: a line in the log, orders to refuse an application,
//! and an event for the plan, which need not be patient with workers if an application is known to be the cause.

use std::time::Instant;

use cohost::{
    HostingModel,
    config::{Application, Config},
    supervisor::{
        Exit,
        life::{Policy, Why},
        worker::{
            Blame, Culprit, Event, Generation, Leniency, Order, Process, Refuse, Refused, Stage, Stuck,
            Verdict, Verdicts,
        },
    },
};

use super::{Supervisor, Worker};
use crate::{crash, demotions::Demotions, edition::Edition, runtime_dir::RuntimeDir, wish::Wish};

/// What is known of applications that have ended workers, and which workers refuse which of them from their start.
pub(super) struct Justice {
    verdicts: Verdicts,
    demotions: Demotions,
}

impl Justice {
    /// With the demotions that the host has left when it ended, put in force.
    pub(super) fn left(runtime_dir: &RuntimeDir, edition: &mut Edition, config: &Config) -> Self {
        let demotions = Demotions::left(runtime_dir);
        demotions.apply(edition, config);
        Self::new(demotions)
    }

    pub(super) fn new(demotions: Demotions) -> Self {
        Self { verdicts: Verdicts::default(), demotions }
    }
}

impl Supervisor {
    /// A worker has ended, and nobody had told it to.
    pub(super) fn crashed(&mut self, generation: Generation, worker: &Worker, exit: Exit) -> Vec<Event> {
        let blame = Blame::of(&worker.process.recording(), exit);
        crash::report(generation, worker.process.pid(), exit, &blame);
        self.crashes.note(exit, &blame);
        if worker.edition == self.plan.edition() {
            self.go_back(blame.culprit.as_ref().map(|culprit| &*culprit.application));
        }
        let Some(culprit) = blame.culprit else { return vec![Event::Exited(generation, exit)] };
        // What was not even started there cannot have done it: the evidence misleads.
        if worker.refused.contains(&culprit.application) {
            return vec![Event::Exited(generation, exit)];
        }
        // Of a configuration that is not in force, and will not be; or perhaps of one that it was changing to.
        if worker.edition != self.plan.edition() || self.plan.is_changing(generation) {
            return vec![Event::Exited(generation, exit)];
        }
        let ready = self.plan.is_ready(generation);
        let stage = if ready && !culprit.starting { Stage::Running } else { Stage::Starting };
        self.judge(&culprit.application, stage, format!("{exit}{}", at(&culprit)));
        vec![Event::Felled(generation, exit)]
    }

    /// An application does not give back a thread of a worker.
    pub(super) fn stuck(&mut self, generation: Generation, stuck: &Stuck) -> Vec<Event> {
        let Some(worker) = self.workers.get(&generation) else { return Vec::new() };
        tracing::error!(
            worker = generation.0,
            pid = worker.process.pid(),
            application = stuck.application,
            "worker is replaced, because an application hangs in it"
        );
        let events = vec![Event::Recycle(generation)];
        if worker.edition == self.plan.edition() {
            let what = format!("a hang at {}", stuck.at);
            self.judge(&stuck.application, Stage::Running, what);
        }
        events
    }

    fn judge(&mut self, application: &str, stage: Stage, what: String) {
        let leniency = self.written(application).map(leniency).unwrap_or_default();
        let now = Instant::now();
        match self.justice.verdicts.ended(now, application, stage, leniency, what.clone()) {
            Verdict::GoesOn => {}
            Verdict::Demoted => self.demote(application, what),
            Verdict::Refused(until, why) => {
                let told = self.justice.verdicts.refused(now).find(|it| it.application == application);
                let retry_after = until.saturating_duration_since(now);
                tracing::error!(
                    application,
                    ?why,
                    ?retry_after,
                    "application refused until then, because of its crashes; the others are served"
                );
                if let Some(refused) = told {
                    let order = Order::Refuse(refuse(&refused, now));
                    self.workers.values().for_each(|worker| worker.process.order(&order));
                }
            }
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
        self.justice.demotions.note(application, what);
        self.changes.wish(Wish::Host(application.to_owned(), HostingModel::OutOfProcess), None);
    }

    /// Tells a worker that is starting whom to refuse. Returns their names.
    pub(super) fn tell_refused(&self, process: &Process) -> Vec<String> {
        let now = Instant::now();
        let refused = self.justice.verdicts.refused(now);
        refused
            .map(|refused| {
                process.order(&Order::Refuse(refuse(&refused, now)));
                refused.application
            })
            .collect()
    }

    /// There is another edition in force: what was done before does not count any more.
    pub(super) fn forgive(&mut self) {
        self.justice.verdicts.forget();
        for worker in self.workers.values_mut() {
            worker.refused.clear();
            worker.process.order(&Order::Allow);
        }
        let (edition, config) = &self.editions[&self.plan.edition()];
        self.justice.demotions.keep(edition, config);
    }

    fn written(&self, application: &str) -> Option<&Application> {
        let config = &self.editions.get(&self.plan.edition())?.1;
        let mut all = config.sites.iter().flat_map(|site| &site.applications);
        all.find(|written| &*written.name == application)
    }
}

fn leniency(application: &Application) -> Leniency {
    let rapid_fails_per_minute = application.options.rapid_fails_per_minute;
    Leniency {
        policy: Policy { rapid_fails_per_minute, ..Policy::default() },
        demote_after: application.demote_after,
    }
}

/// As a worker is told.
fn refuse(refused: &Refused, now: Instant) -> Refuse {
    let detail = match refused.why {
        Why::FailFast => {
            format!("it ended too many workers within a minute; the last time: {}", refused.last)
        }
        Why::BackingOff => format!("it ended a worker when it was started: {}", refused.last),
    };
    Refuse {
        application: refused.application.clone(),
        why: refused.why,
        detail,
        retry_after: refused.until.saturating_duration_since(now),
    }
}

fn at(culprit: &Culprit) -> String {
    match &culprit.request {
        Some(request) if !request.path.is_empty() => {
            format!(" at {} {} (request {})", request.method, request.path, request.id)
        }
        _ if culprit.starting => " while it started".to_owned(),
        _ => String::new(),
    }
}
