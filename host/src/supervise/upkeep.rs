//! Upkeep: replaces applications, and workers, by fresh ones although nothing is wrong, as the configuration says.
//!
//! In: the edition in force, what workers tell of their applications, the memory of processes, the time. Out: wishes, each
//! with its reason. Never: decides that something is due, which [`Recycling`] does; or waits for a worker.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use cohost::{
    HostingModel, admin,
    config::Config,
    options::Recycle,
    supervisor::{
        memory,
        recycling::{Moment, Reading, Reason, Recycling},
        worker::{self, Event, Generation, Order},
    },
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

use super::{Stop, Supervisor};
use crate::{edition::Edition, standing::Described, wish::Wish};

/// What is kept fresh.
pub(super) struct Upkeep {
    applications: BTreeMap<String, Kept>,
    /// The worker that serves, and how much memory it may have.
    worker: Option<(u64, Recycling)>,
    /// Of what all this is.
    of: Of,
    /// When somebody asks next what cannot be told by time alone.
    ask: Option<Instant>,
    tell: UnboundedSender<Told>,
    pub(super) told: UnboundedReceiver<Told>,
}

/// An application, as it was when it began to count.
struct Kept {
    described: Described,
    limits: Recycle,
    recycling: Recycling,
}

/// The edition in force, and the worker that serves it.
type Of = (worker::Edition, Option<Generation>);

/// What a worker has told, and the system of processes; and of whom that is.
pub(super) struct Told {
    of: Of,
    applications: BTreeMap<String, Reading>,
    worker: Reading,
}

impl Default for Upkeep {
    fn default() -> Self {
        let (tell, told) = unbounded_channel();
        let of = (worker::Edition(0), None);
        Self { applications: BTreeMap::new(), worker: None, of, ask: None, tell, told }
    }
}

impl Upkeep {
    /// This edition is in force: what is another one now begins to count anew.
    fn adopt(&mut self, edition: &Edition, config: &Config, now: Moment) {
        let mut before = std::mem::take(&mut self.applications);
        for application in config.sites.iter().flat_map(|site| &site.applications) {
            let limits = &application.recycle;
            if !is_wanted(limits) {
                continue;
            }
            let (name, described) = (application.name.to_string(), edition.described(application));
            let same = before.remove(&name);
            let same = same.filter(|kept| kept.described == described && kept.limits == *limits);
            let kept = same.unwrap_or_else(|| Kept {
                described,
                limits: limits.clone(),
                recycling: Recycling::new(limits.clone(), now),
            });
            self.applications.insert(name, kept);
        }
        let mut same = |limit| self.worker.take().filter(|(before, _)| *before == limit);
        self.worker = config.server.recycle_memory.map(|limit| {
            let limits = Recycle { memory: Some(limit), ..Recycle::default() };
            same(limit).unwrap_or_else(|| (limit, Recycling::new(limits, now)))
        });
        self.ask = self.interval().map(|interval| now.instant + interval);
    }

    /// Another worker serves: what is in process is a fresh one.
    fn serves(&mut self, now: Moment) {
        let in_process =
            |kept: &&mut Kept| kept.described.application.hosting_model == HostingModel::InProcess;
        for kept in self.applications.values_mut().filter(in_process) {
            kept.recycling.begun(now);
        }
        if let Some((_, worker)) = &mut self.worker {
            worker.begun(now);
        }
    }

    /// How often a worker is asked, and the system, if there is something to ask for.
    fn interval(&self) -> Option<Duration> {
        let asked = self.applications.values().map(|kept| &kept.limits);
        let asked = asked.filter(|limits| limits.requests.is_some() || limits.memory.is_some());
        let worker = self.worker.as_ref().map(|_| Recycle::default().interval);
        asked.map(|limits| limits.interval).chain(worker).min()
    }

    /// When to look next, if nothing happens before.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.applications.is_empty() {
            return self.ask;
        }
        let now = now();
        let rests = self.applications.values().filter_map(|kept| kept.recycling.rest(now));
        rests.map(|rest| now.instant + rest).chain(self.ask).min()
    }

    /// A wish was not granted: what it is about is left alone for a while.
    pub(super) fn refused(&mut self, wish: &Wish) {
        let recycling = match wish {
            Wish::Refresh(name, _) => self.applications.get_mut(name).map(|kept| &mut kept.recycling),
            Wish::RecycleAll => self.worker.as_mut().map(|(_, recycling)| recycling),
            _ => None,
        };
        if let Some(recycling) = recycling {
            recycling.refused(now());
        }
    }

    /// Applications that are due, and why.
    fn look(&mut self, readings: &BTreeMap<String, Reading>) -> Vec<(String, Reason)> {
        if self.applications.is_empty() {
            return Vec::new();
        }
        let now = now();
        let mut due = Vec::new();
        for (name, kept) in &mut self.applications {
            let reading = readings.get(name).copied().unwrap_or_default();
            due.extend(kept.recycling.look(now, reading).map(|reason| (name.clone(), reason)));
        }
        due
    }
}

impl Supervisor {
    /// Looks whether something is due, and asks what the time does not tell.
    pub(super) fn keep_fresh(&mut self) {
        if self.stop == Stop::Asked {
            // Nothing is due any more.
            self.upkeep = Upkeep::default();
            return;
        }
        self.follow();
        self.refresh(&BTreeMap::new());
        if self.upkeep.ask.is_some_and(|ask| ask <= Instant::now()) {
            self.upkeep.ask = self.upkeep.interval().map(|interval| Instant::now() + interval);
            self.ask_how_they_are();
        }
    }

    /// Takes note of how they are.
    pub(super) fn read(&mut self, told: &Told) -> Vec<Event> {
        self.follow();
        // What was asked before a change is about those that are gone.
        if told.of != self.upkeep.of || self.stop == Stop::Asked {
            return Vec::new();
        }
        self.refresh(&told.applications);
        let due = self.upkeep.worker.as_mut().and_then(|(_, worker)| worker.look(now(), told.worker));
        if let Some(why) = due {
            tracing::info!(%why, "recycling the worker");
            self.changes.wish(Wish::RecycleAll, None);
        }
        Vec::new()
    }

    /// A worker has loaded so much in vain that a fresh one is better.
    pub(super) fn crowded(&mut self, generation: Generation, left: usize) -> Vec<Event> {
        if self.serving_worker() == Some(generation) && self.stop == Stop::NotAsked {
            let why = "starts of applications in process fail again and again, and each leaves its library in memory";
            tracing::warn!(why, libraries = left, "recycling the worker");
            self.changes.wish(Wish::RecycleAll, None);
        }
        Vec::new()
    }

    /// Has what is in force now be what is kept fresh.
    fn follow(&mut self) {
        let of = (self.plan.edition(), self.serving_worker());
        let before = std::mem::replace(&mut self.upkeep.of, of);
        if before == of {
            return;
        }
        let now = now();
        if before.0 != of.0 {
            let (edition, config) = &self.editions[&of.0];
            self.upkeep.adopt(edition, config, now);
        }
        if before.1 != of.1 {
            self.upkeep.serves(now);
        }
    }

    fn refresh(&mut self, readings: &BTreeMap<String, Reading>) {
        for (application, reason) in self.upkeep.look(readings) {
            // Said together with the change.
            self.changes.wish(Wish::Refresh(application, reason), None);
        }
    }

    fn ask_how_they_are(&mut self) {
        let of = self.upkeep.of;
        let Some(generation) = of.1.filter(|generation| self.surveys.asks(*generation)) else { return };
        let (id, mut told) = self.surveys.begin();
        let worker = &self.workers[&generation].process;
        worker.order(&Order::Ask { id });
        let wants = self.upkeep.applications.iter().map(|(name, kept)| (name.clone(), kept.limits.clone()));
        let (wants, pid) = (wants.collect(), self.upkeep.worker.is_some().then_some(worker.pid()));
        let tell = self.upkeep.tell.clone();
        tokio::spawn(async move {
            let Ok(Some((_, status))) = timeout(PATIENCE, told.recv()).await else { return };
            // Of another build, perhaps; then it is as if it had said nothing.
            let applications = serde_json::from_value(status).unwrap_or_default();
            let looking = move || {
                let worker = Reading { memory: pid.and_then(|pid| memory::resident(&[pid])), requests: None };
                Told { of, applications: readings(applications, &wants), worker }
            };
            if let Ok(read) = tokio::task::spawn_blocking(looking).await {
                let _ending = tell.send(read);
            }
        });
    }
}

fn readings(
    applications: Vec<admin::Application>,
    wants: &BTreeMap<String, Recycle>,
) -> BTreeMap<String, Reading> {
    let reading = |application: admin::Application| {
        let limits = wants.get(&application.name)?;
        let memory = limits.memory.and_then(|_| memory::resident(&application.pids));
        Some((application.name, Reading { requests: Some(application.requests), memory }))
    };
    applications.into_iter().filter_map(reading).collect()
}

/// Whether there is any limit.
fn is_wanted(limits: &Recycle) -> bool {
    *limits != Recycle { interval: limits.interval, ..Recycle::default() }
}

fn now() -> Moment {
    Moment { instant: Instant::now(), local: jiff::Zoned::now().datetime() }
}

/// How long a worker may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(1);
