//! How things are: what the supervisor knows, and what it has to ask its workers.
//!
//! In: a reply that somebody waits for. Out: the answer, after [`LIMIT`] at the latest. Never: asks a worker again that
//! has not answered for longer than that: questions would pile up before one that is held by an application.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use cohost::{
    admin::{self, Application, Host, HostState, Reply, Site, Status, When, WorkerState},
    config::{self, Acme, Config},
    supervisor::worker::{Generation, Order, Part, State},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

use super::{Stop, Supervisor};
use crate::{acme, edition::Edition, told};

/// Questions that workers have not all answered.
#[derive(Default)]
pub(super) struct Surveys {
    last: u64,
    under_way: BTreeMap<u64, UnboundedSender<Told>>,
    /// Since when a worker owes an answer.
    owed: BTreeMap<Generation, Instant>,
}

/// What a worker told of its applications.
pub(super) type Told = (Generation, serde_json::Value);

impl Surveys {
    /// A worker has answered.
    pub(super) fn told(&mut self, generation: Generation, id: u64, status: serde_json::Value) {
        // Whatever it was asked since: it is able to answer.
        self.owed.remove(&generation);
        if let Some(survey) = self.under_way.get(&id) {
            let _late = survey.send((generation, status));
        }
    }

    /// A worker has ended.
    pub(super) fn ended(&mut self, generation: Generation) {
        self.owed.remove(&generation);
    }

    /// A question to workers, and where their answers come.
    pub(super) fn begin(&mut self) -> (u64, UnboundedReceiver<Told>) {
        self.under_way.retain(|_, survey| !survey.is_closed());
        self.last += 1;
        let (sender, told) = unbounded_channel();
        self.under_way.insert(self.last, sender);
        (self.last, told)
    }

    /// Whether to ask a worker.
    pub(super) fn asks(&mut self, generation: Generation) -> bool {
        self.owed.entry(generation).or_insert_with(Instant::now).elapsed() < LIMIT
    }
}

impl Supervisor {
    /// Tells how things are, once those workers have answered that do.
    pub(super) fn survey(&mut self, reply: Reply) {
        let (id, told) = self.surveys.begin();
        let mut asked = 0;
        for (generation, worker) in &self.workers {
            if self.surveys.asks(*generation) {
                worker.process.order(&Order::Ask { id });
                asked += 1;
            }
        }
        let (status, serving) = (self.status(), self.serving_worker());
        let acme = self.editions[&self.plan.edition()].1.acme.clone();
        tokio::spawn(async move {
            let status = ordered(status, acme).await;
            reply.done(&answered(status, serving, told, asked).await);
        });
    }

    /// The newest of those that serve.
    pub(super) fn serving_worker(&self) -> Option<Generation> {
        let serves = |generation: &&Generation| self.plan.state(**generation) == Some(State::Serving);
        self.workers.keys().rev().find(serves).copied()
    }

    /// What is known without asking anybody.
    fn status(&self) -> Status {
        let edition = self.plan.edition();
        let (written, config) = &self.editions[&edition];
        let state = match (self.stop, self.serving_worker()) {
            (Stop::Asked, _) => HostState::Stopping,
            (Stop::NotAsked, Some(_)) => HostState::Serving,
            (Stop::NotAsked, None) => HostState::Starting,
        };
        let mut status = Status {
            host: Host {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                since: When(self.since),
                state,
                configuration: written.file(),
                edition: edition.0,
                addresses: self.sockets.addresses(config),
                upgraded: self.upgraded(),
                crashed: None,
            },
            sites: sites(written, config),
            workers: self
                .workers
                .iter()
                .map(|(generation, worker)| self.worker(*generation, worker))
                .collect(),
        };
        self.crashes.put(&mut status);
        status
    }

    fn worker(&self, generation: Generation, worker: &super::Worker) -> admin::Worker {
        admin::Worker {
            generation: generation.0,
            pid: worker.process.pid(),
            state: match self.plan.state(generation) {
                Some(State::Starting | State::Told) => WorkerState::Starting,
                Some(State::Configured) => WorkerState::Waiting,
                Some(State::Serving) => WorkerState::Serving,
                Some(State::Draining) => WorkerState::Draining,
                Some(State::Killed) => WorkerState::Killed,
                None => WorkerState::Unknown,
            },
            edition: worker.edition.0,
            since: When(worker.since),
            safe: matches!(worker.part, Part::Safe { .. }),
            in_flight: 0,
            answers: false,
        }
    }
}

/// Puts in what came of ordering certificates, which is in files.
async fn ordered(mut status: Status, acme: Option<Acme>) -> Status {
    let Some(acme) = acme else { return status };
    let orders =
        status.sites.iter_mut().map(|site| std::mem::take(&mut site.certificates)).collect::<Vec<_>>();
    let reading = tokio::task::spawn_blocking(move || {
        let told = |mut certificate: admin::Certificate| {
            // One for each name.
            let name = certificate.names.first().filter(|_| certificate.ordered);
            certificate.failed = name.and_then(|name| acme::failed(&acme, name));
            certificate
        };
        orders.into_iter().map(|of_site| of_site.into_iter().map(told).collect()).collect::<Vec<Vec<_>>>()
    });
    for (site, certificates) in status.sites.iter_mut().zip(reading.await.unwrap_or_default()) {
        site.certificates = certificates;
    }
    status
}

/// Puts in what workers tell.
async fn answered(
    mut status: Status,
    serving: Option<Generation>,
    mut told: UnboundedReceiver<Told>,
    mut asked: usize,
) -> Status {
    let all = async {
        while asked > 0
            && let Some((generation, applications)) = told.recv().await
        {
            asked -= 1;
            // Of another build, perhaps; then it is as if it had said nothing.
            let told: Vec<Application> = serde_json::from_value(applications).unwrap_or_default();
            if let Some(worker) = status.workers.iter_mut().find(|worker| worker.generation == generation.0) {
                worker.answers = true;
                worker.in_flight = told.iter().map(|application| application.in_flight).sum();
            }
            if serving == Some(generation) {
                put(&mut status.sites, told);
            }
        }
    };
    // Whoever has not answered by then is shown as such.
    let _late = timeout(LIMIT, all).await;
    status
}

fn put(sites: &mut [Site], told: Vec<Application>) {
    let mut told: BTreeMap<String, Application> =
        told.into_iter().map(|application| (application.name.clone(), application)).collect();
    for application in sites.iter_mut().flat_map(|site| &mut site.applications) {
        if let Some(told) = told.remove(&application.name) {
            // What only we know stays.
            let (crashed, rolled_back) = (application.crashed.take(), application.rolled_back);
            *application = Application { crashed, rolled_back, ..told };
        }
    }
}

fn sites(edition: &Edition, config: &Config) -> Vec<Site> {
    let application = |written: &config::Application| {
        let stands = edition.stands(&written.name);
        let rolled_back = stands.is_some_and(|standing| standing.instead_of.is_some());
        admin::Application { rolled_back, ..told::decided(written, &edition.described(written)) }
    };
    let site = |site: &config::Site| Site {
        name: site.name.to_string(),
        bindings: site.bindings.iter().map(|binding| binding.text.to_string()).collect(),
        certificates: edition.certificates.told(site),
        applications: site.applications.iter().map(application).collect(),
    };
    config.sites.iter().map(site).collect()
}

/// How long a worker may take to say how it is.
pub(super) const LIMIT: Duration = Duration::from_secs(1);
