//! An instance and all that descends from it, as seen by its guard.
//!
//! Only processes that cannot have been replaced by strangers are signalled: our own children, which keep their number
//! until they are reaped here and nowhere else, and the groups that such a child leads.

use std::time::Duration;

use procfs::process::{Process, all_processes};
use rustix::process::{Pid, Signal as Kill, WaitOptions, getpid, kill_process, kill_process_group, wait};
use tokio::signal::unix::Signal;

use super::{Exit, Order};

/// An instance and all that descends from it.
pub(super) struct Family {
    head: Pid,
    exit: Option<Exit>,
    /// Killed by us, before it ended.
    killed: bool,
}

impl Family {
    /// The family of the child `pid`, which leads a group.
    pub(super) fn of(pid: u32) -> Self {
        let head =
            i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the system numbers processes from 1");
        Self { head, exit: None, killed: false }
    }

    pub(super) fn pid(&self) -> u32 {
        self.head.as_raw_nonzero().get().unsigned_abs()
    }

    /// How the head of the family ended, once it has.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Whether somebody else than us has killed it.
    pub(super) fn was_killed(&self) -> bool {
        self.exit == Some(Exit::Signal(Kill::KILL.as_raw())) && !self.killed
    }

    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Terminate => {
                self.signal(Kill::TERM);
                // A stopped process would hear of it only when somebody wakes it.
                self.signal(Kill::CONT);
            }
            Order::Abort => self.signal(Kill::ABORT),
            Order::Kill => self.kill(),
        }
    }

    /// Kills until nothing is left.
    pub(super) async fn end(&mut self, child: &mut Signal) {
        loop {
            self.kill();
            if self.reap() == Left::Nothing {
                return;
            }
            // Each dead child may leave us its own. The interval is for one that was forked while we were looking.
            let _either = tokio::time::timeout(ROUND, child.recv()).await;
        }
    }

    /// Collects whoever has ended.
    pub(super) fn reap(&mut self) -> Left {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.head => self.exit = Some(status.into()),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return Left::Some,
                Err(_) => return Left::Nothing,
            }
        }
    }

    fn kill(&mut self) {
        self.killed |= self.exit.is_none();
        self.signal(Kill::KILL);
        kill_children();
    }

    /// Signals the group, as long as its number cannot belong to anybody else.
    fn signal(&self, signal: Kill) {
        if self.exit.is_none() {
            let _gone = kill_process_group(self.head, signal);
        }
    }
}

/// Whether there are children.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Some,
    Nothing,
}

/// Kills all children of this process, and the groups that they lead. What they leave behind may come to us afterwards.
pub(in crate::supervisor) fn kill_children() {
    for child in children() {
        if child.leads {
            let _gone = kill_process_group(child.pid, Kill::KILL);
        }
        let _gone = kill_process(child.pid, Kill::KILL);
    }
}

struct Child {
    pid: Pid,
    /// Whether it leads a group, as it does after `setsid`.
    leads: bool,
}

/// Our children, orphans among their descendants included.
fn children() -> Vec<Child> {
    let me = getpid().as_raw_nonzero().get();
    let all = all_processes().into_iter().flatten().flatten();
    let stats = all.filter_map(|process: Process| process.stat().ok());
    stats
        .filter(|stat| stat.ppid == me)
        .filter_map(|stat| Pid::from_raw(stat.pid).map(|pid| Child { pid, leads: stat.pgrp == stat.pid }))
        .collect()
}

const ROUND: Duration = Duration::from_millis(20);
