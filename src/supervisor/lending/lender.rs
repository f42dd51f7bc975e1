//! The supervisor's side: has the instances, and lends them to workers.
//!
//! In: what workers want, and their ends. Out: instances, and news of them. Never: blocks, starts two where one is enough,
//! or leaves one behind: dropping this kills all.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::AbortHandle,
    time::timeout,
};

use super::{
    super::{
        End, Exit, Instance, Launch, Program, Runner,
        worker::{Generation, Order, Outcome, Report},
    },
    ledger::{Action, Event, Fitness, Ledger, Loan, Number, Pause},
    message::{Ask, Ended, Found, Kept, Lending, NotLent, Tried, Want},
};
use crate::failure::{Code, Failure};

/// How long an instance is kept that no worker has.
///
/// A worker that takes over wants it with the first request for its application, or at once if that is to be preloaded;
/// until then an instance costs memory and nothing else. A minute covers a worker that takes long to start, and the
/// slow trickle of requests that still deserves a warm instance.
pub const UNCLAIMED: Duration = Duration::from_secs(60);

/// The instances of a host, lent to its workers.
pub struct Lender {
    pub(super) ledger: Ledger,
    runner: Runner,
    pub(super) instances: HashMap<Number, Process>,
    workers: HashMap<Generation, Say>,
    /// How applications failed the last time, by name.
    pub(super) reasons: HashMap<Arc<str>, NotLent>,
    news: UnboundedReceiver<(Number, News)>,
    tell: UnboundedSender<(Number, News)>,
    outcome: Outcome,
    /// Since when nobody wants to wait for them any more.
    hurried: bool,
}

/// Tells one of the workers.
type Say = Box<dyn Fn(&Order) + Send>;

pub(super) enum Process {
    /// Whoever takes the sender out calls it off.
    Starting(Option<oneshot::Sender<Infallible>>),
    Running {
        instance: Arc<Instance>,
        launch: Arc<Launch>,
        /// Notices an end that nobody asked for.
        watch: AbortHandle,
    },
}

/// What became of one.
enum News {
    Started(Instance, Arc<Launch>),
    NotStarted(Failure, Arc<Launch>),
    Ended(End),
}

/// What there is to say when it is over.
enum Last {
    NotStarted(Failure),
    Ended(End, Arc<str>),
}

impl Lender {
    /// Of nothing yet. What `runner` starts and no worker has for longer than `unclaimed` is stopped.
    #[must_use]
    pub fn new(runner: Runner, unclaimed: Duration) -> Self {
        let (tell, news) = unbounded_channel();
        Self {
            ledger: Ledger::new(Instant::now(), unclaimed),
            runner,
            instances: HashMap::new(),
            workers: HashMap::new(),
            reasons: HashMap::new(),
            news,
            tell,
            outcome: Outcome::Gracefully,
            hurried: false,
        }
    }

    /// A worker was started, which is told by `say`.
    pub fn came(&mut self, worker: Generation, say: impl Fn(&Order) + Send + 'static) {
        self.workers.insert(worker, Box::new(say));
        self.on(Event::Came(worker), None);
    }

    /// A worker was told to end.
    pub fn leaves(&mut self, worker: Generation) {
        self.on(Event::Leaves(worker), None);
    }

    /// A worker has ended.
    pub fn gone(&mut self, worker: Generation) {
        self.workers.remove(&worker);
        self.on(Event::Gone(worker), None);
    }

    /// A worker said this; gives back what is not about instances.
    pub fn heard(&mut self, worker: Generation, report: Report) -> Option<Report> {
        let event = match report {
            Report::Want(want) => {
                let Want { ask, launch } = *want;
                Event::Wanted(Loan { worker, ask }, Arc::new(launch))
            }
            Report::Tried(tried) => {
                self.tried(worker, tried);
                return None;
            }
            Report::Release(release) => Event::Released(Loan { worker, ask: release.ask }, release.parting),
            other => return Some(other),
        };
        self.on(event, None);
        None
    }

    fn tried(&mut self, worker: Generation, Tried { ask, failed }: Tried) {
        let loan = Loan { worker, ask };
        match failed {
            None => self.on(Event::Tried(loan, Fitness::Fit), None),
            Some(failed) => {
                let launch = self.ledger.lent(loan).cloned();
                let failure = Failure::from(failed);
                if let Some(launch) = launch {
                    self.note(&launch, &failure);
                }
                self.on(Event::Tried(loan, Fitness::Unfit), Some(&Last::NotStarted(failure)));
            }
        }
    }

    /// The host stops: instances are told that their end is near, and stopped once no worker has them.
    pub fn stop(&mut self) {
        self.on(Event::Stop, None);
    }

    /// The host stops at once: whoever has been asked to stop, or is asked from now on, is killed soon.
    pub fn hurry(&mut self) {
        if !std::mem::replace(&mut self.hurried, true) {
            let late = self.instances.iter().filter(|(number, _)| !self.ledger.is_running(**number));
            for (_, process) in late {
                if let Process::Running { instance, .. } = process {
                    tokio::spawn(killed_soon(Arc::clone(instance)));
                }
            }
        }
    }

    /// Stops those of an application that no worker has, instead of keeping them for the next one.
    pub fn dismiss(&mut self, application: &str) {
        if self.has(application) {
            self.on(Event::Dismissed(application.into()), None);
        }
    }

    /// An application gets a new chance at once: it is another one now, or somebody says so.
    pub fn forgive(&mut self, application: &str) {
        self.ledger.failures.forget(application);
    }

    /// Whether an application has one, or is about to.
    #[must_use]
    pub fn has(&self, application: &str) -> bool {
        self.ledger.has(application)
    }

    /// Whether there is none, and no start of one.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ledger.is_empty()
    }

    /// Whether one had to be killed since the host stops, because it did not stop in time.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Waits for the next thing to do, and does it. May be dropped at any time.
    pub async fn turn(&mut self) {
        let due = self.ledger.due().map(tokio::time::Instant::from_std);
        let passed = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Never closed: one of the senders is here.
            Some((number, news)) = self.news.recv() => self.learn(number, news),
            () = passed => self.on(Event::Tick, None),
        }
    }

    fn learn(&mut self, number: Number, news: News) {
        match news {
            News::Started(instance, launch) => {
                self.watch(number, instance, launch);
                self.on(Event::Started(number), None);
            }
            News::NotStarted(failure, launch) => {
                let process = self.instances.remove(&number);
                if let Some(Process::Starting(Some(_))) = process {
                    self.note(&launch, &failure);
                }
                self.on(Event::NotStarted(number), Some(&Last::NotStarted(failure)));
            }
            News::Ended(end) => self.ended(number, end),
        }
    }

    pub(super) fn watch(&mut self, number: Number, instance: Instance, launch: Arc<Launch>) {
        let (exited, tell) = (instance.exited(), self.tell.clone());
        let watch = tokio::spawn(async move {
            let _over = tell.send((number, News::Ended(End { exit: exited.await, forced: false })));
        });
        let process = Process::Running { instance: Arc::new(instance), launch, watch: watch.abort_handle() };
        self.instances.insert(number, process);
    }

    fn ended(&mut self, number: Number, end: End) {
        // Not there: it ended while it was being stopped, and both noticed.
        let Some(Process::Running { instance, launch, .. }) = self.instances.remove(&number) else { return };
        // In a hurry, it was perhaps killed before its own limit was over.
        let killed = self.hurried && end.exit == Exit::Signal(SIGKILL);
        if (end.forced || killed) && self.ledger.is_stopping() {
            self.outcome = Outcome::Forced;
        }
        if self.ledger.is_unclaimed(number) {
            let (application, pid, exit) = (&*launch.application, instance.pid(), end.exit);
            tracing::warn!(application, pid, %exit, "instance ended while no worker had it");
        }
        let output = instance.output_tail();
        if self.ledger.is_running(number) {
            let detail = format!("the instance ended with {}", end.exit);
            let output = Some(Arc::clone(&output));
            self.note(&launch, &Failure { output, ..Failure::new(Code::InstanceLost).detail(detail) });
        }
        self.on(Event::Ended(number), Some(&Last::Ended(end, output)));
    }

    /// Does what the ledger wants, about an event that came with somebody's last words.
    fn on(&mut self, event: Event, last: Option<&Last>) {
        for action in self.ledger.on(Instant::now(), event) {
            match action {
                Action::Start(number, launch) => self.start(number, launch),
                Action::Lend(loan, number, found) => self.lend(loan, number, found),
                Action::Fail(loan, pause) => {
                    if let Some(Last::NotStarted(failure)) = last {
                        self.refuse(loan, &NotLent::new(loan.ask, failure), pause);
                    }
                }
                Action::Refuse(loan, launch, pause) => {
                    if let Some(reason) = self.reasons.get(&launch.application) {
                        self.refuse(loan, reason, Some(pause));
                    }
                }
                Action::TellEnd(loan) => {
                    if let Some(Last::Ended(End { exit, forced, .. }, output)) = last {
                        let (ask, exit, forced, output) = (loan.ask, *exit, *forced, output.to_string());
                        self.say(loan.worker, &Order::Ended(Ended { ask, exit, forced, output }));
                    }
                }
                Action::TellKept(loan) => self.say(loan.worker, &Order::Kept(Kept { ask: loan.ask })),
                Action::PortHeld(loan, port) => {
                    let failure = Failure::new(Code::PortTaken).detail(held(port));
                    self.say(loan.worker, &Order::NotLent(NotLent::new(loan.ask, &failure)));
                }
                Action::Announce(number) => self.announce(number),
                Action::Stop(number) => self.end(number),
                Action::CallOff(number) => {
                    if let Some(Process::Starting(called_off)) = self.instances.get_mut(&number) {
                        drop(called_off.take());
                    }
                }
            }
        }
    }

    fn start(&mut self, number: Number, launch: Arc<Launch>) {
        let (runner, tell) = (self.runner.clone(), self.tell.clone());
        let (sender, dropped) = oneshot::channel();
        let called_off = async move { drop(dropped.await) };
        tokio::spawn(async move {
            let news = match Instance::start_unless(&launch, &runner, called_off).await {
                Ok(instance) => News::Started(instance, launch),
                Err(error) => News::NotStarted(error.into(), launch),
            };
            let _over = tell.send((number, news));
        });
        self.instances.insert(number, Process::Starting(Some(sender)));
    }

    /// Remembers how it failed, for those who want it while it is not tried.
    fn note(&mut self, launch: &Launch, failure: &Failure) {
        self.reasons.insert(Arc::clone(&launch.application), NotLent::new(Ask(0), failure));
    }

    fn refuse(&self, loan: Loan, reason: &NotLent, pause: Option<Pause>) {
        let pause = pause.map(|(until, why)| (until.saturating_duration_since(Instant::now()), why));
        let told = NotLent { ask: loan.ask, ..reason.clone() };
        self.say(loan.worker, &Order::NotLent(told.counted(pause)));
    }

    fn lend(&self, loan: Loan, number: Number, found: Found) {
        let Some(Process::Running { instance, .. }) = self.instances.get(&number) else { return };
        let lending = Lending {
            ask: loan.ask,
            pid: instance.pid(),
            endpoint: instance.endpoint().clone(),
            token: Arc::clone(instance.token()),
            found,
        };
        self.say(loan.worker, &Order::Lent(lending));
    }

    /// Only our own runner understands the notice; other programs hear of their end when it comes.
    fn announce(&self, number: Number) {
        if let Some(Process::Running { instance, launch, .. }) = self.instances.get(&number)
            && matches!(launch.program, Program::Library(_))
        {
            tokio::spawn(instance.drain_notice());
        }
    }

    fn end(&self, number: Number) {
        let Some(Process::Running { instance, launch, watch }) = self.instances.get(&number) else { return };
        // From here on the end was asked for.
        watch.abort();
        tracing::debug!(application = %launch.application, pid = instance.pid(), "stopping the instance");
        let (instance, tell) = (Arc::clone(instance), self.tell.clone());
        if self.hurried {
            tokio::spawn(killed_soon(Arc::clone(&instance)));
        }
        tokio::spawn(async move {
            let _over = tell.send((number, News::Ended(instance.stop().await)));
        });
    }

    fn say(&self, worker: Generation, order: &Order) {
        // One that has ended does not want to know.
        if let Some(say) = self.workers.get(&worker) {
            say(order);
        }
    }
}

impl fmt::Debug for Lender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lender").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// For one that has been asked to stop: it has a moment to do so.
async fn killed_soon(instance: Arc<Instance>) {
    if timeout(LAST_MOMENT, instance.exited()).await.is_err() {
        instance.kill().await;
    }
}

/// How long one may take to stop when the host is in a hurry.
const LAST_MOMENT: Duration = Duration::from_secs(1);
const SIGKILL: i32 = 9;

fn held(port: u16) -> String {
    format!("port {port} is that of another instance of this host, which has not ended in time")
}
