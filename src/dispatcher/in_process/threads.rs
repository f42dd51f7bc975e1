//! What each thread of the host is executing: which application, for which request.
//!
//! A dispatch notes it in its thread's [`Slot`], with a few words on the way in and one on the way out, and reads no
//! clock. The watchdog looks at all slots a few times a second: one that stands where it stood is a thread that an
//! application holds, and is named in the log. After a crash, whoever has the [recorder](crate::recorder) reads them.

use std::{
    cell::OnceCell,
    marker::PhantomData,
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::listening;
use crate::{
    facts::RequestId,
    recorder::{self, About, Doing, Registered, Slot, slots},
};

/// How often the watchdog looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long an application may hold a thread before the log says so.
const HELD_TOO_LONG: Duration = Duration::from_secs(1);

thread_local! {
    static SLOT: OnceCell<Held> = const { OnceCell::new() };
}

/// This thread's slot, for as long as it lives.
struct Held(Slot);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.leave_for_ever();
    }
}

/// As long as this lives, the thread is inside an application.
#[must_use]
pub(super) struct Inside {
    /// `None` for a thread that was inside already: the application called us and we call it again, on the same thread.
    /// The outer one counts.
    slot: Option<Slot>,
    // It is about this thread.
    _here: PhantomData<*const ()>,
}

/// Goes into `application`, on behalf of a request, on a thread that serves connections.
#[inline]
pub(super) fn enter(application: Registered, about: &impl About) -> Inside {
    enter_as(Doing::Serving, application, about)
}

/// Goes into `application` on a thread that keeps nobody else waiting.
pub(super) fn enter_aside(application: Registered, about: &impl About) -> Inside {
    enter_as(Doing::Waiting, application, about)
}

#[inline]
fn enter_as(doing: Doing, application: Registered, about: &impl About) -> Inside {
    // A thread that is ending notes nothing any more.
    let slot = SLOT.try_with(|slot| slot.get_or_init(|| Held(Slot::take())).0).ok();
    let slot = slot.filter(|slot| !slot.is_inside());
    if let Some(slot) = slot {
        slot.enter(application.number(), doing, about);
    }
    Inside { slot, _here: PhantomData }
}

/// Leaves also when the call unwinds.
impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.leave();
        }
    }
}

/// Whether this thread serves connections and is inside an application now: it must not wait.
pub(super) fn is_inside() -> bool {
    let serves = |Held(slot): &Held| slot.is_inside() && slot.doing() == Doing::Serving;
    SLOT.try_with(|slot| slot.get().is_some_and(serves)).unwrap_or(false)
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
        let now = Instant::now();
        for blocked in slots().filter_map(|slot| watchdog.look_at(now, slot)) {
            blocked.report();
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
struct Blocked {
    application: u32,
    request: Option<RequestId>,
    time: Duration,
}

impl Watchdog {
    fn look_at(&mut self, now: Instant, slot: Slot) -> Option<Blocked> {
        let sequence = slot.sequence();
        let seen = self.0.entry(slot.place()).or_insert(Seen { sequence, since: now, reported: false });
        if seen.sequence != sequence {
            *seen = Seen { sequence, since: now, reported: false };
        }
        let time = now.duration_since(seen.since);
        if sequence.is_multiple_of(2) || seen.reported || time < HELD_TOO_LONG {
            return None;
        }
        seen.reported = true;
        let inside = recorder::Inside::read(&slot.words())?;
        let application = u32::try_from(inside.application).ok()? + 1;
        (inside.doing == Doing::Serving).then_some(Blocked { application, request: inside.request, time })
    }
}

impl Blocked {
    fn report(&self) {
        let Some((name, generation)) = Registered::of(self.application) else { return };
        tracing::warn!(
            application = %name,
            generation,
            request_id = self.request.map(tracing::field::display),
            held_ms = self.time.as_millis() as u64,
            "application blocks a thread that serves connections; it should wait asynchronously, \
             use spawn_blocking, or declare itself blocking"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slot of the process's page, held by this thread.
    fn slot() -> Held {
        Held(Slot::take())
    }

    #[test]
    fn a_thread_that_stays_inside_is_reported_once() {
        let slot = slot();
        slot.0.enter(1, Doing::Serving, &RequestId(9));
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        assert_eq!(watchdog.look_at(start, slot.0), None);
        assert_eq!(watchdog.look_at(start + HELD_TOO_LONG / 2, slot.0), None);
        let blocked = Blocked { application: 1, request: Some(RequestId(9)), time: HELD_TOO_LONG };
        assert_eq!(watchdog.look_at(start + HELD_TOO_LONG, slot.0), Some(blocked));
        assert_eq!(watchdog.look_at(start + HELD_TOO_LONG * 2, slot.0), None);
    }

    #[test]
    fn a_thread_that_keeps_nobody_waiting_may_stay_inside() {
        let slot = slot();
        slot.0.enter(1, Doing::Waiting, &RequestId(9));
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        for step in 0..5 {
            assert_eq!(watchdog.look_at(start + HELD_TOO_LONG * step, slot.0), None);
        }
    }

    #[test]
    fn a_thread_that_comes_and_goes_is_not_reported() {
        let slot = slot();
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        for step in 1..20 {
            slot.0.enter(1, Doing::Serving, &RequestId(9));
            assert_eq!(watchdog.look_at(start + HELD_TOO_LONG * step, slot.0), None);
            slot.0.leave();
        }
    }

    #[test]
    fn inside_is_left_also_by_a_panic() {
        let application = Registered::new("a".into(), 1, None);
        assert!(!is_inside());
        let result = std::panic::catch_unwind(|| {
            let _inside = enter(application, &RequestId(1));
            assert!(is_inside());
            panic!("on purpose");
        });
        assert!(result.is_err());
        assert!(!is_inside());
    }

    #[test]
    fn a_call_within_a_call_is_the_outer_ones() {
        let application = Registered::new("a".into(), 1, None);
        let outer = enter(application, &RequestId(1));
        drop(enter_aside(application, &RequestId(2)));
        assert!(is_inside());
        drop(outer);
        assert!(!is_inside());
    }
}
