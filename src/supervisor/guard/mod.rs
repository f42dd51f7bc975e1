//! The guard: a tiny process of our own between host and instance.
//!
//! In: a description of what to start, then orders, as lines over the socket that is its standard input. Out: what
//! became of it, over the same socket. The host's end of the socket closing, which not even SIGKILL can prevent, is the
//! order to kill everything. Descendants that left their group, their session, their parent are the guard's own
//! children by then, because it is a subreaper; it ends when it has none left.
//!
//! Never: ends before them, or takes orders by signal: whoever wants the instance gone asks the host.

pub(in crate::supervisor) mod family;
mod group;
mod message;

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream as StdUnixStream, process::CommandExt},
    },
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    signal::unix::{Signal, SignalKind, signal},
};

use self::family::Family;
pub use self::message::Exit;
pub(crate) use self::message::{Description, Order, Report};
use crate::sys::image::Image;

/// Guards one instance, from its start until nothing of it is left.
///
/// Called by [`enter_if_asked`](crate::enter_if_asked); returns when the process should end.
#[must_use]
pub fn run() -> ExitCode {
    crate::sys::call_this_process(c"cohost-guard");
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(async { Guard::new()?.serve().await }));
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Guard {
    orders: Lines<BufReader<OwnedReadHalf>>,
    reports: OwnedWriteHalf,
    child: Signal,
    _deaf: Vec<Signal>,
}

impl Guard {
    fn new() -> io::Result<Self> {
        // First, while nothing else is open and nothing else runs.
        crate::sys::descriptors::seal()?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let child = signal(SignalKind::child())?;
        // Caught and not looked at. Not ignored: that the instance would inherit.
        let deaf = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
            SignalKind::alarm(),
        ];
        let deaf = deaf.into_iter().map(signal).collect::<io::Result<_>>()?;
        // The supervisor may have blocked them. What is started from here inherits that they are not.
        crate::sys::hear_signals();
        let (orders, reports) = socket()?.into_split();
        Ok(Self { orders: BufReader::new(orders).lines(), reports, child, _deaf: deaf })
    }

    async fn serve(mut self) -> io::Result<()> {
        let Some(line) = self.orders.next_line().await? else { return Ok(()) };
        let description: Description = serde_json::from_str(&line)?;
        let outcome = self.attend(&description).await;
        if let Some(directory) = &description.remove {
            // The host may be gone, and with it whoever else would tidy up.
            let _gone = fs::remove_dir_all(directory);
        }
        if let Some(group) = &description.group {
            let _gone = fs::remove_dir(group);
        }
        outcome
    }

    async fn attend(&mut self, description: &Description) -> io::Result<()> {
        let mut family = match spawn(description) {
            Ok(family) => family,
            Err(error) => return self.report(&Report::failed(&error)).await,
        };
        // The host may be gone already. Its instance is not, so an unheard report ends nothing here.
        let _heard = self.report(&Report::Started(family.pid())).await;
        self.watch(&mut family).await;
        // A process that not even SIGKILL ends (it waits for a dead disk) must not hold back the news for ever.
        let _late = tokio::time::timeout(PATIENCE, family.end(&mut self.child)).await;
        let exit = match (family.exit(), &description.group) {
            (Some(_), Some(group)) if family.was_killed() && group::ran_out_of_memory(group.as_ref()) => {
                Exit::OutOfMemory
            }
            (exit, _) => exit.unwrap_or(Exit::Lost),
        };
        let _heard = self.report(&Report::Ended(exit)).await;
        family.end(&mut self.child).await;
        Ok(())
    }

    /// Returns when the instance ended by itself or has to.
    async fn watch(&mut self, family: &mut Family) {
        while family.exit().is_none() {
            tokio::select! {
                _ = self.child.recv() => { family.reap(); }
                line = self.orders.next_line() => match line {
                    Ok(Some(line)) => if let Ok(order) = line.parse() { family.obey(order) },
                    Ok(None) | Err(_) => return,
                },
            }
        }
    }

    async fn report(&mut self, report: &Report) -> io::Result<()> {
        self.reports.write_all(format!("{report}\n").as_bytes()).await
    }
}

/// The host's socket, under a number of our own: standard input becomes `/dev/null` for whom we start.
fn socket() -> io::Result<UnixStream> {
    let ours: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let socket = StdUnixStream::from(ours);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

fn spawn(description: &Description) -> io::Result<Family> {
    let Description { program, arguments, environment, .. } = description;
    let image = Image::new(program, arguments, environment)?;
    let mut command = Command::new(program);
    command.current_dir(&description.directory).stdin(Stdio::null()).process_group(0);
    let group = description.group.as_ref().map(|group| group::entrance(group.as_ref())).transpose()?;
    crate::sys::confine::confine(&mut command, &description.confined, group, image);
    // Reaped by the family, with everybody else's orphans; the handle is not needed.
    command.spawn().map(|child| Family::of(child.id()))
}

/// How long the news of an exit waits for the last descendant to be gone.
const PATIENCE: Duration = Duration::from_secs(1);
