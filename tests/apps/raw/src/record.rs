//! What happened, for the tests to ask: counters, and the codes that the latest fault was answered with.

use std::{
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use cohost_abi::Code;

/// Counts something.
pub(crate) struct Counter {
    name: &'static str,
    value: AtomicI64,
}

impl Counter {
    const fn new(name: &'static str) -> Self {
        Self { name, value: AtomicI64::new(0) }
    }

    pub(crate) fn add(&self) {
        self.value.fetch_add(1, Relaxed);
    }

    pub(crate) fn set(&self, value: i64) {
        self.value.store(value, Relaxed);
    }
}

/// Calls of an `on_cancel`.
pub(crate) static CANCELLED: Counter = Counter::new("cancelled");
/// With what the latest was called.
pub(crate) static CANCEL_REASON: Counter = Counter::new("cancel_reason");
/// Bytes that were given with a release, and their releases.
pub(crate) static GIVEN: Counter = Counter::new("given");
pub(crate) static RELEASED: Counter = Counter::new("released");
/// Streams and tasks that were given, and their drops.
pub(crate) static STREAMS: Counter = Counter::new("streams");
pub(crate) static STREAM_DROPS: Counter = Counter::new("stream_drops");
pub(crate) static TASKS: Counter = Counter::new("tasks");
pub(crate) static TASK_DROPS: Counter = Counter::new("task_drops");
/// Tokens that are kept.
pub(crate) static KEPT: Counter = Counter::new("kept");
/// How often a push had to wait for room.
pub(crate) static WAITS: Counter = Counter::new("waits");
/// Calls of an `on_writable`.
pub(crate) static WRITABLE: Counter = Counter::new("writable");

static COUNTERS: [&Counter; 11] = [
    &CANCELLED,
    &CANCEL_REASON,
    &GIVEN,
    &RELEASED,
    &STREAMS,
    &STREAM_DROPS,
    &TASKS,
    &TASK_DROPS,
    &KEPT,
    &WAITS,
    &WRITABLE,
];

/// `name value`, a line each.
pub(crate) fn counts() -> String {
    COUNTERS.iter().map(|counter| format!("{} {}\n", counter.name, counter.value.load(Relaxed))).collect()
}

static REPORT: Mutex<String> = Mutex::new(String::new());

/// `what: code …`, for the latest fault that had something to report.
pub(crate) fn report() -> String {
    REPORT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Replaces the report.
pub(crate) fn set_report(what: &str, codes: &[Code]) {
    *REPORT.lock().unwrap_or_else(PoisonError::into_inner) = line(what, codes);
}

/// One line of codes.
pub(crate) fn line(what: &str, codes: &[Code]) -> String {
    let mut line = format!("{what}:");
    for code in codes {
        // Writing to a string does not fail.
        let _ = write!(line, " {code}");
    }
    line.push('\n');
    line
}
