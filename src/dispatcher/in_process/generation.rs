//! One loaded copy of an application: from its constructor to its end.
//!
//! In: a checked library and its options. Out: a [`Lease`] that dispatchers call the application through.
//! Never: unloads. A generation is small and stays for as long as the process, as its library does.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cohost_abi as abi;
use tokio::sync::{oneshot, watch};

use super::{
    ffi::{Instance, Objects, table},
    library::Library,
    listening,
    loading::{Loaded, Mark},
    preflight::LoadError,
    threads,
};
use crate::{facts::RequestId, recorder::Registered};

/// What an application is told about itself, and how long it may take.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Directory of its files.
    pub content_root: PathBuf,
    /// Its path prefix, `""` at the root.
    pub path_base: Arc<str>,
    /// Its settings: a JSON object.
    pub settings: serde_json::Value,
    /// Threads of the application's own runtime; 0 for its default.
    pub runtime_threads: u32,
    /// How long loading, the constructor and readiness may take together.
    pub startup_timeout: Duration,
    /// Requests with a larger body are refused; `None` for no limit.
    pub max_request_body: Option<u64>,
    /// Requests that may occupy a thread of the blocking pool, if the application blocks.
    pub blocking_threads: usize,
    /// How long it may keep a thread that serves connections until that is a hang; `None` for ever.
    pub hang_timeout: Option<Duration>,
}

/// One loaded copy of an application.
pub struct Generation {
    pub(super) start: Start,
    pub(super) number: u32,
    pub(super) host: abi::Host,
    pub(super) objects: Objects,
    pub(super) settings: Settings,
    pub(super) runtime: tokio::runtime::Handle,
    /// How threads note that they are inside of it.
    pub(super) watch: Registered,
    /// Permits of an application that blocks.
    pub(super) blocking: tokio::sync::Semaphore,
    instance: OnceLock<Instance>,
    ready: watch::Sender<bool>,
    draining: AtomicBool,
    /// Its `shutdown` has returned.
    ended: AtomicBool,
}

/// The application's settings in the forms the contract hands out; kept so that pointers into them stay good.
pub(super) struct Settings {
    pub(super) json: String,
    pub(super) values: std::collections::HashMap<String, String>,
}

impl Settings {
    fn new(settings: &serde_json::Value) -> Self {
        let values = settings.as_object().into_iter().flatten().map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (key.clone(), text)
        });
        let values = values.collect();
        let json = if settings.is_null() { "{}".to_owned() } else { settings.to_string() };
        Self { json, values }
    }
}

/// The right to call a generation: whoever has one keeps the generation from being shut down.
pub struct Lease {
    generation: &'static Generation,
    _alive: oneshot::Sender<std::convert::Infallible>,
}

impl Lease {
    /// For an application that is never called.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn of_nothing() -> Arc<Self> {
        let start = Start {
            name: Arc::from("nothing"),
            content_root: PathBuf::new(),
            path_base: Arc::from(""),
            settings: serde_json::Value::Null,
            runtime_threads: 0,
            startup_timeout: Duration::ZERO,
            max_request_body: None,
            blocking_threads: 1,
            hang_timeout: None,
        };
        let mark = Mark::new(&start.name, start.hang_timeout);
        Arc::new(Self {
            generation: table::place(Box::new(Generation::new(start, mark))),
            _alive: oneshot::channel().0,
        })
    }

    /// The generation, which stays for as long as the process.
    pub(super) fn generation(&self) -> &'static Generation {
        self.generation
    }
}

impl std::ops::Deref for Lease {
    type Target = Generation;
    fn deref(&self) -> &Generation {
        self.generation
    }
}

/// A generation that runs, in the hands of the one who ends it.
pub struct Running {
    lease: Arc<Lease>,
    ended: oneshot::Receiver<std::convert::Infallible>,
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every request finished and the application ended its threads.
    Gracefully,
    /// Requests, or the application, were left behind at the deadline.
    LeftBehind,
}

impl Generation {
    /// Makes a generation of a library that is there already; see [`begin`](Self::begin).
    ///
    /// # Errors
    /// Returns how the constructor failed, or that `startup_timeout` passed.
    pub async fn start(library: Library, start: Start) -> Result<Running, LoadError> {
        let loaded = Loaded::already(library, &start.name, start.hang_timeout);
        Self::begin(loaded, start).await
    }

    /// Runs the library's constructor on a thread of its own and waits until it is ready.
    ///
    /// Dropping the future leaves the constructor running: there is no way to stop it.
    ///
    /// # Errors
    /// Returns how the constructor failed, or that `startup_timeout` passed.
    pub async fn begin(loaded: Loaded, start: Start) -> Result<Running, LoadError> {
        let Loaded { library, mark } = loaded;
        let deadline = tokio::time::Instant::now() + start.startup_timeout;
        let path = library.path().to_owned();
        let timeout = start.startup_timeout;
        let failed = |message| LoadError::InitFailed { path: path.clone(), message };
        let generation = table::place(Box::new(Self::new(start, mark)));
        let (done, constructed) = oneshot::channel();
        let name = format!("{}-start", generation.start.name);
        std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                let inside = threads::enter_aside(generation.watch, &NO_REQUEST);
                let constructed = Instance::init(library.app(), generation, library.path());
                drop(inside);
                // Nobody waits any more after the timeout; the instance is then left as it is.
                let _ = done.send(constructed);
            })
            .map_err(|error| failed(format!("no thread for it: {error}")))?;

        let late = || LoadError::InitTimedOut { path: path.clone(), limit: timeout };
        let constructed = tokio::time::timeout_at(deadline, constructed).await.map_err(|_| late())?;
        let instance = constructed.map_err(|_| failed("its starting thread ended".to_owned()))??;
        generation.instance.get_or_init(|| instance);
        let mut ready = generation.ready.subscribe();
        let ready = ready.wait_for(|ready| *ready);
        tokio::time::timeout_at(deadline, ready).await.map_err(|_| late())?.expect("generations stay");
        listening::started(&generation.start.name, Instant::now());
        threads::start_watchdog();
        tracing::debug!(application = %generation.start.name, generation = generation.number, "application started");

        let (alive, ended) = oneshot::channel();
        Ok(Running { lease: Arc::new(Lease { generation, _alive: alive }), ended })
    }

    fn new(start: Start, mark: Mark) -> Self {
        Self {
            number: mark.number,
            host: table::host(),
            objects: Objects::new(),
            settings: Settings::new(&start.settings),
            runtime: tokio::runtime::Handle::current(),
            watch: mark.watch,
            blocking: tokio::sync::Semaphore::new(start.blocking_threads.max(1)),
            instance: OnceLock::new(),
            ready: watch::Sender::new(true),
            draining: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            start,
        }
    }

    /// The constructed application.
    pub(super) fn instance(&self) -> &Instance {
        self.instance.get().expect("a lease exists only after construction")
    }

    /// The application's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.start.name
    }

    /// Which loaded copy of this process it is, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether its end has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether its application has been shut down: what it still asks for is not answered.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn shutdown(&self, deadline: Instant) -> bool {
        let stopped = self.instance().shutdown(deadline);
        self.ended.store(true, Ordering::Relaxed);
        stopped
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.send_replace(ready);
    }

    /// Whether the application lets requests in.
    pub(super) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }
}

impl Running {
    /// The right to call it.
    #[must_use]
    pub fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.lease)
    }

    /// Tells the application that its end is near; it goes on serving. The future holds nothing of it.
    pub fn drain_notice(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let lease = Arc::downgrade(&self.lease);
        async move {
            if let Some(lease) = lease.upgrade() {
                drain(lease, Instant::now() + NOTICE).await;
            }
        }
    }

    /// Tells the application that no new requests come, waits for those in flight, then shuts it down.
    ///
    /// Dispatchers must have let go of their leases, or it waits for `limit` in vain.
    pub async fn end(self, limit: Duration) -> Ended {
        let Self { lease, ended } = self;
        let generation = lease.generation;
        let deadline = Instant::now() + limit;
        drain(lease, deadline).await;
        // The sender is never used: its end means that the last lease is gone.
        let drained = tokio::time::timeout_at(deadline.into(), ended).await.is_ok();
        let stopped = control(generation, "stop", move || generation.shutdown(deadline), deadline).await;
        if drained && stopped == Some(true) {
            return Ended::Gracefully;
        }
        tracing::warn!(
            application = %generation.start.name,
            generation = generation.number,
            requests_finished = drained,
            application_stopped = stopped == Some(true),
            "application left behind at its shutdown deadline"
        );
        Ended::LeftBehind
    }
}

/// What is done on behalf of none.
pub(super) const NO_REQUEST: RequestId = RequestId(0);

/// How long one waits for an application to take notice of its end.
const NOTICE: Duration = Duration::from_secs(1);

/// Tells the application that its end is near, if nobody has, and waits until `deadline`.
///
/// The lease goes with the call: an application that is still being told is not ended.
async fn drain(lease: Arc<Lease>, deadline: Instant) {
    let generation = lease.generation;
    if !generation.draining.swap(true, Ordering::Relaxed) {
        let call = move || {
            generation.instance().drain();
            drop(lease);
        };
        control(generation, "drain", call, deadline).await;
    }
}

/// Calls the application on a thread of its own, and waits for it until `deadline`.
async fn control<T: Send + 'static>(
    generation: &'static Generation,
    what: &str,
    call: impl FnOnce() -> T + Send + 'static,
    deadline: Instant,
) -> Option<T> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(format!("{}-{what}", generation.start.name));
    let spawned = thread.spawn(move || {
        let inside = threads::enter_aside(generation.watch, &NO_REQUEST);
        let result = call();
        drop(inside);
        done.send(result)
    });
    if let Err(error) = spawned {
        tracing::error!(application = %generation.start.name, %error, "no thread to {what} the application");
        return None;
    }
    tokio::time::timeout_at(deadline.into(), result).await.ok()?.ok()
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Running").field(self.lease.generation).finish()
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("name", &self.start.name).field("number", &self.number).finish()
    }
}
