//! Starts an application in its hosting model: the one place where the models part.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{
    builder::{Artifact, Definition},
    current::Dispatcher,
};
use crate::{
    Failure, HostingModel,
    dispatcher::in_process::{self, Ended, LoadError, Loaded, Running},
    supervisor::NotStarted,
};

/// What runs behind a dispatcher, in the hands of the one who ends it.
pub(super) enum Backing {
    InProcess(Running),
    #[cfg(feature = "out-of-process")]
    OutOfProcess(Box<process::Process>),
}

/// Starts the application. Blocks nobody, and takes no longer than `startup_timeout`.
///
/// If it is called off, a process is ended. A constructor in this process cannot be: there is no way to stop it.
#[cfg_attr(not(feature = "out-of-process"), expect(unused_variables, reason = "there is no process to end"))]
pub(super) async fn start(
    definition: &Definition,
    called_off: impl Future<Output = ()>,
) -> Result<(Dispatcher, Backing), NotStarted> {
    match (definition.hosting_model, &definition.artifact) {
        (HostingModel::InProcess, Artifact::Library(path)) => {
            let running = in_process(definition, path.clone()).await.map_err(Failure::from)?;
            Ok((Dispatcher::InProcess(in_process::Dispatcher::new(&running)), Backing::InProcess(running)))
        }
        #[cfg(feature = "out-of-process")]
        _ => process::start(definition, called_off).await,
        #[cfg(not(feature = "out-of-process"))]
        _ => unreachable!("refused by the builder"),
    }
}

async fn in_process(definition: &Definition, path: std::path::PathBuf) -> Result<Running, LoadError> {
    let options = &definition.options;
    let limit = options.startup_timeout;
    let start = in_process::Start {
        name: Arc::clone(&definition.name),
        content_root: definition.content_root.clone(),
        path_base: Arc::clone(&definition.path_base),
        settings: definition.settings.clone(),
        runtime_threads: options.runtime_threads,
        startup_timeout: limit,
        max_request_body: options.max_request_body,
        blocking_threads: options.blocking_threads,
        hang_timeout: options.hang_timeout,
    };
    let began = tokio::time::Instant::now();
    let loading = tokio::task::spawn_blocking({
        let path = path.clone();
        let pinned = definition.pinned.clone().unwrap_or_else(|| path.clone());
        let (name, hang_timeout) = (Arc::clone(&start.name), start.hang_timeout);
        move || Loaded::open(&name, (&path, &pinned), hang_timeout)
    });
    let late = || LoadError::InitTimedOut { path: path.clone(), limit };
    let loaded = tokio::time::timeout(limit, loading).await.map_err(|_| late())?;
    let failed =
        |error| LoadError::InitFailed { path: path.clone(), message: format!("loading it failed: {error}") };
    let loaded = loaded.map_err(failed)??;
    let startup_timeout = limit.saturating_sub(began.elapsed());
    in_process::Generation::begin(loaded, in_process::Start { startup_timeout, ..start }).await
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::new(error.code()).detail(error.to_string()).source(error)
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Backing {
    pub(super) fn generation(&self) -> Option<u32> {
        match self {
            Self::InProcess(running) => Some(running.lease().number()),
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(_) => None,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::InProcess(_) => None,
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => Some(process.instance.pid()),
        }
    }

    /// Whether its process ran already, for a worker before this one.
    pub(super) fn ran_already(&self) -> bool {
        match self {
            Self::InProcess(_) => false,
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => process.ran_already(),
        }
    }

    /// Whether somebody else counts how often it fails.
    pub(super) fn is_counted_elsewhere(&self) -> bool {
        match self {
            Self::InProcess(_) => false,
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => process.instance.is_lent(),
        }
    }

    /// Waits for an end that nobody asked for.
    pub(super) fn exited(&self) -> Option<Boxed<String>> {
        match self {
            Self::InProcess(_) => None,
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => {
                let exited = process.instance.exited();
                Some(Box::pin(async move { exited.await.to_string() }))
            }
        }
    }

    pub(super) fn has_exited(&self) -> bool {
        match self {
            Self::InProcess(_) => false,
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => process.instance.exit().is_some(),
        }
    }

    /// What it printed last.
    pub(super) fn output(&self) -> Arc<str> {
        match self {
            Self::InProcess(_) => Arc::from(""),
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => process.instance.output(),
        }
    }

    /// The requests that it had when it ended just now.
    pub(super) fn lost(&self) -> Option<String> {
        match self {
            Self::InProcess(_) => None,
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => process.lost(),
        }
    }

    /// Its first requests were answered.
    pub(super) fn warm(&self) {
        match self {
            Self::InProcess(_) => {}
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => process.instance.fit(),
        }
    }

    /// Its first requests failed, and so did its start. Who counts that.
    pub(super) async fn not_warm(&self, failure: Failure) -> NotStarted {
        match self {
            Self::InProcess(_) => failure.into(),
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => process.instance.unfit(failure).await,
        }
    }

    /// Tells it that its end is near.
    pub(super) fn drain_notice(&self) -> Boxed<()> {
        match self {
            Self::InProcess(running) => Box::pin(running.drain_notice()),
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => Box::pin(process.drain_notice()),
        }
    }

    /// Ends it after its last request, or when `limit` is over. Others answer new requests.
    pub(super) async fn retire(self, limit: Duration) -> Ended {
        #[cfg(feature = "out-of-process")]
        if let Self::OutOfProcess(mut process) = self {
            let told = process.drain_notice();
            let last = async { tokio::join!(told, &mut process.unused).1 };
            // The error is the end that is waited for.
            let _late = tokio::time::timeout(limit, last).await;
            return Self::OutOfProcess(process).stop(limit).await;
        }
        self.stop(limit).await
    }

    pub(super) async fn stop(self, limit: Duration) -> Ended {
        match self {
            Self::InProcess(running) => running.end(limit).await,
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(process) => match process.instance.stop().await.forced {
                false => Ended::Gracefully,
                true => Ended::LeftBehind,
            },
        }
    }
}

/// Applications in processes of their own.
#[cfg(feature = "out-of-process")]
mod process {
    use std::{convert::Infallible, ffi::OsString, sync::Arc, time::Instant};

    use tokio::sync::oneshot;

    use super::{Artifact, Backing, Definition, Dispatcher, Failure, NotStarted};
    use crate::{
        dispatcher::{
            in_process::preflight,
            out_of_process::{Flights, Forwarder, Limits, Peer, Protocol, Target},
        },
        options,
        supervisor::{Environment, Held, Launch, Listen, Precedence, Program, Ready, Stamp, lending::Found},
    };

    /// A process, and whether it is one of our runners.
    pub(in crate::application) struct Process {
        pub(super) instance: Held,
        peer: Peer,
        flights: Arc<Flights>,
        /// Ends when no request is on its way to it, or back.
        pub(super) unused: oneshot::Receiver<Infallible>,
    }

    pub(super) async fn start(
        definition: &Definition,
        called_off: impl Future<Output = ()>,
    ) -> Result<(Dispatcher, Backing), NotStarted> {
        if let Artifact::Library(path) = &definition.artifact {
            // The same codes as in process, for what can be said of a file without running it.
            let path = path.clone();
            let pinned = definition.pinned.clone().unwrap_or_else(|| path.clone());
            let examined =
                tokio::task::spawn_blocking(move || preflight::examine_copy(&path, &pinned).map(drop)).await;
            let examined =
                examined.map_err(|panic| Failure::new(crate::failure::Code::LoadFailed).source(panic))?;
            examined.map_err(Failure::from)?;
        }
        let instance = definition.instances.start(launch(definition), called_off).await?;
        let peer = match definition.artifact {
            Artifact::Library(_) => Peer::Runner,
            Artifact::Command(_) => Peer::Foreign { token: Some(instance.token().to_string()) },
        };
        let (forwarder, unused) = Forwarder::watched(target(definition, &instance, peer.clone()));
        let process = Process { instance, peer, flights: forwarder.flights(), unused };
        Ok((Dispatcher::OutOfProcess(forwarder), Backing::OutOfProcess(Box::new(process))))
    }

    fn launch(definition: &Definition) -> Launch {
        let (options, process) = (&definition.options, &definition.process);
        let program = match &definition.artifact {
            Artifact::Library(path) => {
                Program::Library(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            }
            Artifact::Command(words) => Program::Command(words.clone()),
        };
        let stamp = match (&program, &definition.pinned) {
            (Program::Library(library), None) => Stamp::of(library),
            _ => None,
        };
        let configured = process.environment.iter().map(|(k, v)| (OsString::from(k), OsString::from(v)));
        Launch {
            stamp,
            environment: Environment {
                inherited: if process.inherit_environment {
                    definition.inherited.clone()
                } else {
                    Vec::new()
                },
                configured: configured.collect(),
                precedence: Precedence::Configured,
            },
            pinned: definition.pinned.clone(),
            path_base: Arc::clone(&definition.path_base),
            generation: definition.generation + 1,
            settings: settings(definition),
            runtime_threads: options.runtime_threads,
            blocking_threads: options.blocking_threads,
            hang_timeout: options.hang_timeout,
            confinement: process.confinement.clone(),
            listen: match process.listen {
                options::ProcessListen::AnyPort => Listen::Port,
                options::ProcessListen::Port(port) => Listen::FixedPort(port.get()),
                options::ProcessListen::Socket => Listen::Socket,
            },
            ready: match &process.ready {
                options::Ready::Accepts => Ready::Accepts,
                options::Ready::Health(path) => Ready::Health(path.clone()),
                options::Ready::Notify => Ready::Notify,
            },
            startup_timeout: options.startup_timeout,
            shutdown_timeout: options.shutdown_timeout,
            rapid_fails_per_minute: options.rapid_fails_per_minute,
            tried: !options.warmup.is_empty(),
            ..Launch::new(Arc::clone(&definition.name), program, definition.content_root.clone())
        }
    }

    fn settings(definition: &Definition) -> Arc<str> {
        if definition.settings.is_null() { "{}".into() } else { definition.settings.to_string().into() }
    }

    fn target(definition: &Definition, instance: &Held, peer: Peer) -> Target {
        let options = &definition.options;
        Target {
            endpoint: instance.endpoint().clone().into(),
            secured: None,
            peer,
            limits: Limits {
                connect: options.connect_timeout,
                first_byte: options.first_byte_timeout,
                idle: options.idle_timeout,
            },
            protocol: match definition.process.protocol {
                options::Protocol::Http1 => Protocol::Http1,
                options::Protocol::H2c => Protocol::Http2,
            },
        }
    }

    impl Process {
        pub(super) fn ran_already(&self) -> bool {
            self.instance.found() == Found::Running
        }

        /// The requests that it had when it ended just now.
        pub(super) fn lost(&self) -> Option<String> {
            self.flights.lost(Instant::now())
        }

        /// Only our own runner understands the notice; other programs hear of their end when it comes.
        pub(super) fn drain_notice(&self) -> impl Future<Output = ()> + Send + 'static {
            let notice = matches!(self.peer, Peer::Runner).then(|| self.instance.drain_notice());
            async move {
                if let Some(notice) = notice {
                    notice.await;
                }
            }
        }
    }
}
