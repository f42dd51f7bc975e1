//! What an instance prints.
//!
//! In: its two streams, any bytes. Out: each line to where lines of its application are kept, and the last 30 KB for
//! whoever asks. Never: makes the instance wait for longer than a write to the log takes, or keeps more than a line and
//! those 30 KB.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{ChildStderr, ChildStdout},
};

use crate::telemetry::{
    output::{self, End, LONGEST, Line, Lines, Stream},
    relay,
};

/// Who prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Printer {
    /// Somebody else's program: lines of text.
    Foreign,
    /// A runner of ours, which also carries its application's events.
    Runner,
}

/// Reads both streams until nobody can write to them any more.
pub(super) async fn capture(
    application: Arc<str>,
    pid: u32,
    printer: Printer,
    streams: (Option<ChildStdout>, Option<ChildStderr>),
    (begun, tail): (Begun, Tail),
) {
    let source = |stream| Source { application: &application, pid, printer, stream };
    tokio::join!(
        pump(streams.0, source(Stream::Stdout), &begun.0[0], &tail),
        pump(streams.1, source(Stream::Stderr), &begun.0[1], &tail)
    );
}

async fn pump(stream: Option<impl AsyncRead + Unpin>, source: Source<'_>, lines: &Mutex<Lines>, tail: &Tail) {
    let lines = || lines.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; CHUNK];
    // An error is an end as well: there is nothing else to be had from a pipe.
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let chunk = &buffer[..count];
        if source.printer == Printer::Foreign {
            tail.push(chunk);
        }
        lines().push(chunk, |line| source.line(line, tail));
    }
    lines().finish(|line| source.line(line, tail));
}

struct Source<'a> {
    application: &'a str,
    pid: u32,
    printer: Printer,
    stream: Stream,
}

impl Source<'_> {
    fn line(&self, line: Line<'_>, tail: &Tail) {
        if self.printer == Printer::Runner {
            if let Some(said) = relay::told(line.text) {
                return tail.tell(&said);
            }
            if relay::write(self.application, line.text) {
                return;
            }
            // What is carried is no output; the rest is.
            tail.push(line.text);
            if line.end == End::Whole {
                tail.push(b"\n");
            }
        }
        let Self { application, pid, stream, .. } = *self;
        output::write(output::Printer { application: Some(application), pid, stream }, line);
    }
}

/// What there is of a line whose end has not come, on standard output and standard error; shared.
#[derive(Clone, Debug)]
pub(super) struct Begun([Arc<Mutex<Lines>>; 2]);

impl Begun {
    /// Goes on with these.
    pub(super) fn new(printer: Printer, begun: [Vec<u8>; 2]) -> Self {
        let longest = if printer == Printer::Runner { LONGEST_EVENT } else { LONGEST };
        Self(begun.map(|begun| Arc::new(Mutex::new(Lines::begun(begun, longest)))))
    }

    pub(super) fn rest(&self) -> [Vec<u8>; 2] {
        self.0.each_ref().map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner).rest().to_vec())
    }
}

/// The end of what was printed, and what a runner of ours said of its end; shared.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Tail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    printed: VecDeque<u8>,
    told: Option<Arc<str>>,
}

impl Tail {
    pub(in super::super) fn push(&self, bytes: &[u8]) {
        let kept = &mut self.kept().printed;
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (kept.len() + bytes.len()).saturating_sub(KEPT);
        kept.drain(..excess);
        kept.extend(bytes);
    }

    fn tell(&self, said: &str) {
        self.kept().told = Some(Arc::from(said));
    }

    /// What a runner of ours said of its end.
    pub(super) fn told(&self) -> Option<Arc<str>> {
        self.kept().told.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As text; what is no UTF-8 is replaced.
    pub(in super::super) fn text(&self) -> Arc<str> {
        let mut kept = self.kept().printed.clone();
        let bytes = kept.make_contiguous();
        // The cut may have gone through a character; its rest says nothing.
        let cut = bytes.len() == KEPT;
        let rest = bytes.iter().take(3).take_while(|byte| cut && **byte & 0b1100_0000 == 0b1000_0000).count();
        Arc::from(String::from_utf8_lossy(&bytes[rest..]))
    }
}

const CHUNK: usize = 64 * 1024;
/// An event with a backtrace is a long line.
const LONGEST_EVENT: usize = 256 * 1024;
const KEPT: usize = 30 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_tail_is_the_end(sizes in proptest::collection::vec(0_usize..40_000, 0..8)) {
            let tail = Tail::default();
            let mut all = String::new();
            for (index, size) in sizes.into_iter().enumerate() {
                let piece = char::from(b'a' + u8::try_from(index).unwrap()).to_string().repeat(size);
                tail.push(piece.as_bytes());
                all.push_str(&piece);
            }
            prop_assert_eq!(&*tail.text(), &all[all.len().saturating_sub(KEPT)..]);
        }
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let tail = Tail::default();
        tail.push(b"ok\xff\xfe\0end");
        assert_eq!(&*tail.text(), "ok\u{fffd}\u{fffd}\0end");
    }

    #[test]
    fn the_tail_does_not_begin_within_a_character() {
        let tail = Tail::default();
        tail.push("é".repeat(KEPT).as_bytes());
        tail.push(b"x");
        assert!(tail.text().starts_with('é'));
    }
}
