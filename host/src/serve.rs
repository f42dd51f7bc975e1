//! Serves a configuration: from sites and applications to the library's router and server.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use cohost::{
    Application, Server,
    application::Hosted,
    config::{self, Artifact, Config, Listen},
    dispatcher::{in_process::Ended, out_of_process::Trust},
    http::ErrorPage,
    listener::{Address, Listener},
    router::{Authority, Binding, Router, Site, Unknown},
    server::{Options, Stopped, Stopping},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    exit::{Exit, Refused},
    greeting::Greeting,
};

/// Serves `config` until told to stop; says `greeting` once it listens.
pub(crate) fn serve(config: Config, greeting: &Greeting) -> Result<Exit, Refused> {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    if let Some(count) = config.server.threads {
        threads.worker_threads(count.get());
    }
    let runtime = threads
        .enable_all()
        .thread_name("cohost")
        .build()
        .map_err(|error| Exit::Failed.because(format!("no threads to serve with: {error}")))?;
    let exit = runtime.block_on(run(config, greeting));
    // An application may have left work behind, which must not keep the program.
    runtime.shutdown_background();
    exit
}

async fn run(config: Config, greeting: &Greeting) -> Result<Exit, Refused> {
    let signals = Signals::new()?;
    let listeners = Listeners::bind(&config)?;
    let hosted = host(&config)?;
    let applications: Vec<Application> =
        hosted.iter().flat_map(|(_, applications)| applications).cloned().collect();
    let router = Router::new(sites(&hosted, &listeners), unknown(&config));
    let stopping = Stopping::new();
    let server = listeners
        .all
        .into_iter()
        .fold(Server::new(router), |server, (_, listener)| server.listener(listener));
    let server = server.options(options(&config));
    greeting.say(|listen| listeners.addresses.get(listen).copied());
    for application in applications.iter().filter(|application| preloaded(&config, application)) {
        let application = application.clone();
        // What comes of it is logged where it happens; requests will try again.
        tokio::spawn(async move { application.start().await });
    }
    tokio::spawn(signals.obey(stopping.clone(), applications.clone()));
    let stopped = server.serve(stopping).await;
    let ended = stop(applications).await;
    tracing::info!(?stopped, applications = ?ended, "stopped");
    Ok(match (stopped, ended) {
        (Stopped::Gracefully, Ended::Gracefully) => Exit::Success,
        _ => Exit::Forced,
    })
}

/// The sockets of all bindings, each once.
struct Listeners {
    all: Vec<(Listen, Listener)>,
    /// What became of them, for those that have a port.
    addresses: HashMap<Listen, SocketAddr>,
    /// Their names, as connections on them carry it.
    names: HashMap<Listen, Arc<str>>,
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self, Refused> {
        let mut listeners = Self { all: Vec::new(), addresses: HashMap::new(), names: HashMap::new() };
        for binding in config.sites.iter().flat_map(|site| &site.bindings) {
            if !listeners.names.contains_key(&binding.listen) {
                listeners.add(&binding.listen)?;
            }
        }
        Ok(listeners)
    }

    fn add(&mut self, listen: &Listen) -> Result<(), Refused> {
        let listener = match listen {
            Listen::Tcp(address) => Listener::bind(Address::Tcp(*address)),
            Listen::Unix(path) => Listener::bind(Address::Unix(path.clone())),
            // One socket takes both families, where there is IPv6.
            Listen::Any(port) => Listener::bind(Address::Tcp(([0_u16; 8], *port).into()))
                .or_else(|_| Listener::bind(Address::Tcp(([0_u8; 4], *port).into()))),
        };
        let listener = listener.map_err(|error| Exit::Failed.because(error.to_string()))?;
        if let Address::Tcp(address) = listener.address() {
            self.addresses.insert(listen.clone(), *address);
        }
        self.names.insert(listen.clone(), listener.address().to_string().into());
        self.all.push((listen.clone(), listener));
        Ok(())
    }
}

type Sites<'a> = Vec<(&'a config::Site, Vec<Application>)>;

fn host(config: &Config) -> Result<Sites<'_>, Refused> {
    config.sites.iter().map(|site| Ok((site, applications(config, site)?))).collect()
}

fn applications(config: &Config, site: &config::Site) -> Result<Vec<Application>, Refused> {
    let described = site.applications.iter().map(|application| described(config, application));
    described.collect::<Result<_, _>>().map_err(|error| Exit::Configuration.because(error.to_string()))
}

fn described(
    config: &Config,
    application: &config::Application,
) -> Result<Application, cohost::application::BuildError> {
    let builder = match &application.artifact {
        Artifact::Library(path) => Application::builder().library(path),
        Artifact::Command(words) => Application::builder().command(words),
    };
    builder
        .name(Arc::clone(&application.name))
        .path_base(application.path.as_str())
        .hosting_model(application.hosting_model)
        .content_root(&application.content_root)
        .settings(application.settings.clone())
        .options(application.options.clone())
        .process(application.process.clone())
        .inherited_environment(std::env::vars_os())
        .trusted(Trust::networks(config.server.trusted_proxies.iter().copied()))
        .build()
}

fn sites(hosted: &Sites<'_>, listeners: &Listeners) -> Vec<Site<Hosted>> {
    let site = |(site, applications): &(&config::Site, Vec<Application>)| Site {
        name: Arc::clone(&site.name),
        bindings: site.bindings.iter().map(|binding| routed(binding, listeners)).collect(),
        applications: applications.iter().map(|it| (Arc::clone(it.path_base()), it.hosted())).collect(),
    };
    hosted.iter().map(site).collect()
}

fn routed(binding: &config::Binding, listeners: &Listeners) -> Binding {
    Binding {
        listener: Arc::clone(&listeners.names[&binding.listen]),
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

fn options(config: &Config) -> Options {
    let server = &config.server;
    let defaults = Options::default();
    Options {
        error_page: ErrorPage {
            shown: server.error_page,
            detailed: server.detailed_errors,
            ..ErrorPage::default()
        },
        access: config.log.access,
        header_timeout: Some(server.header_timeout),
        shutdown_timeout: server.shutdown_timeout,
        max_connections: server.max_connections.unwrap_or(defaults.max_connections),
        ..defaults
    }
}

fn preloaded(config: &Config, application: &Application) -> bool {
    let mut all = config.sites.iter().flat_map(|site| &site.applications);
    all.any(|described| described.name == *application.name() && described.options.preload)
}

/// The signals that stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Refused> {
        let listen = |kind| {
            signal(kind).map_err(|error| Exit::Failed.because(format!("cannot wait for signals: {error}")))
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// The first signal stops gracefully, the second at once.
    async fn obey(mut self, stopping: Stopping, applications: Vec<Application>) {
        let signal = self.received().await;
        tracing::info!(signal, "stopping: finishing what is in flight; a second signal hurries");
        stopping.stop();
        for application in &applications {
            application.notify_drain().await;
        }
        let signal = self.received().await;
        tracing::warn!(signal, "stopping at once");
        stopping.stop();
    }
}

/// Stops all applications side by side.
async fn stop(applications: Vec<Application>) -> Ended {
    let mut stopping = tokio::task::JoinSet::new();
    for application in applications {
        stopping.spawn(async move { application.stop().await });
    }
    let all = stopping.join_all().await;
    if all.iter().all(|ended| *ended == Ended::Gracefully) { Ended::Gracefully } else { Ended::LeftBehind }
}
