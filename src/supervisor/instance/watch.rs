//! Watches one instance until nothing of it is left.
//!
//! In: the guard's reports, the guard's process. Out: how the instance ended. Never: forgets the instance when its guard
//! is killed.

use std::{os::fd::OwnedFd, path::PathBuf, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::unix::OwnedReadHalf,
    process::Child,
    sync::watch::Sender,
    task::JoinHandle,
    time::timeout,
};

use super::super::{Exit, cgroup::Group, guard::Report};

/// The guard's reports.
pub(super) type Reports = Lines<BufReader<OwnedReadHalf>>;

/// The next report, `None` when there will be no other.
pub(super) async fn next(reports: &mut Reports) -> Option<Report> {
    let line = reports.next_line().await.ok()??;
    line.parse().ok()
}

/// The reports that arrive on `socket`.
pub(super) fn reports(socket: OwnedReadHalf) -> Reports {
    BufReader::new(socket).lines()
}

/// What has to be seen through to the end.
pub(super) struct Watch {
    pub(super) reports: Reports,
    pub(super) guard: Guard,
    pub(super) instance: Handle,
    pub(super) output: JoinHandle<()>,
    pub(super) private: PathBuf,
    pub(super) group: Option<Group>,
    pub(super) exit: Sender<Option<Exit>>,
    pub(super) application: std::sync::Arc<str>,
}

impl Watch {
    /// Runs until the instance and its guard have ended.
    pub(super) async fn run(mut self) {
        let exit = match next(&mut self.reports).await {
            Some(Report::Ended(exit)) => exit,
            _ => self.orphaned(),
        };
        self.guard.reap(&mut self.reports).await;
        // Nobody can write any more, unless something could not be killed.
        if timeout(PATIENCE, &mut self.output).await.is_err() {
            self.output.abort();
        }
        tracing::info!(application = %self.application, pid = self.instance.pid, %exit, "instance ended");
        // Usually its guard has done it.
        let _gone = std::fs::remove_dir_all(&self.private);
        drop(self.group);
        self.exit.send_replace(Some(exit));
    }

    /// The guard is gone and the instance, perhaps, is not.
    fn orphaned(&self) -> Exit {
        tracing::error!(
            application = %self.application, pid = self.instance.pid,
            "the instance's guard was killed; killing the instance"
        );
        self.instance.kill();
        Exit::Lost
    }
}

/// The guard's process.
pub(super) enum Guard {
    /// One that was started here.
    Child(Child),
    /// One that the program before this one has started in this very process. Whoever reaps the children of a supervisor
    /// reaps it.
    Resumed(Handle),
}

impl Guard {
    /// Waits for a guard that has nothing left to do, and ends one that nevertheless stays.
    pub(super) async fn reap(&mut self, reports: &mut Reports) {
        match self {
            Self::Child(guard) => {
                if timeout(PATIENCE, guard.wait()).await.is_err() {
                    let _gone = guard.start_kill();
                }
            }
            Self::Resumed(guard) => {
                // Its end of the socket closes with it.
                let closed = async { while next(reports).await.is_some() {} };
                if timeout(PATIENCE, closed).await.is_err() {
                    guard.kill();
                }
            }
        }
    }
}

/// A hold on the instance's process that no other process can slip into.
pub(super) struct Handle {
    pub(super) pid: u32,
    descriptor: Option<OwnedFd>,
}

impl Handle {
    pub(super) fn new(pid: u32) -> Self {
        let descriptor = number(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Self { pid, descriptor }
    }

    fn kill(&self) {
        let Some(descriptor) = &self.descriptor else { return };
        // Its group may only be named by number, which is its own for certain if it has just taken a signal.
        if pidfd_send_signal(descriptor, Signal::KILL).is_ok()
            && let Some(group) = number(self.pid)
        {
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

fn number(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

const PATIENCE: Duration = Duration::from_secs(2);
