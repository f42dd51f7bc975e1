//! Children that have ended: workers, and orphans that came to the supervisor.
//!
//! In: nothing but the process's own children. Out: which workers have ended, and how. Never: waits for one that lives,
//! except at the very end.

use std::{io, time::Duration};

use rustix::process::{
    WaitId, WaitIdOptions, WaitOptions, getpid, set_child_subreaper, wait, waitid, waitpid,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use super::{
    super::{Exit, guard::family::kill_children},
    process::Process,
};

/// The children of this process, and the orphans among their descendants, which become its children.
#[derive(Debug)]
pub struct Children {
    ended: Signal,
}

impl Children {
    /// Makes this process the one that reaps. From then on nobody else in it may wait for children.
    ///
    /// # Errors
    /// The system refused, or there is no tokio runtime.
    pub fn adopt() -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        Ok(Self { ended: signal(SignalKind::child())? })
    }

    /// Waits until a child may have ended. May be dropped at any time.
    pub async fn changed(&mut self) {
        self.ended.recv().await;
    }

    /// Collects who has ended, with how it did: `workers`, and orphans.
    pub fn reap<'a>(&self, workers: impl Iterator<Item = &'a Process>) -> Vec<(u32, Exit)> {
        let mut ended = Vec::new();
        for worker in workers {
            let looking = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if matches!(waitid(WaitId::Pid(worker.number()), looking), Ok(Some(_))) {
                // While its number is its own: what an application of its has left in the group.
                worker.kill();
                if let Ok(Some((pid, status))) = waitpid(Some(worker.number()), WaitOptions::NOHANG) {
                    ended.push((pid.as_raw_nonzero().get().unsigned_abs(), status.into()));
                }
            }
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    ended.push((pid.as_raw_nonzero().get().unsigned_abs(), status.into()));
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => return ended,
            }
        }
    }

    /// Waits a moment for those that are ending, and kills who is left, until nobody is.
    pub async fn end(mut self) {
        let _late = timeout(LAST_BREATH, async {
            while !self.none_left() {
                self.changed().await;
            }
        })
        .await;
        // A process that not even SIGKILL ends must not hold the supervisor for ever.
        let _late = timeout(UNKILLABLE, async {
            while !self.none_left() {
                kill_children();
                // Each that dies may leave us its own. The interval is for one that was forked while we were looking.
                let _either = timeout(ROUND, self.changed()).await;
            }
        })
        .await;
    }

    fn none_left(&self) -> bool {
        self.reap(std::iter::empty());
        matches!(wait(WaitOptions::NOHANG), Err(error) if error == rustix::io::Errno::CHILD)
    }
}

/// How long guards may take to end their instances.
const LAST_BREATH: Duration = Duration::from_secs(2);
const ROUND: Duration = Duration::from_millis(20);
const UNKILLABLE: Duration = Duration::from_secs(10);
