//! The log's way out: to whoever reads it, and never waiting for them.
//!
//! In: lines. Out: the same, in order, at once if there is room where they go; otherwise later, by a thread that waits
//! for room. Never: blocks the one who logs, or holds more than [`ROOM`]. What finds no room is counted, and the count is
//! written in its place.
//!
//! At once, and not always by the thread: then the last words of a process that crashes are out already.

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

use super::outlet::Outlet;

/// Lines on their way to the log.
#[derive(Clone)]
pub(super) struct Patient(Arc<Shared>);

struct Shared {
    outlet: Outlet,
    waiting: Mutex<Waiting>,
    /// There is something to do for the thread.
    filled: Condvar,
    /// There is nothing to do any more.
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    /// How many lines found no room.
    lost: u64,
    /// The thread that waits for room was started.
    thread: Option<io::Result<()>>,
}

impl Patient {
    pub(super) fn to(descriptor: OwnedFd) -> Self {
        Self(Arc::new(Shared {
            outlet: Outlet::new(descriptor),
            waiting: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }))
    }

    /// Waits until everything is written, but no longer than `limit`.
    pub(super) fn finish(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut waiting = self.0.waiting();
        while !waiting.is_empty() {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return };
            waiting = self.0.emptied.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn line(&self, line: &[u8]) {
        let mut waiting = self.0.waiting();
        let mut rest = line;
        if waiting.is_empty() {
            match self.0.outlet.write(line) {
                Ok(written) => rest = &line[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Nobody will ever read it.
                Err(_) => return,
            }
        }
        if rest.is_empty() {
            return;
        }
        waiting.keep(rest);
        let shared = &self.0;
        waiting.thread.get_or_insert_with(|| {
            let shared = Arc::clone(shared);
            let thread = std::thread::Builder::new().name("cohost-log".to_owned());
            thread.spawn(move || shared.serve()).map(drop)
        });
        drop(waiting);
        self.0.filled.notify_one();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits whenever there is room for it, for ever.
    fn serve(&self) {
        loop {
            let waiting = self.waiting();
            let idle = |waiting: &mut Waiting| waiting.is_empty();
            let waiting = self.filled.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
            // Whoever logs must not wait for us meanwhile.
            drop(waiting);
            self.outlet.wait();
            let lost = {
                let mut waiting = self.waiting();
                waiting.write_to(&self.outlet);
                if waiting.text.is_empty() { std::mem::take(&mut waiting.lost) } else { 0 }
            };
            if lost > 0 {
                tracing::warn!(lines = lost, "lines of this log are missing here: nobody read it");
            }
            self.emptied.notify_all();
        }
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.lost == 0
    }

    fn keep(&mut self, line: &[u8]) {
        // With those that are lost, everything after them, so that the gap is one.
        if self.lost > 0 || self.text.len() + line.len() > ROOM {
            self.lost += 1;
        } else {
            self.text.extend_from_slice(line);
        }
    }

    /// Writes as much as there is room for.
    fn write_to(&mut self, outlet: &Outlet) {
        let mut done = 0;
        while done < self.text.len() {
            match outlet.write(piece(&self.text[done..])) {
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Nobody will ever read it.
                Err(_) => {
                    *self = Self { thread: self.thread.take(), ..Self::default() };
                    return;
                }
            }
        }
        self.text.drain(..done);
    }
}

/// Whole lines, few enough to be written at once or not at all, if the first is not longer than that.
fn piece(text: &[u8]) -> &[u8] {
    let newline = |byte: &u8| *byte == b'\n';
    let some = &text[..text.len().min(ATOMIC)];
    let end = some.iter().rposition(newline).or_else(|| text.iter().position(newline));
    end.map_or(text, |end| &text[..=end])
}

impl Write for &Patient {
    /// A whole line, as the layer that formats hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Patient {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// What may wait: some ten thousand lines.
const ROOM: usize = 4 << 20;

/// What a pipe takes whole or not at all, so that lines of several processes do not mix.
const ATOMIC: usize = 4096;

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read},
        os::unix::net::UnixStream,
    };

    use super::*;

    /// Writes more than there is room for while nobody reads, and then something that is read.
    fn overflow(reader: impl Read, writer: impl Into<OwnedFd>) {
        let patient = Patient::to(writer.into());
        let count = 3 * ROOM / 100;
        for number in 0..count {
            (&patient).write_all(format!("{number:099}\n").as_bytes()).unwrap();
        }
        let mut lines = BufReader::new(reader).lines().map(|line| line.unwrap());
        // Whole, in order, and without a gap, as far as there was room.
        let first: Vec<_> = lines.by_ref().take(ROOM / 100).collect();
        assert!(first.iter().enumerate().all(|(number, line)| *line == format!("{number:099}")));
        let reading = std::thread::spawn({
            let patient = patient.clone();
            move || {
                patient.finish(Duration::from_secs(10));
                (&patient).write_all(b"the end\n").unwrap();
            }
        });
        let rest: Vec<_> = lines.take_while(|line| line != "the end").collect();
        assert!(rest.iter().all(|line| line.len() == 99) && first.len() + rest.len() < count);
        reading.join().unwrap();
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_up_nobody() {
        let (reader, writer) = io::pipe().unwrap();
        overflow(reader, writer);
    }

    #[test]
    fn a_socket_that_nobody_reads_holds_up_nobody() {
        let (reader, writer) = UnixStream::pair().unwrap();
        overflow(reader, writer);
    }

    #[test]
    fn a_reader_who_is_gone_costs_nothing() {
        let (reader, writer) = io::pipe().unwrap();
        let patient = Patient::to(writer.into());
        drop(reader);
        (&patient).write_all(b"a line\n").unwrap();
        assert!(patient.0.waiting().is_empty());
    }

    #[test]
    fn pieces_are_whole_lines_as_far_as_they_fit() {
        assert_eq!(piece(b"one\ntwo\nthr"), b"one\ntwo\n");
        let long = [&[b'x'; 5000][..], b"\nnext\n"].concat();
        assert_eq!(piece(&long).len(), 5001);
        assert_eq!(piece(b"rest"), b"rest");
    }
}
