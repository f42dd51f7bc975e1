//! The processes of a host.

use std::{collections::BTreeMap, os::fd::OwnedFd, time::Duration};

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

    /// All that descend from it, by number, with the letter of their state: `Z` for one that has ended and was not reaped.
    pub fn descendants(&self) -> BTreeMap<u32, char> {
        let all: Vec<(u32, u32, char)> = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| stat(entry.unwrap().file_name().to_str()?.parse().ok()?))
            .collect();
        let (mut found, mut next) = (BTreeMap::new(), vec![self.pid()]);
        while let Some(parent) = next.pop() {
            for (pid, _, state) in all.iter().filter(|(_, of, _)| *of == parent) {
                found.insert(*pid, *state);
                next.push(*pid);
            }
        }
        found
    }

    /// Waits until what descends from it is as it should be.
    pub async fn until_descendants(&self, wanted: impl Fn(&BTreeMap<u32, char>) -> bool) {
        let waiting = async {
            while !wanted(&self.descendants()) {
                // Nobody tells a stranger of the end of a process that it does not know.
                tokio::time::sleep(BRIEFLY).await;
            }
        };
        if tokio::time::timeout(PATIENCE / 2, waiting).await.is_err() {
            panic!("these are left: {:?}", self.descendants());
        }
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

/// Number, parent and state of a process; `None` once it is gone.
fn stat(pid: u32) -> Option<(u32, u32, char)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have anything in it, also brackets.
    let mut words = text.rsplit_once(')')?.1.split_whitespace();
    let (state, parent) = (words.next()?.chars().next()?, words.next()?.parse().ok()?);
    Some((pid, parent, state))
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

/// Between two looks at what there is.
const BRIEFLY: Duration = Duration::from_millis(5);
