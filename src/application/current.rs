//! What an application currently is, and what that means for a request.
//!
//! A request finds the running dispatcher with one load of a pointer. Everything else (starting, waiting, refusing) is
//! the slow way, which ends in a dispatcher or a failure.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use tokio::sync::watch;
use tower_service::Service;

use super::{
    builder::Definition,
    retire::Successor,
    start::Backing,
    status::{self, Failed, Status},
};
#[cfg(feature = "out-of-process")]
use crate::dispatcher::out_of_process::Forwarder;
use crate::{
    Body, Failure,
    dispatcher::in_process::{self, Ended},
    failure::Code,
    queue::Queue,
    supervisor::life::{Life, Outcome, Policy, Why},
};

/// An application, shared by all that have a clone of it.
pub(super) struct Shared {
    pub(super) definition: Definition,
    pub(super) state: ArcSwap<State>,
    life: Mutex<Life>,
    backing: Mutex<Option<Backing>>,
    /// Why it did not start, or ended, the last time.
    last: Mutex<Option<Told>>,
    pub(super) queue: Arc<Queue>,
    /// That came so far.
    pub(super) requests: AtomicU64,
    /// Counts changes of the state; what waits looks again.
    pub(super) changed: watch::Sender<u64>,
    /// Set when it is retired: who answers from then on.
    pub(super) successor: OnceLock<Successor>,
    /// Whose end has to come before its start.
    pub(super) predecessor: Mutex<Option<Weak<Self>>>,
    /// Whether it has been stopped, to the end.
    pub(super) over: watch::Sender<bool>,
    /// How many instances are ended because they had no requests.
    pub(super) ending: watch::Sender<usize>,
}

/// What requests find.
pub(super) enum State {
    /// Nothing runs: the slow way.
    Absent,
    /// Hand it over.
    Running(Dispatcher),
}

/// Hands a request to the application, however it is hosted.
#[derive(Clone, Debug)]
pub(super) enum Dispatcher {
    InProcess(in_process::Dispatcher),
    #[cfg(feature = "out-of-process")]
    OutOfProcess(Forwarder),
}

/// A failure that is told to many.
#[derive(Clone, Debug)]
struct Told {
    code: Code,
    detail: String,
    output: Option<Arc<str>>,
    at: SystemTime,
}

impl Shared {
    pub(super) fn new(definition: Definition) -> Self {
        let policy =
            Policy { rapid_fails_per_minute: definition.options.rapid_fails_per_minute, ..Policy::default() };
        let queue = Queue::new(definition.options.queue_limit);
        Self {
            definition,
            state: ArcSwap::from_pointee(State::Absent),
            life: Mutex::new(Life::new(policy)),
            backing: Mutex::new(None),
            last: Mutex::new(None),
            queue,
            requests: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            successor: OnceLock::new(),
            predecessor: Mutex::new(None),
            over: watch::Sender::new(false),
            ending: watch::Sender::new(0),
        }
    }

    pub(super) fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn backing(&self) -> MutexGuard<'_, Option<Backing>> {
        self.backing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dispatcher; starts the application if need be, and waits with the others.
    pub(super) async fn dispatcher(self: &Arc<Self>) -> Result<Dispatcher, Failure> {
        let mut changed = self.changed.subscribe();
        let mut place = None;
        loop {
            changed.borrow_and_update();
            if let State::Running(dispatcher) = &**self.state.load() {
                return Ok(dispatcher.clone());
            }
            let outcome = self.life().wanted(Instant::now());
            match outcome {
                Outcome::Start => drop(tokio::spawn(Arc::clone(self).start())),
                // Ready: between the state and the life lies a moment, and then a change.
                Outcome::Join | Outcome::Serve => {}
                Outcome::Refuse { until, why } => return Err(self.refusal(until, why)),
                Outcome::Stopped => return Err(Code::Draining.into()),
            }
            if place.is_none() {
                place = Some(self.queue.place().ok_or_else(|| self.full())?);
            }
            // The start itself is bounded, so this is, too. The sender is in `self`.
            let _ = changed.changed().await;
        }
    }

    /// The slow way: through a start, or to who answers in its place.
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let mut shared = self;
        loop {
            match shared.dispatcher().await {
                Ok(dispatcher) => {
                    let answering = dispatcher.call(request, &shared);
                    // Let go of before the answer comes: it would count as one more request.
                    drop(dispatcher);
                    return answering.await;
                }
                Err(failure) => {
                    if let Some(stage) = shared.stage_instead() {
                        return stage.serve(request).await;
                    }
                    shared = shared.next().ok_or(failure)?;
                }
            }
        }
    }

    fn full(&self) -> Failure {
        Failure::new(Code::QueueFull).detail(format!("queue_limit is {}", self.queue.most()))
    }

    fn refusal(&self, until: Instant, why: Why) -> Failure {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (code, detail, output) = match (why, last) {
            (Why::FailFast, Some(Told { code, detail, output, .. })) => {
                (Code::FailFast, format!("the last time: {code}: {detail}"), output)
            }
            (Why::BackingOff, Some(Told { code, detail, output, .. })) => (code, detail, output),
            (Why::FailFast, None) => (Code::FailFast, String::new(), None),
            (Why::BackingOff, None) => (Code::StartFailed, String::new(), None),
        };
        let after = until.saturating_duration_since(Instant::now());
        Failure { output, ..Failure::new(code).detail(detail).retry_after(after) }
    }

    /// How it is, without changing anything about it.
    pub(super) fn status(&self) -> Status {
        let outcome = self.life().if_wanted(Instant::now());
        let backing = self.backing();
        let told = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Status {
            name: Arc::clone(&self.definition.name),
            hosting_model: self.definition.hosting_model,
            state: match outcome {
                Outcome::Start => status::State::Idle,
                Outcome::Join => status::State::Starting,
                Outcome::Serve => status::State::Running,
                Outcome::Refuse { until, .. } => {
                    status::State::Failed { retry_at: status::time_of_day(until) }
                }
                Outcome::Stopped => status::State::Stopped,
            },
            generation: backing.as_ref().and_then(Backing::generation),
            pid: backing.as_ref().and_then(Backing::pid),
            in_flight: self.in_flight(),
            requests: self.requests.load(Ordering::Relaxed),
            waiting: self.queue.waiting(),
            failed: told.as_ref().map(|told| Failed {
                code: told.code,
                detail: told.detail.clone(),
                at: told.at,
            }),
        }
    }

    /// Requests that it has.
    pub(super) fn in_flight(&self) -> usize {
        match &**self.state.load() {
            State::Running(dispatcher) => dispatcher.in_flight(),
            State::Absent => 0,
        }
    }

    pub(super) fn note(&self, failure: &Failure) {
        let told = Told {
            code: failure.code,
            detail: failure.detail.clone(),
            output: failure.output.clone(),
            at: SystemTime::now(),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }

    /// Notices the end of a process. A library in this process has no end of its own.
    pub(super) fn watch(self: &Arc<Self>, backing: &Backing) {
        let Some(exited) = backing.exited() else { return };
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            let exit = exited.await;
            let Some(shared) = shared.upgrade() else { return };
            let ended = shared.backing().take_if(|backing| backing.has_exited());
            // None: it was stopped on purpose.
            let Some(ended) = ended else { return };
            shared.state.store(Arc::new(State::Absent));
            let output = Some(ended.output());
            let detail = format!("the instance ended with {exit}");
            shared.note(&Failure { output, ..Failure::new(Code::InstanceLost).detail(detail) });
            match ended.is_counted_elsewhere() {
                false => shared.life().exited(Instant::now()),
                true => shared.life().ended(),
            }
            tracing::warn!(
                application = %shared.definition.name, pid = ended.pid(), %exit, requests = ended.lost(),
                "instance ended; the next request starts another"
            );
            shared.changed.send_modify(|changes| *changes += 1);
            if shared.definition.options.preload {
                // What comes of it is logged there.
                let _ = shared.dispatcher().await;
            }
        });
    }

    /// Whether it runs, or is about to.
    pub(super) fn is_running(&self) -> bool {
        self.life().is_running()
    }

    pub(super) async fn notify_drain(&self) {
        let notice = self.backing().as_ref().map(Backing::drain_notice);
        if let Some(notice) = notice {
            notice.await;
        }
    }

    /// Takes away what runs, from requests and from whoever else would end it.
    fn take_backing(&self) -> Option<Backing> {
        // In this order, or what is looked at just now comes back: see `withdraw`.
        let mut backing = self.backing();
        self.state.store(Arc::new(State::Absent));
        backing.take()
    }

    pub(super) async fn stop(self: &Arc<Self>) -> Ended {
        let is_starting = {
            let mut life = self.life();
            life.stop();
            life.is_starting()
        };
        if is_starting { self.call_off().await } else { self.end().await }
    }

    /// Ends what runs, if anything does.
    pub(super) async fn end(&self) -> Ended {
        let backing = self.take_backing();
        self.changed.send_modify(|changes| *changes += 1);
        let limit = self.definition.options.shutdown_timeout;
        let ended = match backing {
            Some(backing) if self.is_retired() => backing.retire(limit).await,
            Some(backing) => backing.stop(limit).await,
            None => Ended::Gracefully,
        };
        self.wait_for_idle_ends().await;
        self.life().ended();
        self.over.send_replace(true);
        self.changed.send_modify(|changes| *changes += 1);
        tracing::debug!(application = %self.definition.name, ?ended, "application stopped");
        ended
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.definition.name).finish_non_exhaustive()
    }
}

/// Hands requests to what the application currently is.
#[derive(Clone, Debug)]
pub struct Current {
    shared: Arc<Shared>,
}

impl Current {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Service<Request<Body>> for Current {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        match &**self.shared.state.load() {
            State::Running(dispatcher) => dispatcher.call(request, &self.shared),
            State::Absent => {
                let shared = Arc::clone(&self.shared);
                Answering::Boxed(Box::pin(shared.answer(request)))
            }
        }
    }
}

impl Dispatcher {
    /// Requests that have not ended. Each holds what it needs for that, so nothing more need be counted.
    fn in_flight(&self) -> usize {
        match self {
            Self::InProcess(dispatcher) => dispatcher.in_flight(),
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(forwarder) => forwarder.in_flight(),
        }
    }

    /// Whether no request has it, nor anything that became of one. Only where nobody else can come by it.
    pub(super) fn is_unused(&self) -> bool {
        match self {
            // It stays anyway.
            Self::InProcess(_) => false,
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(forwarder) => forwarder.is_unused(),
        }
    }

    #[cfg_attr(not(feature = "out-of-process"), expect(unused_variables, reason = "a library has no end"))]
    fn call(&self, request: Request<Body>, shared: &Arc<Shared>) -> Answering {
        match self {
            Self::InProcess(dispatcher) => Answering::InProcess(dispatcher.dispatch(request)),
            #[cfg(feature = "out-of-process")]
            Self::OutOfProcess(forwarder) => {
                let (forwarder, shared) = (forwarder.clone(), Arc::clone(shared));
                Answering::Boxed(Box::pin(async move {
                    match forwarder.carry(request).await {
                        Ok(answer) => Ok(answer),
                        // On its own, since it needs room that no other request does.
                        Err(undelivered) => Box::pin(shared.hand_back(&forwarder, undelivered)).await,
                    }
                }))
            }
        }
    }
}

/// An answer to come.
pub enum Answering {
    /// From a library in this process.
    InProcess(in_process::Dispatch),
    /// From elsewhere, or not yet from anywhere.
    Boxed(Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send>>),
}

impl Future for Answering {
    type Output = Result<Response<Body>, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::InProcess(dispatch) => Pin::new(dispatch).poll(cx),
            Self::Boxed(answer) => answer.as_mut().poll(cx),
        }
    }
}
