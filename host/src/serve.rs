//! Serves a configuration from this very process, without a supervisor: for debugging.
//!
//! In: a configuration, signals, `app_offline.htm` in the folders of applications. Out: an exit code. Never: takes up any
//! other change.

use std::collections::{BTreeSet, HashMap};

use cohost::{
    Application,
    config::Config,
    dispatcher::in_process::Ended,
    listener::{Address, Listener},
    router::Router,
    server::{Stopped, Stopping},
    supervisor::{
        Instances,
        files::{Files, Pace},
        worker::{Part, Preload},
    },
};
use tokio::{sync::mpsc::unbounded_channel, task::JoinSet};

use crate::{
    certificates::Unusable,
    edition::Edition,
    exit::{Exit, Refused},
    greeting::Greeting,
    hosting::{self, Addresses, Hosting},
    mounted::Mounted,
    offline, printed,
    signals::{self, Signals},
    sockets,
};

/// Serves `edition`, which means `config`, until told to stop; says `greeting` once it listens.
pub(crate) fn serve(edition: &Edition, config: Config, greeting: &Greeting) -> Result<Exit, Refused> {
    printed::keep(&config);
    let runtime = hosting::runtime(&config)?;
    let exit = runtime.block_on(run(edition, config, greeting));
    // An application may have left work behind, which must not keep the program.
    runtime.shutdown_background();
    printed::finish();
    exit
}

async fn run(edition: &Edition, config: Config, greeting: &Greeting) -> Result<Exit, Refused> {
    let mut signals = Signals::to_stop()?;
    let mut edition = looked(edition, &config);
    edition.certificates.look(&config, |_| true).iter().for_each(Unusable::say);
    if config.acme.is_some() {
        tracing::warn!(
            "without a supervisor no certificates are ordered or renewed; those that are there are presented"
        );
    }
    let instances = Instances::own(hosting::runner());
    let hosting = Hosting::new(&edition, config.clone(), Part::Everything, &instances)?;
    let mut listeners = Vec::new();
    let mut addresses = HashMap::new();
    for listen in hosting::listens(hosting.config()) {
        let listener = Listener::new(sockets::bind(listen)?).map_err(|error| sockets::refused(&error))?;
        if let Address::Tcp(address) = listener.address() {
            addresses.insert(listen.clone(), *address);
        }
        listeners.push(listener);
    }
    let stopping = Stopping::new();
    let mut served = Served::new(edition, hosting, &listeners);
    let server = served.hosting.server(served.router.clone(), listeners);
    greeting.say(|listen| addresses.get(listen).copied());
    let (preloaded, _) = served.hosting.preloaded(Preload::All);
    // What comes of it is logged where it happens; requests will try again.
    tokio::spawn(hosting::start(preloaded));
    let (change, mut changed) = unbounded_channel();
    // If the system has no thread for it, what is there at the start is all that counts.
    let files = Files::new(Pace::default(), change).ok();
    if let Some(files) = files.as_ref().filter(|_| config.server.watch) {
        files.watch(offline_files(&config));
    }
    let mut server = std::pin::pin!(server.serve(stopping.clone()));
    let mut stops = false;
    let stopped = loop {
        tokio::select! {
            stopped = server.as_mut() => break stopped,
            // The first one stops gracefully, the second at once.
            asked = signals.next() => {
                if stops { signals::second(asked) } else { signals::first(asked) }
                stopping.stop();
                if !stops {
                    tokio::spawn(hosting::notify_drain(served.hosting.applications()));
                }
                stops = true;
            }
            Some(_) = changed.recv(), if !stops => served.look()?,
            Some(_) = served.retiring.join_next() => {}
        }
    };
    Ok(served.end(stopped).await)
}

/// What is served by now.
struct Served {
    edition: Edition,
    hosting: Hosting,
    router: Router<Mounted>,
    addresses: Addresses,
    retiring: JoinSet<Ended>,
}

impl Served {
    fn new(edition: Edition, hosting: Hosting, listeners: &[Listener]) -> Self {
        let addresses = hosting.addresses(listeners);
        let router = hosting.router(&addresses);
        Self { edition, hosting, router, addresses, retiring: JoinSet::new() }
    }

    /// Takes applications offline, or serves them again.
    fn look(&mut self) -> Result<(), Refused> {
        let config = self.hosting.config().clone();
        let edition = looked(&self.edition, &config);
        if edition == self.edition {
            return Ok(());
        }
        let hosting = self.hosting.next(&edition, config)?;
        let replaced = hosting.in_place_of(&self.hosting);
        self.router.replace(hosting.sites(&self.addresses), hosting.unknown());
        for replaced in replaced {
            let start = replaced.to_start_first().into_iter().collect();
            if let Some(old) = replaced.old {
                tracing::info!(application = %old.name(), "application goes offline; it finishes what it has");
                self.retiring.spawn(async move { old.retire(replaced.successor).await });
            } else if let Some(new) = replaced.new {
                tracing::info!(application = %new.name(), "application is online again");
            }
            tokio::spawn(hosting::start(start));
        }
        (self.edition, self.hosting) = (edition, hosting);
        Ok(())
    }

    async fn end(self, stopped: Stopped) -> Exit {
        let exit = end(stopped, self.hosting.applications()).await;
        let left = self.retiring.join_all().await;
        if left.iter().all(|ended| *ended == Ended::Gracefully) { exit } else { Exit::Forced }
    }
}

/// The same, with the applications offline that there is a file for.
fn looked(edition: &Edition, config: &Config) -> Edition {
    let mut edition = edition.clone();
    for application in applications(config) {
        edition.standing(&application.name).app_offline = offline::read(&application.content_root);
    }
    edition
}

fn offline_files(config: &Config) -> BTreeSet<std::path::PathBuf> {
    applications(config).map(|application| offline::file(&application.content_root)).collect()
}

fn applications(config: &Config) -> impl Iterator<Item = &cohost::config::Application> {
    config.sites.iter().flat_map(|site| &site.applications)
}

/// Ends the applications after serving has ended.
pub(crate) async fn end(stopped: Stopped, applications: Vec<Application>) -> Exit {
    let ended = hosting::stop(applications).await;
    tracing::info!(?stopped, applications = ?ended, "stopped");
    match (stopped, ended) {
        (Stopped::Gracefully, Ended::Gracefully) => Exit::Success,
        _ => Exit::Forced,
    }
}
