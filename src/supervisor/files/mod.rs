//! Files whose change counts: libraries, the configuration, whatever takes an application offline.
//!
//! In: paths, whether there is something or not. Out: those at which there is something else now, once that has come to
//! rest; and once for each path that is new, since nobody knows what happened before. Never: reads a file, or says what
//! is different about it: whoever is told compares what is in it, so that a change back, or a touch, is none.
//!
//! A thread of its own looks, since a file system may not answer for a long time. The system tells it when to look
//! (`notices.rs`); where it cannot, the thread looks every second.

mod notices;
mod places;
mod settling;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;

use self::{notices::Notices, places::Places, settling::Settling};
use crate::sys::stamp::Stamp;

/// Files that are looked after. Dropping it ends that.
#[derive(Debug)]
pub struct Files {
    paths: Sender<BTreeSet<PathBuf>>,
    /// Has the thread look into the channel.
    wake: UnixStream,
}

/// How long a change takes until it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// So long nothing may happen to a file: a build writes it in many pieces.
    pub quiet: Duration,
    /// After so long it is told all the same: something may be written to without end.
    pub longest: Duration,
    /// So often it looks where the system does not tell.
    pub poll: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            // Longer than a linker or `cp` pauses, and short for somebody who waits for the effect.
            quiet: Duration::from_millis(250),
            longest: Duration::from_secs(5),
            // With `quiet`, a change is told within two seconds at any rate.
            poll: Duration::from_secs(1),
        }
    }
}

impl Files {
    /// Tells `changed` of changes, for as long as it is there.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn new(pace: Pace, changed: UnboundedSender<BTreeSet<PathBuf>>) -> io::Result<Self> {
        Self::with(Notices::default(), pace, changed)
    }

    fn with(notices: Notices, pace: Pace, changed: UnboundedSender<BTreeSet<PathBuf>>) -> io::Result<Self> {
        let (paths, wanted) = channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let watch = Watch {
            wanted,
            woken,
            changed,
            pace,
            paths: BTreeSet::new(),
            notices,
            settling: Settling::new(pace),
        };
        std::thread::Builder::new().name("cohost-files".to_owned()).spawn(move || watch.run())?;
        Ok(Self { paths, wake })
    }

    /// Looks after these from now on, and no others.
    pub fn watch(&self, paths: BTreeSet<PathBuf>) {
        let _gone = self.paths.send(paths);
        // If it is full, it is read soon.
        let _full = (&self.wake).write(&[0]);
    }
}

/// The thread.
struct Watch {
    wanted: Receiver<BTreeSet<PathBuf>>,
    woken: UnixStream,
    changed: UnboundedSender<BTreeSet<PathBuf>>,
    pace: Pace,
    paths: BTreeSet<PathBuf>,
    notices: Notices,
    settling: Settling<Option<Stamp>>,
}

impl Watch {
    fn run(mut self) {
        while self.hear() && !self.changed.is_closed() {
            // First the notices: what happens after the look is noticed.
            self.notices.follow(&Places::of(&self.paths));
            for path in &self.paths {
                self.settling.saw(Instant::now(), path, stamp(path));
            }
            let settled = self.settling.take(Instant::now());
            if !settled.is_empty() {
                let _closed = self.changed.send(settled);
            }
            self.wait();
        }
    }

    /// Takes what is to be looked after; `false` when that is over.
    fn hear(&mut self) -> bool {
        let mut bytes = [0; 64];
        while self.woken.read(&mut bytes).is_ok_and(|read| read > 0) {}
        loop {
            match self.wanted.try_recv() {
                Ok(paths) => {
                    self.settling.keep(&paths);
                    self.paths = paths;
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn wait(&mut self) {
        // One look for many notices, however fast they come.
        self.notices.pause(&self.woken, LEAST_PAUSE);
        let due = self.settling.due().map(|due| due.saturating_duration_since(Instant::now()));
        let poll = self.notices.are_incomplete().then_some(self.pace.poll);
        let limit = due.into_iter().chain(poll).min();
        self.notices.wait(&self.woken, limit);
    }
}

/// What is at `path`, if there is something.
fn stamp(path: &Path) -> Option<Stamp> {
    // A link to nothing is something, too.
    fs::metadata(path).or_else(|_| fs::symlink_metadata(path)).ok().as_ref().map(Stamp::of)
}

const LEAST_PAUSE: Duration = Duration::from_millis(10);
