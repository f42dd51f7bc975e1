//! Serves a configuration from this very process, without a supervisor: for debugging.

use std::collections::HashMap;

use cohost::{
    dispatcher::in_process::Ended,
    listener::{Address, Listener},
    server::{Stopped, Stopping},
    supervisor::{
        Instances,
        worker::{Part, Preload},
    },
};

use cohost::{Application, config::Config};

use crate::{
    edition::Edition,
    exit::{Exit, Refused},
    greeting::Greeting,
    hosting::{self, Hosting},
    printed,
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
    let signals = Signals::to_stop()?;
    let hosting = Hosting::new(edition, config, Part::Everything, &Instances::own(hosting::runner()))?;
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
    let router = hosting.router(&hosting.addresses(&listeners));
    let server = hosting.server(router, listeners);
    greeting.say(|listen| addresses.get(listen).copied());
    let (preloaded, _) = hosting.preloaded(Preload::All);
    // What comes of it is logged where it happens; requests will try again.
    tokio::spawn(hosting::start(preloaded));
    tokio::spawn(obey(signals, stopping.clone(), hosting.applications()));
    Ok(end(server.serve(stopping).await, hosting.applications()).await)
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

/// The first signal stops gracefully, the second at once.
async fn obey(mut signals: Signals, stopping: Stopping, applications: Vec<Application>) {
    signals::first(signals.next().await);
    stopping.stop();
    tokio::spawn(hosting::notify_drain(applications));
    signals::second(signals.next().await);
    stopping.stop();
}
