//! What an instance prints.
//!
//! In: its two streams, any bytes. Out: a log event for each line, and the last 30 KB for whoever asks. Never: makes
//! the instance wait for longer than a write to the log takes, or keeps more than a line and those 30 KB.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{ChildStderr, ChildStdout},
};

use crate::telemetry::relay;

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
    tail: Tail,
) {
    let source = |stream| Source { application: &application, pid, printer, stream };
    tokio::join!(pump(streams.0, source("stdout"), &tail), pump(streams.1, source("stderr"), &tail));
}

async fn pump(stream: Option<impl AsyncRead + Unpin>, source: Source<'_>, tail: &Tail) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; CHUNK];
    let mut lines = Lines::of(source.printer);
    // An error is an end as well: there is nothing else to be had from a pipe.
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let chunk = &buffer[..count];
        if source.printer == Printer::Foreign {
            tail.push(chunk);
        }
        lines.push(chunk, |line| source.line(line, tail));
    }
    lines.finish(|line| source.line(line, tail));
}

struct Source<'a> {
    application: &'a str,
    pid: u32,
    printer: Printer,
    stream: &'static str,
}

impl Source<'_> {
    fn line(&self, line: &[u8], tail: &Tail) {
        if self.printer == Printer::Runner {
            if let Some(said) = relay::told(line) {
                return tail.tell(&said);
            }
            if relay::write(self.application, line) {
                return;
            }
            // What is carried is no output; the rest is.
            tail.push(line);
            tail.push(b"\n");
        }
        self.log(line);
    }

    fn log(&self, line: &[u8]) {
        if !tracing::enabled!(target: "cohost::output", tracing::Level::INFO) {
            return;
        }
        let Self { application, pid, stream, .. } = self;
        let line = String::from_utf8_lossy(line);
        tracing::info!(target: "cohost::output", application, pid, stream, "{line}");
    }
}

/// Cuts a stream into lines. One that is too long is cut, too.
#[derive(Debug)]
struct Lines {
    begun: Vec<u8>,
    longest: usize,
}

impl Lines {
    fn of(printer: Printer) -> Self {
        let longest = if printer == Printer::Runner { LONGEST_EVENT } else { LONGEST };
        Self { begun: Vec::new(), longest }
    }

    fn push(&mut self, mut chunk: &[u8], mut emit: impl FnMut(&[u8])) {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            self.extend(&chunk[..end], &mut emit);
            emit(self.begun.strip_suffix(b"\r").unwrap_or(&self.begun));
            self.begun.clear();
            chunk = &chunk[end + 1..];
        }
        self.extend(chunk, &mut emit);
    }

    fn finish(&mut self, mut emit: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            emit(&self.begun);
            self.begun.clear();
        }
    }

    fn extend(&mut self, mut piece: &[u8], emit: &mut impl FnMut(&[u8])) {
        while self.begun.len() + piece.len() > self.longest {
            let (now, later) = piece.split_at(self.longest - self.begun.len());
            self.begun.extend_from_slice(now);
            emit(&self.begun);
            self.begun.clear();
            piece = later;
        }
        self.begun.extend_from_slice(piece);
    }
}

/// The end of what was printed, and what a runner of ours said of its end; shared.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    printed: VecDeque<u8>,
    told: Option<Arc<str>>,
}

impl Tail {
    fn push(&self, bytes: &[u8]) {
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
    pub(super) fn text(&self) -> Arc<str> {
        let mut kept = self.kept().printed.clone();
        let bytes = kept.make_contiguous();
        // The cut may have gone through a character; its rest says nothing.
        let cut = bytes.len() == KEPT;
        let rest = bytes.iter().take(3).take_while(|byte| cut && **byte & 0b1100_0000 == 0b1000_0000).count();
        Arc::from(String::from_utf8_lossy(&bytes[rest..]))
    }
}

const CHUNK: usize = 64 * 1024;
const LONGEST: usize = 16 * 1024;
/// An event with a backtrace is a long line.
const LONGEST_EVENT: usize = 256 * 1024;
const KEPT: usize = 30 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut lines = Lines::of(Printer::Foreign);
        let mut seen = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| seen.push(line.to_vec()));
            assert!(lines.begun.len() <= LONGEST);
        }
        lines.finish(|line| seen.push(line.to_vec()));
        seen
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive(
            chunks in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..50), 0..20),
        ) {
            let whole = vec![chunks.concat()];
            prop_assert_eq!(lines(&chunks), lines(&whole));
        }

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
    fn each_line_is_logged_with_its_origin() {
        let seen = Seen::default();
        let events = Arc::clone(&seen.0);
        tracing::subscriber::with_default(seen, || {
            let source = Source { application: "shop", pid: 7, printer: Printer::Foreign, stream: "stderr" };
            Lines::of(Printer::Foreign).push(b"one\r\n\xfftwo\n", |line| source.log(line));
        });
        let fields = "application=\"shop\" pid=7 stream=\"stderr\"";
        let expected = ["one", "\u{fffd}two"].map(|line| format!("cohost::output message={line} {fields}"));
        assert_eq!(*events.lock().unwrap(), expected);
    }

    /// Remembers events as text.
    #[derive(Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl tracing::Subscriber for Seen {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut text = event.metadata().target().to_owned();
            event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                text.push_str(&format!(" {field}={value:?}"));
            });
            self.0.lock().unwrap().push(text);
        }
    }

    #[test]
    fn an_endless_line_is_logged_in_pieces() {
        let pieces = lines(&vec![vec![b'x'; CHUNK]; 5]);
        assert_eq!(pieces.iter().map(Vec::len).sum::<usize>(), 5 * CHUNK);
        assert!(pieces.iter().all(|piece| piece.len() <= LONGEST));
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
