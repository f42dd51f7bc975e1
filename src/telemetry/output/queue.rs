//! Lines between those who read pipes and the one who writes files.
//!
//! In: lines, at any speed. Out: batches of one application each. Never: holds more than [`ROOM`] for an application, or
//! its lock while anything is written. What finds no room is counted, and so is everything after it until the batch is
//! taken: so a gap is one, and known by its place.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use super::{
    Line, Outputs, Printer,
    batch::{self, Batch, Lost},
};
use crate::options::{Destination, Output};

#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// There is something to do.
    filled: Condvar,
    /// There is nothing to do any more.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    outputs: Outputs,
    waiting: HashMap<Arc<str>, Waiting>,
    reopen: bool,
    /// Batches that were taken and are not written yet.
    taken: usize,
}

#[derive(Debug)]
struct Waiting {
    /// Where it goes: what is said of that later is for what comes then.
    output: Output,
    text: Vec<u8>,
    lost: Lost,
}

/// What there is to do.
pub(super) struct Work {
    pub(super) reopen: bool,
    pub(super) batches: Vec<Batch>,
}

impl Queue {
    /// Closes the files, too: some may belong to applications that are no more, and others open again with the next line.
    pub(super) fn keep(&self, outputs: Outputs) {
        self.inner().outputs = outputs;
        self.reopen();
    }

    pub(super) fn reopen(&self) {
        self.inner().reopen = true;
        self.filled.notify_one();
    }

    /// Takes a line, or counts it; false if it goes to no file.
    pub(super) fn push(&self, printer: Printer<'_>, line: Line<'_>, now: SystemTime) -> bool {
        let mut inner = self.inner();
        let name = printer.application.unwrap_or(NOBODY);
        let Inner { outputs, waiting, .. } = &mut *inner;
        let output = outputs.applications.get(name).unwrap_or(&outputs.default);
        if output.to != Destination::Files {
            return false;
        }
        if !waiting.contains_key(name) {
            let (output, text, lost) = (output.clone(), Vec::new(), Lost::default());
            waiting.insert(Arc::from(name), Waiting { output, text, lost });
        }
        let waiting = waiting.get_mut(name).expect("it was just put there");
        if waiting.lost.is_none() && waiting.text.len() + line.text.len() <= ROOM {
            batch::append(&mut waiting.text, printer, line, now);
        } else {
            waiting.lost.add(Lost { lines: 1, bytes: line.text.len() as u64 });
        }
        drop(inner);
        self.filled.notify_one();
        true
    }

    /// Waits until there is something to do.
    pub(super) fn next(&self) -> Work {
        let idle = |inner: &mut Inner| inner.waiting.is_empty() && !inner.reopen;
        let mut inner = self.filled.wait_while(self.inner(), idle).unwrap_or_else(PoisonError::into_inner);
        let batch = |(application, Waiting { output, text, lost })| Batch { application, output, text, lost };
        let batches: Vec<_> = inner.waiting.drain().map(batch).collect();
        inner.taken = batches.len();
        Work { reopen: std::mem::take(&mut inner.reopen), batches }
    }

    /// One of the batches is written.
    pub(super) fn written(&self) {
        self.inner().taken -= 1;
        self.emptied.notify_all();
    }

    pub(super) fn finish(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut inner = self.inner();
        while !inner.waiting.is_empty() || inner.taken > 0 {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return };
            inner = self.emptied.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose lines are those that nobody is known to have printed. No application has such a name.
pub(super) const NOBODY: &str = "";

/// What may wait for each application.
const ROOM: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::{
        super::{End, Stream},
        *,
    };

    fn queue() -> Queue {
        let queue = Queue::default();
        let default = Output { to: Destination::Files, ..Output::default() };
        let host = HashMap::from([(Arc::from("quiet"), Output::default())]);
        queue.keep(Outputs { default, applications: host });
        queue
    }

    fn push(queue: &Queue, application: Option<&str>, text: &[u8]) -> bool {
        let printer = Printer { application, pid: 1, stream: Stream::Stdout };
        queue.push(printer, Line { text, end: End::Whole }, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn what_goes_to_the_host_is_not_taken() {
        let queue = queue();
        assert!(!push(&queue, Some("quiet"), b"a"));
        assert!(push(&queue, Some("shop"), b"a"));
        assert!(push(&queue, None, b"a"));
        assert!(!push(&Queue::default(), Some("shop"), b"a"));
    }

    #[test]
    fn what_finds_no_room_is_counted_until_the_batch_is_taken() {
        let queue = queue();
        let line = [b'x'; 10_000];
        for _ in 0..200 {
            push(&queue, Some("flood"), &line);
        }
        push(&queue, Some("flood"), b"short, but behind the gap");
        push(&queue, Some("shop"), b"untouched by that");
        let batches = queue.next().batches;
        let flood = batches.iter().find(|batch| &*batch.application == "flood").unwrap();
        assert!(flood.text.len() <= ROOM + 100 * 100);
        let kept = Lost::of(&flood.text).lines;
        assert_eq!(kept + flood.lost.lines, 201);
        assert_eq!(flood.lost.bytes, (200 - kept) * 10_000 + 25);
        let shop = batches.iter().find(|batch| &*batch.application == "shop").unwrap();
        assert!(shop.lost.is_none());
        push(&queue, Some("flood"), b"room again");
        assert!(queue.next().batches[0].lost.is_none());
    }

    #[test]
    fn what_was_taken_for_a_file_goes_there_whatever_is_said_then() {
        let queue = queue();
        push(&queue, Some("shop"), b"a");
        queue.keep(Outputs::default());
        let work = queue.next();
        assert_eq!(work.batches[0].output.to, Destination::Files);
        assert!(work.reopen, "files of applications that are no more are closed");
        assert!(!push(&queue, Some("shop"), b"b"));
    }

    #[test]
    fn the_end_is_not_waited_for_longer_than_that() {
        let queue = queue();
        queue.finish(Duration::from_secs(60));
        push(&queue, None, b"a");
        queue.finish(Duration::from_millis(1));
    }
}
