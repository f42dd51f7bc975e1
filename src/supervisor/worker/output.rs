//! What a worker prints: its applications in process, the C library that ends it, a panic.
//!
//! In: its two streams, any bytes. Out: each line to where lines of its application are kept. Never: makes the worker
//! wait, or loses what was printed right before a crash: it is in the pipe, whatever becomes of the worker.

use std::{
    io::{self, PipeReader},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwapOption;
use rustix::io::{Errno, read};
use tokio::net::unix::pipe::Receiver;

use super::super::instance::Tail;
use crate::telemetry::output::{self, LONGEST, Lines, Printer, Stream};

/// Whose a line is that a worker prints now, if that can be told.
pub(super) type Whose = Arc<ArcSwapOption<Arc<str>>>;

/// The end of a pipe into which a worker prints, as one program leaves it to the next.
#[derive(Debug)]
pub struct Pipe {
    /// The end that is read.
    pub descriptor: OwnedFd,
    /// What was read of a line whose end has not come.
    pub begun: Vec<u8>,
}

impl From<PipeReader> for Pipe {
    fn from(pipe: PipeReader) -> Self {
        Self { descriptor: pipe.into(), begun: Vec::new() }
    }
}

/// One stream of a worker.
pub(super) struct Capture {
    pipe: OwnedFd,
    pid: u32,
    stream: Stream,
    whose: Whose,
    lines: Mutex<Lines>,
    tail: Tail,
}

impl Capture {
    /// Reads until nobody can print any more. Needs a tokio runtime.
    pub(super) fn start(
        pipe: Pipe,
        pid: u32,
        stream: Stream,
        (whose, tail): (Whose, Tail),
    ) -> io::Result<Arc<Self>> {
        let Pipe { descriptor: pipe, begun } = pipe;
        // Of both, since they are one pipe: reading from it never blocks.
        let watched = Receiver::from_owned_fd(pipe.try_clone()?)?;
        let lines = Mutex::new(Lines::begun(begun, LONGEST));
        let capture = Arc::new(Self { pipe, pid, stream, whose, lines, tail });
        tokio::spawn(Arc::clone(&capture).pump(watched));
        Ok(capture)
    }

    async fn pump(self: Arc<Self>, watched: Receiver) {
        let mut chunk = vec![0; CHUNK];
        while watched.readable().await.is_ok() {
            match watched.try_read(&mut chunk) {
                Ok(count @ 1..) => self.push(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => break,
            }
            // Whoever prints without end must not keep the others from being heard.
            tokio::task::yield_now().await;
        }
        self.finish();
    }

    /// Keeps all that is there, up to what a pipe holds: for the end of a worker, which is news only after its last words.
    pub(super) fn last_words(&self) {
        let mut chunk = vec![0; CHUNK];
        for _ in 0..PIPES {
            match read(&self.pipe, &mut chunk[..]) {
                Ok(count @ 1..) => self.push(&chunk[..count]),
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.finish();
    }

    /// What the next program in this process needs to go on reading.
    pub(super) fn carry(&self) -> io::Result<Pipe> {
        Ok(Pipe { descriptor: self.pipe.try_clone()?, begun: self.lines().rest().to_vec() })
    }

    fn push(&self, chunk: &[u8]) {
        self.tail.push(chunk);
        self.lines().push(chunk, |line| self.keep(line));
    }

    fn finish(&self) {
        self.lines().finish(|line| self.keep(line));
    }

    fn keep(&self, line: output::Line<'_>) {
        let application = self.whose.load();
        let application = application.as_deref().map(|name| &**name);
        let Self { pid, stream, .. } = *self;
        output::write(Printer { application, pid, stream }, line);
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const CHUNK: usize = 64 * 1024;
/// A pipe holds one chunk, unless somebody has made it larger.
const PIPES: usize = 16;
