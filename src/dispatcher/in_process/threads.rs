//! What each thread of the host is executing: which application, for which request.
//!
//! A dispatch writes three words of its thread's [`Slot`] on the way in and one on the way out, and reads no clock.
//! The watchdog looks at all slots a few times a second: one that stands where it stood is a thread that an
//! application holds, and is named in the log.

use std::{
    cell::OnceCell,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::listening;
use crate::facts::RequestId;

/// How often the watchdog looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long an application may hold a thread before the log says so.
const HELD_TOO_LONG: Duration = Duration::from_secs(1);

/// An application as the watchdog knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Application(u32);

/// Names of applications and their generations, by number.
static APPLICATIONS: Mutex<Vec<(Arc<str>, u32)>> = Mutex::new(Vec::new());

impl Application {
    pub(super) fn new(name: Arc<str>, generation: u32) -> Self {
        let mut all = APPLICATIONS.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((name, generation));
        Self(u32::try_from(all.len()).unwrap_or(u32::MAX))
    }
}

/// One thread.
#[derive(Debug, Default)]
struct Slot {
    /// Odd while the thread is inside an application; never the same twice.
    sequence: AtomicU64,
    application: AtomicU32,
    request: AtomicU64,
}

static SLOTS: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());

thread_local! {
    static SLOT: OnceCell<Arc<Slot>> = const { OnceCell::new() };
}

/// Runs `call`, which goes into `application`, on behalf of `request`.
pub(super) fn inside<T>(application: Application, request: RequestId, call: impl FnOnce() -> T) -> T {
    SLOT.with(|slot| {
        let slot = slot.get_or_init(register);
        let before = slot.sequence.load(Ordering::Relaxed);
        if before % 2 == 1 {
            // The application called us and we call it again, on the same thread: the outer one counts.
            return call();
        }
        slot.application.store(application.0, Ordering::Relaxed);
        slot.request.store(request.0, Ordering::Relaxed);
        slot.sequence.store(before + 1, Ordering::Release);
        let leave = Leave(slot);
        let result = call();
        drop(leave);
        result
    })
}

/// Whether this thread serves connections and is inside an application now: it must not wait.
pub(super) fn is_inside() -> bool {
    SLOT.with(|slot| slot.get().is_some_and(|slot| slot.sequence.load(Ordering::Relaxed) % 2 == 1))
}

/// Leaves also when the call unwinds.
struct Leave<'a>(&'a Slot);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let inside = self.0.sequence.load(Ordering::Relaxed);
        self.0.sequence.store(inside + 1, Ordering::Release);
    }
}

#[cold]
fn register() -> Arc<Slot> {
    let slot = Arc::new(Slot::default());
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    slots.retain(|slot| slot.strong_count() > 0);
    slots.push(Arc::downgrade(&slot));
    slot
}

/// Starts the watchdog, once for the process. It ends with the process.
pub(super) fn start_watchdog() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let thread = std::thread::Builder::new().name("cohost-watchdog".to_owned());
        if let Err(error) = thread.spawn(watch_for_ever) {
            tracing::error!(%error, "no watchdog: applications that block a thread will not be named");
        }
    });
}

fn watch_for_ever() {
    let mut watchdog = Watchdog::default();
    loop {
        std::thread::park_timeout(LOOK_EVERY);
        let slots: Vec<_> = {
            let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter().filter_map(Weak::upgrade).collect()
        };
        let now = Instant::now();
        for held in watchdog.look(now, &slots) {
            held.report();
        }
        listening::look(now);
    }
}

/// What the watchdog saw the last time, by slot.
#[derive(Default)]
struct Watchdog(std::collections::HashMap<usize, Seen>);

struct Seen {
    sequence: u64,
    since: Instant,
    reported: bool,
}

/// A thread that an application holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    application: u32,
    request: u64,
    time: Duration,
}

impl Watchdog {
    fn look(&mut self, now: Instant, slots: &[Arc<Slot>]) -> Vec<Held> {
        self.0.retain(|place, _| slots.iter().any(|slot| Arc::as_ptr(slot) as usize == *place));
        slots.iter().filter_map(|slot| self.look_at(now, slot)).collect()
    }

    fn look_at(&mut self, now: Instant, slot: &Arc<Slot>) -> Option<Held> {
        let sequence = slot.sequence.load(Ordering::Acquire);
        let place = Arc::as_ptr(slot) as usize;
        let seen = self.0.entry(place).or_insert(Seen { sequence, since: now, reported: false });
        if seen.sequence != sequence {
            *seen = Seen { sequence, since: now, reported: false };
        }
        let time = now.duration_since(seen.since);
        if sequence.is_multiple_of(2) || seen.reported || time < HELD_TOO_LONG {
            return None;
        }
        seen.reported = true;
        let application = slot.application.load(Ordering::Relaxed);
        Some(Held { application, request: slot.request.load(Ordering::Relaxed), time })
    }
}

impl Held {
    fn report(&self) {
        let all = APPLICATIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((name, generation)) = all.get(self.application as usize - 1).cloned() else { return };
        drop(all);
        tracing::warn!(
            application = %name,
            generation,
            request_id = %RequestId(self.request),
            held_ms = self.time.as_millis() as u64,
            "application blocks a thread that serves connections; it should wait asynchronously, \
             use spawn_blocking, or declare itself blocking"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stays_inside_is_reported_once() {
        let slot = Arc::new(Slot::default());
        slot.application.store(1, Ordering::Relaxed);
        slot.request.store(9, Ordering::Relaxed);
        slot.sequence.store(1, Ordering::Relaxed);
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        let slots = [slot];
        assert_eq!(watchdog.look(start, &slots), []);
        assert_eq!(watchdog.look(start + HELD_TOO_LONG / 2, &slots), []);
        let held = Held { application: 1, request: 9, time: HELD_TOO_LONG };
        assert_eq!(watchdog.look(start + HELD_TOO_LONG, &slots), [held]);
        assert_eq!(watchdog.look(start + HELD_TOO_LONG * 2, &slots), []);
    }

    #[test]
    fn a_thread_that_comes_and_goes_is_not_reported() {
        let slot = Arc::new(Slot::default());
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        for step in 1..20 {
            slot.sequence.store(step * 2 + 1, Ordering::Relaxed);
            let now = start + HELD_TOO_LONG * step as u32;
            assert_eq!(watchdog.look(now, std::slice::from_ref(&slot)), []);
        }
    }

    #[test]
    fn inside_is_left_also_by_a_panic() {
        let application = Application::new("a".into(), 1);
        assert!(!is_inside());
        let result = std::panic::catch_unwind(|| {
            inside(application, RequestId(1), || {
                assert!(is_inside());
                panic!("on purpose");
            });
        });
        assert!(result.is_err());
        assert!(!is_inside());
    }
}
