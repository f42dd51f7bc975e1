//! What applications print, on its way to where it is kept: the host's log, or files of their own.
//!
//! In: lines, from whoever reads the pipes of a process. Out: events of the host, or lines in `NAME.log`, which is
//! rotated. Never: makes the reader of a pipe wait, so that no application ever waits for a disk; what comes faster than
//! it can be written is counted, and the count is written in its place.
//!
//! For the whole process, as the log is: [`keep`] says where things go, everything goes to the log before. A thread
//! writes the files; there is none before there is a file to write.

mod batch;
mod file;
mod lines;
mod queue;

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, LazyLock, OnceLock},
    time::{Duration, SystemTime},
};

pub(crate) use self::lines::{End, LONGEST, Line, Lines};
use self::{file::File, queue::Queue};
use crate::options::Output;

/// Where what applications print goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Where it goes for applications that are not named, and when nobody knows which application it was.
    pub default: Output,
    /// By the name of the application.
    pub applications: HashMap<Arc<str>, Output>,
}

/// From now on, what applications print goes where `outputs` says.
pub fn keep(outputs: Outputs) {
    QUEUE.keep(outputs);
}

/// The file that is written with what an application prints, or with what nobody knows whose it is.
#[must_use]
pub fn file(output: &Output, application: Option<&str>) -> PathBuf {
    output.folder.join(file::name(application.unwrap_or(queue::NOBODY)))
}

/// Closes all files and opens them again with the next line. For whoever has moved them and does not want to wait for
/// that line.
pub fn reopen() {
    QUEUE.reopen();
}

/// Waits until everything is written, but no longer than `limit`.
pub fn finish(limit: Duration) {
    QUEUE.finish(limit);
}

/// One of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// Who printed a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer<'a> {
    /// Unknown for a process with several applications.
    pub(crate) application: Option<&'a str>,
    pub(crate) pid: u32,
    pub(crate) stream: Stream,
}

/// Keeps a line.
pub(crate) fn write(printer: Printer<'_>, line: Line<'_>) {
    let queued = QUEUE.push(printer, line, SystemTime::now());
    if !queued || !writer_runs() {
        log(printer, line.text);
    }
}

fn log(printer: Printer<'_>, line: &[u8]) {
    if !tracing::enabled!(target: "cohost::output", tracing::Level::INFO) {
        return;
    }
    let Printer { application, pid, stream } = printer;
    let line = String::from_utf8_lossy(line);
    tracing::info!(target: "cohost::output", application, pid, %stream, "{line}");
}

static QUEUE: LazyLock<Arc<Queue>> = LazyLock::new(Arc::default);

/// Whether there is a thread to write files; the first line that is for one starts it.
fn writer_runs() -> bool {
    static STARTED: OnceLock<bool> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let queue = Arc::clone(&QUEUE);
        let started =
            std::thread::Builder::new().name("cohost-output".to_owned()).spawn(move || serve(&queue));
        if let Err(error) = &started {
            tracing::error!(%error, "no thread to write the files of [log] output; it all goes to this log");
        }
        started.is_ok()
    })
}

/// Writes what is in the queue, for ever.
fn serve(queue: &Queue) {
    let mut files: HashMap<Arc<str>, File> = HashMap::new();
    loop {
        let work = queue.next();
        if work.reopen {
            files.values_mut().for_each(File::close);
        }
        for batch in work.batches {
            let file = files.entry(Arc::clone(&batch.application)).or_insert_with(|| File::of(&batch));
            file.write(&batch, SystemTime::now());
            queue.written();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_line_is_logged_with_its_origin() {
        let seen = Seen::default();
        let events = Arc::clone(&seen.0);
        tracing::subscriber::with_default(seen, || {
            let printer = Printer { application: Some("shop"), pid: 7, stream: Stream::Stderr };
            Lines::begun(Vec::new(), LONGEST).push(b"one\r\n\xfftwo\n", |line| log(printer, line.text));
            log(Printer { application: None, ..printer }, b"whose?");
        });
        let fields = "application=\"shop\" pid=7 stream=stderr";
        let mut expected =
            ["one", "\u{fffd}two"].map(|line| format!("cohost::output message={line} {fields}")).to_vec();
        expected.push("cohost::output message=whose? pid=7 stream=stderr".to_owned());
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
}
