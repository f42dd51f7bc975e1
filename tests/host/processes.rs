//! The processes of a host.

use std::os::fd::OwnedFd;

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use super::{Host, PATIENCE};

impl Host {
    /// The numbers of its workers, those included that do not serve. One that has just been started may be missing.
    pub fn workers(&self) -> Vec<u32> {
        let pid = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let children = children.split_whitespace().map(|number| number.parse().unwrap());
        children.filter(|child| is_worker(*child)).collect()
    }

    /// The number of the only process that serves.
    pub fn worker(&self) -> u32 {
        match self.workers()[..] {
            // Without a supervisor.
            [] => self.pid(),
            [worker] => worker,
            ref several => panic!("{several:?} are several"),
        }
    }
}

fn is_worker(pid: u32) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).nth(1) == Some(b"--cohost-worker")
}

/// Sends a signal to a process that the test has not started itself.
pub fn kill(pid: u32, signal: Signal) {
    kill_process(number(pid), signal).unwrap();
}

/// A process whose end one can wait for without being its parent.
pub struct Watched(OwnedFd);

impl Watched {
    pub fn new(pid: u32) -> Self {
        Self(pidfd_open(number(pid), PidfdFlags::empty()).unwrap())
    }

    pub fn has_ended(&self) -> bool {
        let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
        rustix::event::poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    pub async fn ended(self) {
        let ended = tokio::task::spawn_blocking(move || {
            let limit = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
            let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
            rustix::event::poll(&mut watched, Some(&limit)).unwrap()
        });
        assert_eq!(ended.await.unwrap(), 1, "it did not end in time");
    }
}

fn number(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).unwrap()
}
