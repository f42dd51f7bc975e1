//! From a launch to an instance that is ready, or to the reason why there is none.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{UnixDatagram, UnixStream, unix::OwnedWriteHalf},
    process::{Child, ChildStderr, ChildStdout, Command},
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::{
    super::{
        Endpoint, Exit, Launch, Listen, Program, Runner,
        cgroup::Group,
        guard::{Description, Report},
        runner,
    },
    Instance, UNKILLABLE,
    carried::{Descriptors, Kept},
    ended,
    error::StartError,
    output::{Begun, Printer, Tail, capture},
    ownership::{Owner, listens_on, owner},
    prepared::{Prepared, refused},
    ready::{NotOurs, STRANGER, Seen, Signs},
    watch::{Guard, Handle, Reports, Watch, next, reports},
};

/// Starts an instance, unless that is called off; with another port, if somebody was quicker with the first.
pub(super) async fn start(
    launch: &Launch,
    runner: &Runner,
    called_off: impl Future<Output = ()>,
) -> Result<Instance, StartError> {
    if runner::asked() {
        let unsupported = io::Error::from(io::ErrorKind::Unsupported);
        return Err(refused(&runner.program, FORGOTTEN, unsupported));
    }
    let deadline = Instant::now() + launch.startup_timeout;
    let mut called_off = std::pin::pin!(called_off);
    let mut tries = if launch.listen() == Listen::Port { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match start_once(launch, runner, deadline, called_off.as_mut()).await {
            Err(StartError::PortTaken { port, .. }) if tries > 0 => {
                tracing::warn!(application = %launch.application, port, "port taken by another process; trying the next");
            }
            outcome => return outcome,
        }
    }
}

async fn start_once(
    launch: &Launch,
    runner: &Runner,
    deadline: Instant,
    called_off: Pin<&mut impl Future<Output = ()>>,
) -> Result<Instance, StartError> {
    let prepared = prepare(launch, runner).await?;
    let mut guard = Guarded::spawn(&launch.application, runner)?;
    let pid = match guard.hand_over_until(deadline, &prepared.description).await {
        Ok(pid) => pid,
        Err(refusal) => {
            guard.end().await;
            return Err(refusal.into_error(launch, &prepared.description, runner));
        }
    };
    tracing::info!(application = %launch.application, pid, endpoint = %prepared.endpoint, "instance started");
    let top = guard.pid;
    let command = command(launch, &prepared.description);
    let (instance, notify) = guard.watched(pid, launch, prepared);
    let attempt = Attempt { launch, command, instance, notify, top };
    attempt.until_ready(deadline, called_off).await
}

async fn prepare(launch: &Launch, runner: &Runner) -> Result<Prepared, StartError> {
    let (for_launch, for_runner) = (launch.clone(), runner.clone());
    let prepared = tokio::task::spawn_blocking(move || Prepared::new(&for_launch, &for_runner)).await;
    // It does not panic; the runtime may be shutting down.
    prepared.unwrap_or_else(|error| Err(refused(&runner.program, "the host is ending", error.into())))
}

/// A guard that was started and, perhaps, given something to guard.
struct Guarded {
    process: Child,
    pid: u32,
    reports: Reports,
    orders: OwnedWriteHalf,
    descriptors: Descriptors,
}

impl Guarded {
    fn spawn(application: &str, runner: &Runner) -> Result<Self, StartError> {
        let start = || {
            let (ours, theirs) = StdUnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let kept = OwnedFd::from(ours.try_clone()?);
            let (read, orders) = UnixStream::from_std(ours)?.into_split();
            // Nothing that would need code between fork and exec: other threads of the host go on meanwhile.
            let process = Command::new(&runner.program)
                .arg0("cohost-guard")
                .args(runner::guard_arguments(application))
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0)
                .spawn()?;
            let pid = process.id().unwrap_or_default();
            let descriptors = Descriptors::of(kept, process.stdout.as_ref(), process.stderr.as_ref())?;
            Ok(Self { process, pid, reports: reports(read), orders, descriptors })
        };
        start().map_err(|source| refused(&runner.program, "the runner cannot be started", source))
    }

    async fn hand_over_until(
        &mut self,
        deadline: Instant,
        description: &Description,
    ) -> Result<u32, Refusal> {
        let limit = deadline.min(Instant::now() + GUARD_PATIENCE);
        match timeout_at(limit, self.hand_over(description)).await {
            Ok(started) => started,
            Err(_elapsed) if limit == deadline => Err(Refusal::Late),
            Err(_elapsed) => Err(Refusal::Guard(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Tells the guard what to start; the instance's number, once there is one.
    async fn hand_over(&mut self, description: &Description) -> Result<u32, Refusal> {
        let mut line = serde_json::to_vec(description).map_err(|error| Refusal::Guard(error.into()))?;
        line.push(b'\n');
        self.orders.write_all(&line).await.map_err(Refusal::Guard)?;
        match next(&mut self.reports).await {
            Some(Report::Started(pid)) => Ok(pid),
            Some(Report::Failed(errno, text)) => Err(Refusal::System(errno, text)),
            Some(Report::Ended(_)) | None => Err(Refusal::Guard(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Ends a guard that will not be used, and what it may have started.
    async fn end(self) {
        let Self { process, orders, mut reports, descriptors, .. } = self;
        drop((orders, descriptors));
        Guard::Child(process).reap(&mut reports).await;
    }

    /// From here on somebody watches, and the instance is there to be dropped.
    fn watched(mut self, pid: u32, launch: &Launch, prepared: Prepared) -> (Instance, Option<UnixDatagram>) {
        let notify = prepared.notify.and_then(|socket| UnixDatagram::from_std(socket).ok());
        let process = Watched {
            pid,
            endpoint: prepared.endpoint,
            token: prepared.token,
            streams: (self.process.stdout.take(), self.process.stderr.take()),
            guard: Guard::Child(self.process),
            reports: self.reports,
            orders: self.orders,
            group: prepared.group,
            kept: Kept {
                guard: self.pid,
                private: prepared.private.keep(),
                descriptors: self.descriptors,
                begun: Begun::new(printer(launch), Default::default()),
            },
        };
        (process.instance(launch), notify)
    }
}

/// A process that runs, and whatever belongs to it.
pub(super) struct Watched {
    pub(super) pid: u32,
    pub(super) endpoint: Endpoint,
    pub(super) token: Arc<str>,
    pub(super) streams: (Option<ChildStdout>, Option<ChildStderr>),
    pub(super) guard: Guard,
    pub(super) reports: Reports,
    pub(super) orders: OwnedWriteHalf,
    pub(super) group: Option<Group>,
    pub(super) kept: Kept,
}

impl Watched {
    /// Has somebody watch it.
    pub(super) fn instance(self, launch: &Launch) -> Instance {
        let (application, pid) = (Arc::clone(&launch.application), self.pid);
        let tail = Tail::default();
        let kept = (self.kept.begun.clone(), tail.clone());
        let output =
            tokio::spawn(capture(Arc::clone(&application), pid, printer(launch), self.streams, kept));
        let (sender, exit) = watch::channel(None);
        let watch = Watch {
            reports: self.reports,
            guard: self.guard,
            instance: Handle::new(pid),
            output,
            private: self.kept.private.clone(),
            group: self.group,
            exit: sender,
            application: Arc::clone(&application),
        };
        // Its parent is the instance's exit: whoever stops the instance awaits that.
        tokio::spawn(watch.run());
        Instance {
            application,
            pid,
            endpoint: self.endpoint,
            token: self.token,
            path_base: Arc::clone(&launch.path_base),
            shutdown: launch.shutdown,
            shutdown_timeout: launch.shutdown_timeout,
            tail,
            exit,
            orders: self.orders,
            kept: self.kept,
        }
    }
}

/// Why the guard has nothing to guard.
enum Refusal {
    /// The guard itself failed.
    Guard(io::Error),
    /// The system refused to start the program.
    System(i32, String),
    /// There was no time left for it.
    Late,
}

impl Refusal {
    fn into_error(self, launch: &Launch, description: &Description, runner: &Runner) -> StartError {
        match self {
            Self::Late => StartError::StartTimeout {
                command: command(launch, description),
                limit: launch.startup_timeout,
                waited_for: "the system had not started it".to_owned(),
                output: Arc::from(""),
            },
            Self::Guard(source) => refused(&runner.program, NO_GUARD, source),
            Self::System(errno, text) => {
                let source =
                    if errno == 0 { io::Error::other(text) } else { io::Error::from_raw_os_error(errno) };
                refused(Path::new(&description.program), advice(&source), source)
            }
        }
    }
}

pub(super) fn printer(launch: &Launch) -> Printer {
    match launch.program {
        Program::Command(_) => Printer::Foreign,
        Program::Library(_) => Printer::Runner,
    }
}

/// What to do about a refusal of the system.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        // The file itself was there a moment ago.
        io::ErrorKind::NotFound => {
            "the interpreter named in its first line, or its dynamic loader, does not exist; install it"
        }
        io::ErrorKind::PermissionDenied => "it is not executable for the host's user; chmod +x it",
        io::ErrorKind::ArgumentListTooLong => "arguments and environment are too long together; shorten them",
        io::ErrorKind::InvalidInput => "an argument or a variable contains a NUL byte; remove it",
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            "it is neither a program for this machine nor a script that begins with #!; build it for this machine"
        }
        _ => "the system refused",
    }
}

/// An instance that is not ready yet.
struct Attempt<'a> {
    launch: &'a Launch,
    command: String,
    instance: Instance,
    notify: Option<UnixDatagram>,
    top: u32,
}

/// Why it is not.
enum Early {
    Exited(Exit),
    NotOurs(&'static str),
    TimeOver(Seen),
    CalledOff,
}

impl Attempt<'_> {
    async fn until_ready(
        self,
        deadline: Instant,
        called_off: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Instance, StartError> {
        let mut seen = Seen::Nothing;
        let signs = Signs {
            application: &self.launch.application,
            ready: &self.launch.ready,
            endpoint: &self.instance.endpoint,
            token: &self.instance.token,
            notify: self.notify.as_ref(),
            top: self.top,
        };
        let early = tokio::select! {
            // An exit before a sign of life: whoever listens there then, it is not the instance.
            biased;
            () = called_off => Early::CalledOff,
            exit = ended(self.instance.exit.clone()) => Early::Exited(exit),
            ready = signs.wait(&mut seen) => match ready {
                Ok(()) => return Ok(self.instance),
                Err(NotOurs(why)) => Early::NotOurs(why),
            },
            () = tokio::time::sleep_until(deadline) => Early::TimeOver(seen),
        };
        Err(self.fail(early).await)
    }

    async fn fail(self, early: Early) -> StartError {
        let error = match early {
            Early::Exited(exit) => self.exited(exit).await,
            Early::NotOurs(why) => Failed::PortTaken(why),
            Early::TimeOver(seen) => Failed::TimeOver(self.missed(&seen).await),
            Early::CalledOff => Failed::CalledOff,
        };
        // Returns when nothing of it is left, and its output is complete.
        let _exit = timeout(UNKILLABLE, self.instance.kill()).await;
        self.error(error)
    }

    /// An instance that ends because its port is taken says so in words of its own; we look at the port.
    async fn exited(&self, exit: Exit) -> Failed {
        match self.instance.endpoint {
            Endpoint::Tcp(address) => {
                let top = self.top;
                let owner = tokio::task::spawn_blocking(move || owner(top, address.port())).await;
                if matches!(owner, Ok(Owner::Stranger)) {
                    Failed::PortTaken(STRANGER)
                } else {
                    Failed::Exited(exit)
                }
            }
            Endpoint::Unix(_) => Failed::Exited(exit),
        }
    }

    /// What was missing, and what was there instead.
    async fn missed(&self, seen: &Seen) -> String {
        let top = self.top;
        let elsewhere = match seen {
            Seen::NobodyListens(_) => tokio::task::spawn_blocking(move || listens_on(top)).await,
            _ => Ok(Vec::new()),
        };
        match elsewhere.unwrap_or_default().first() {
            Some(address) => format!("{seen}, but on {address}; it should listen where the host says"),
            None => seen.to_string(),
        }
    }

    fn error(self, failed: Failed) -> StartError {
        let (command, output) = (self.command, self.instance.output_tail());
        match (failed, &self.instance.endpoint) {
            (Failed::PortTaken(why), endpoint) => StartError::PortTaken { port: port(endpoint), why, output },
            (Failed::Exited(exit), _) => {
                StartError::InstanceExited { command, exit, said: self.instance.tail.told(), output }
            }
            (Failed::CalledOff, _) => StartError::CalledOff { command },
            (Failed::TimeOver(waited_for), _) => {
                StartError::StartTimeout { command, limit: self.launch.startup_timeout, waited_for, output }
            }
        }
    }
}

enum Failed {
    Exited(Exit),
    PortTaken(&'static str),
    TimeOver(String),
    CalledOff,
}

fn port(endpoint: &Endpoint) -> u16 {
    match endpoint {
        Endpoint::Tcp(address) => address.port(),
        Endpoint::Unix(_) => 0,
    }
}

/// What was started, for messages: the program, not its arguments, which may hold a secret; or the library, whoever
/// runs it.
fn command(launch: &Launch, description: &Description) -> String {
    let file = match &launch.program {
        Program::Command(_) => PathBuf::from(&description.program),
        Program::Library(library) => launch.directory.join(library),
    };
    file.display().to_string()
}

const PORT_TRIES: u32 = 5;
/// How long a guard may take to start the process. It is done in a moment, unless the runner does something else.
const GUARD_PATIENCE: Duration = Duration::from_secs(20);
const NO_GUARD: &str =
    "it does not act as a guard; it has to call cohost::enter_if_asked first thing in main";
const FORGOTTEN: &str =
    "this very process was started as a guard; call cohost::enter_if_asked first thing in main";
