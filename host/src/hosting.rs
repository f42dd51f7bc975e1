//! From a configuration to applications, and to the server in front of them.

use std::{collections::HashMap, sync::Arc, time::Instant};

use cohost::{
    Application, HostingModel, Server,
    config::{self, Artifact, Config, Listen},
    dispatcher::{in_process::Ended, upstreams::Balancer},
    facts::Scheme,
    listener::{
        Address, Listener, Proxied,
        tls::{Secured, Terms},
    },
    options::ProcessListen,
    pipeline::{Kept, around},
    router::{Authority, Binding, Paths, Router, Site, Unknown},
    stage::Stage,
    supervisor::{
        Instances, Runner,
        worker::{Failed, Part, Preload},
    },
};
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    codeless,
    edition::Edition,
    exit::{Exit, Refused},
    gate,
    mounted::{Mounted, Refusal},
    options,
    outward::Outward,
    standing::{Described, Offline},
    tls,
    told::{Found, Told},
};

/// What a configuration hosts. Nothing of it runs yet.
pub(crate) struct Hosting {
    config: Config,
    /// In the order of the configuration, site by site.
    members: Vec<Vec<Member>>,
    /// How each site speaks TLS, in the same order.
    terms: Vec<Option<Arc<Terms>>>,
    instances: Instances,
    /// What is counted in front of them.
    kept: Kept,
    /// On what terms others are spoken to.
    outward: Outward,
}

/// What became of the things to listen on.
pub(crate) type Addresses = HashMap<Listen, Address>;

/// An application, or what is in its place.
enum Member {
    Application {
        application: Application,
        described: Box<Described>,
    },
    Refused {
        path_base: Arc<str>,
        refusal: Refusal,
    },
    Offline {
        path_base: Arc<str>,
        offline: Arc<Offline>,
    },
    /// No code: nothing to start, and nothing to stop.
    Stage {
        path_base: Arc<str>,
        stage: Stage,
        /// What spreads its requests, if it is upstreams.
        balancer: Option<Balancer>,
        described: Box<Described>,
    },
}

impl Hosting {
    /// What `edition` hosts, of which `config` is what it means.
    pub(crate) fn new(
        edition: &Edition,
        config: Config,
        part: Part,
        instances: &Instances,
    ) -> Result<Self, Refused> {
        Self::beside(None, edition, config, part, instances)
    }

    /// What `edition` hosts, with the applications of this that are the same there.
    pub(crate) fn next(&self, edition: &Edition, config: Config) -> Result<Self, Refused> {
        Self::beside(Some(self), edition, config, Part::Everything, &self.instances)
    }

    fn beside(
        old: Option<&Self>,
        edition: &Edition,
        config: Config,
        part: Part,
        instances: &Instances,
    ) -> Result<Self, Refused> {
        let refusal = Refusal::of(part, Instant::now());
        let member = |written: &config::Application| {
            let described = edition.described(written);
            let path_base: Arc<str> = written.path.as_str().into();
            if let Some(offline) = described.offline {
                return Ok(Member::Offline { path_base, offline: Arc::new(offline) });
            }
            if let Some((stage, balancer)) = stage(old, &described) {
                return Ok(Member::Stage { path_base, stage, balancer, described: Box::new(described) });
            }
            match &refusal {
                Some(refusal) if described.application.hosting_model == HostingModel::InProcess => {
                    Ok(Member::Refused { path_base, refusal: refusal.clone() })
                }
                _ => {
                    let same =
                        old.and_then(|old| old.find(described.name())).filter(|(_, was)| **was == described);
                    let application = match same {
                        Some((application, _)) => application.clone(),
                        None => application(&described, instances)?,
                    };
                    Ok(Member::Application { application, described: Box::new(described) })
                }
            }
        };
        let members = config.sites.iter().map(|site| site.applications.iter().map(member).collect());
        let members = members
            .collect::<Result<_, cohost::application::BuildError>>()
            .map_err(|error| Exit::Configuration.because(error.to_string()))?;
        let terms = tls::terms(&config, edition);
        let kept = old.map(|old| old.kept.clone()).unwrap_or_default();
        let outward = Outward::new(&edition.certificates);
        Ok(Self { config, members, terms, instances: instances.clone(), kept, outward })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn applications(&self) -> Vec<Application> {
        self.all().map(|(application, _)| application.clone()).collect()
    }

    /// What there is to tell of its applications.
    pub(crate) fn told(&self) -> Told {
        let written = self.config.sites.iter().flat_map(|site| &site.applications);
        let found = |member: &Member| match member {
            Member::Application { application, .. } => Found::Application(application.clone()),
            Member::Refused { refusal, .. } => Found::Refused(refusal.clone()),
            Member::Offline { .. } => Found::Offline,
            Member::Stage { balancer: Some(balancer), .. } => Found::Upstreams(balancer.clone()),
            Member::Stage { balancer: None, .. } => Found::Files,
        };
        Told { applications: written.cloned().zip(self.members.iter().flatten().map(found)).collect() }
    }

    /// The applications to preload, divided into those that are started at once, and the others.
    pub(crate) fn preloaded(&self, preload: Preload) -> (Vec<Application>, Vec<Application>) {
        let now = |described: &config::Application| match preload {
            _ if has_one_port(described) => false,
            Preload::InProcess => described.hosting_model == HostingModel::InProcess,
            Preload::All => true,
        };
        let all = self.all().map(|(application, described)| (application, &described.application));
        let all = all.filter(|(_, described)| described.options.preload);
        let (first, later): (Vec<_>, Vec<_>) = all.partition(|(_, described)| now(described));
        let applications = |members: Vec<(&Application, _)>| {
            members.into_iter().map(|(application, _)| application.clone()).collect()
        };
        (applications(first), applications(later))
    }

    /// The applications that may start while another worker has the same ones.
    pub(crate) fn startable_twice(&self) -> Vec<Application> {
        let all = self.all().filter(|(_, described)| !has_one_port(&described.application));
        all.map(|(application, _)| application.clone()).collect()
    }

    /// A server on these listeners, which are those of [`listens`], in that order.
    pub(crate) fn server(
        &self,
        router: Router<Mounted>,
        listeners: Vec<Listener>,
    ) -> Server<Router<Mounted>> {
        let server = Server::new(router).options(options::of(&self.config));
        for (listen, listener) in listens(&self.config).into_iter().zip(&listeners) {
            self.secure(listen, listener.secured());
        }
        let proxied = |(listen, listener): (&Listen, Listener)| listener.proxied(self.proxied(listen));
        let listeners: Vec<_> = listens(&self.config).into_iter().zip(listeners).map(proxied).collect();
        listeners.into_iter().fold(server, Server::listener)
    }

    /// Who connects there.
    pub(crate) fn proxied(&self, listen: &Listen) -> Proxied {
        let bound = |site: &&config::Site| site.bindings.iter().any(|binding| binding.listen == *listen);
        match self.config.sites.iter().find(bound) {
            Some(site) if site.proxy_protocol => Proxied::Yes,
            _ => Proxied::No,
        }
    }

    /// Has connections that come in there secured as the sites want that are bound there.
    pub(crate) fn secure(&self, listen: &Listen, secured: &Secured) {
        secured.set(tls::of(&self.config, listen, &self.terms));
    }

    /// Where these listeners are, which are those of [`listens`], in that order.
    pub(crate) fn addresses(&self, listeners: &[Listener]) -> Addresses {
        let addresses = listeners.iter().map(|listener| listener.address().clone());
        listens(&self.config).into_iter().cloned().zip(addresses).collect()
    }

    /// A router to all of it.
    pub(crate) fn router(&self, addresses: &Addresses) -> Router<Mounted> {
        Router::new(self.sites(addresses), self.unknown())
    }

    pub(crate) fn unknown(&self) -> Unknown {
        unknown(&self.config)
    }

    /// How many libraries run in this process.
    pub(crate) fn in_process(&self) -> usize {
        let here = |(application, _): &(&Application, _)| {
            application.hosting_model() == HostingModel::InProcess && application.is_running()
        };
        self.all().filter(here).count()
    }

    pub(crate) fn find(&self, name: &str) -> Option<(&Application, &Described)> {
        self.all().find(|(_, described)| described.name() == name)
    }

    /// What requests for this application come to, behind all that it wants in front of it.
    pub(crate) fn mounted_as(&self, name: &str) -> Option<Mounted> {
        let written = self.config.sites.iter().flat_map(|site| &site.applications);
        let mut members = written.zip(self.members.iter().flatten());
        members.find_map(|(written, member)| (*written.name == *name).then(|| member.mounted().1))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Application, &Described)> {
        self.members.iter().flatten().filter_map(|member| match member {
            Member::Application { application, described } => Some((application, &**described)),
            Member::Refused { .. } | Member::Offline { .. } | Member::Stage { .. } => None,
        })
    }

    /// What the router has. From now on its upstreams are spoken to on the terms of this.
    pub(crate) fn sites(&self, addresses: &Addresses) -> Vec<Site<Mounted>> {
        self.balancers().for_each(|balancer| self.outward.secure(balancer));
        let site = |(number, (site, members)): (usize, (&config::Site, &Vec<Member>))| Site {
            name: Arc::clone(&site.name),
            bindings: site.bindings.iter().map(|binding| routed(binding, addresses)).collect(),
            applications: self.mounted(site, members),
            front: self.fronted(number, site, members),
        };
        self.config.sites.iter().zip(&self.members).enumerate().map(site).collect()
    }
}

impl Hosting {
    /// What stands in front of all applications of a site, if it wants anything.
    fn fronted(&self, number: usize, site: &config::Site, members: &[Member]) -> Option<Stage> {
        let mut front = self.outward.equipped(&site.front).into_owned();
        front.clients = tls::needed(&self.config, &self.terms, number);
        let paths = || Stage::new(Paths::new(self.mounted(site, members)));
        let place = format!("site {}", site.name);
        (!front.is_empty()).then(|| around(&front, &place, &self.kept, paths()))
    }

    /// The applications of a site, each behind what it wants itself.
    fn mounted(&self, site: &config::Site, members: &[Member]) -> Vec<(Arc<str>, Mounted)> {
        let mounted = site.applications.iter().zip(members).map(|(written, member)| {
            let (base, mounted) = member.mounted();
            match written.front.is_empty() {
                true => (base, mounted),
                false => {
                    let place = format!("application {}", written.name);
                    let front = self.outward.equipped(&written.front);
                    (base, Mounted::Stage(around(&front, &place, &self.kept, Stage::new(mounted))))
                }
            }
        });
        mounted.collect()
    }

    /// What spreads requests over upstreams.
    pub(crate) fn balancers(&self) -> impl Iterator<Item = &Balancer> {
        self.members.iter().flatten().filter_map(|member| match member {
            Member::Stage { balancer, .. } => balancer.as_ref(),
            Member::Application { .. } | Member::Refused { .. } | Member::Offline { .. } => None,
        })
    }
}

impl Member {
    fn mounted(&self) -> (Arc<str>, Mounted) {
        match self {
            Self::Application { application, .. } => (
                Arc::clone(application.path_base()),
                Mounted::Hosted(application.hosted(), gate::of(application.name())),
            ),
            Self::Refused { path_base, refusal } => {
                (Arc::clone(path_base), Mounted::Refused(refusal.clone()))
            }
            Self::Offline { path_base, offline } => {
                (Arc::clone(path_base), Mounted::Offline(Arc::clone(offline)))
            }
            Self::Stage { path_base, stage, balancer, .. } => {
                if let Some(balancer) = balancer {
                    balancer.begin();
                }
                (Arc::clone(path_base), Mounted::Stage(stage.clone()))
            }
        }
    }
}

/// Whether it has a port of its own. Another worker's instance may have that, and not be the same: then it has it until
/// that worker ends.
fn has_one_port(application: &config::Application) -> bool {
    matches!(application.process.listen, ProcessListen::Port(_))
}

/// What is spoken there.
pub(crate) fn scheme(config: &Config, listen: &Listen) -> Scheme {
    let mut bindings = config.sites.iter().flat_map(|site| &site.bindings);
    bindings.find(|binding| binding.listen == *listen).map_or(Scheme::Http, |binding| binding.scheme)
}

/// What a configuration listens on, each once, in the order of its bindings.
pub(crate) fn listens(config: &Config) -> Vec<&Listen> {
    let mut listens: Vec<&Listen> = Vec::new();
    for binding in config.sites.iter().flat_map(|site| &site.bindings) {
        if !listens.contains(&&binding.listen) {
            listens.push(&binding.listen);
        }
    }
    listens
}

/// How this very program starts processes of applications.
pub(crate) fn runner() -> Runner {
    Runner::current(std::env::temp_dir())
}

/// The threads that serve `config`.
pub(crate) fn runtime(config: &Config) -> Result<Runtime, Refused> {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    if let Some(count) = config.server.threads {
        threads.worker_threads(count.get());
    }
    threads
        .enable_all()
        .thread_name("cohost")
        .build()
        .map_err(|error| Exit::Failed.because(format!("no threads to serve with: {error}")))
}

/// Starts all of `applications` side by side. Returns those that did not start.
pub(crate) async fn start(applications: Vec<Application>) -> Vec<Failed> {
    let mut starting = JoinSet::new();
    for application in applications {
        // The first request after that will start it.
        if gate::of(application.name()).closed(Instant::now()).is_some() {
            continue;
        }
        starting.spawn(async move {
            let failure = application.start().await.err()?;
            let (name, code) = (application.name().to_string(), failure.code.to_string());
            Some(Failed { application: name, code, detail: failure.detail })
        });
    }
    starting.join_all().await.into_iter().flatten().collect()
}

/// Tells all applications side by side that their end is near.
pub(crate) async fn notify_drain(applications: Vec<Application>) {
    let telling = applications.into_iter().map(|application| async move { application.notify_drain().await });
    telling.collect::<JoinSet<()>>().join_all().await;
}

/// Stops all applications side by side.
pub(crate) async fn stop(applications: Vec<Application>) -> Ended {
    let stopping = applications.into_iter().map(|application| async move { application.stop().await });
    let all = stopping.collect::<JoinSet<Ended>>().join_all().await;
    if all.iter().all(|ended| *ended == Ended::Gracefully) { Ended::Gracefully } else { Ended::LeftBehind }
}

/// What an application without code does: what it did in `old`, if it is the same.
fn stage(old: Option<&Hosting>, described: &Described) -> Option<(Stage, Option<Balancer>)> {
    let same = old.into_iter().flat_map(|old| old.members.iter().flatten()).find_map(|member| match member {
        Member::Stage { stage, balancer, described: was, .. } if **was == *described => {
            Some((stage.clone(), balancer.clone()))
        }
        _ => None,
    });
    same.or_else(|| codeless::stage(&described.application))
}

fn application(
    described: &Described,
    instances: &Instances,
) -> Result<Application, cohost::application::BuildError> {
    let Described { application: described, pinned, round, .. } = described;
    let mut builder = match &described.artifact {
        Artifact::Library(path) => Application::builder().library(path),
        Artifact::Command(words) => Application::builder().command(words),
        Artifact::Files(_) | Artifact::Upstreams(_) => {
            return Err(cohost::application::BuildError::NoArtifact);
        }
    };
    if let Some(copy) = pinned {
        builder = builder.pinned(copy);
    }
    builder
        .name(Arc::clone(&described.name))
        .path_base(described.path.as_str())
        .hosting_model(described.hosting_model)
        .content_root(&described.content_root)
        .settings(described.settings.clone())
        .options(described.options.clone())
        .process(described.process.clone())
        .generation(*round)
        .instances(instances.clone())
        .inherited_environment(std::env::vars_os())
        .build()
}

fn routed(binding: &config::Binding, addresses: &Addresses) -> Binding {
    Binding {
        // As connections name it.
        listener: addresses[&binding.listen].named(binding.scheme).into(),
        authority: match &binding.authority {
            config::Authority::Any => Authority::Any,
            config::Authority::Exact(name) => Authority::Exact(Arc::clone(name)),
            config::Authority::Wildcard(parent) => Authority::Wildcard(Arc::clone(parent)),
        },
    }
}

fn unknown(config: &Config) -> Unknown {
    match config.server.unknown_authority {
        config::UnknownAuthority::Misdirected => Unknown::Misdirected,
        config::UnknownAuthority::NotFound => Unknown::NotFound,
        _ => Unknown::FirstSite,
    }
}
