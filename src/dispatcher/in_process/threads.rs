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

use tokio::runtime::Handle;

use super::{hang, listening};
use crate::recorder::{self, About, Doing, Registered, Slot, slots};

/// How often the watchdog looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What no hang is shorter than; a thread may well be away for that long.
const SHORTEST_HANG: Duration = Duration::from_millis(100);

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

/// Starts the watchdog, once for the process, whose connections are served by this runtime. It ends with the process.
pub(super) fn start_watchdog() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let runtime = Handle::try_current().ok();
        let thread = std::thread::Builder::new().name("cohost-watchdog".to_owned());
        if let Err(error) = thread.spawn(move || watch_for_ever(runtime.as_ref())) {
            tracing::error!(%error, "no watchdog: applications that block a thread will not be named");
        }
    });
}

fn watch_for_ever(runtime: Option<&Handle>) {
    let mut watchdog = Watchdog::default();
    loop {
        std::thread::park_timeout(LOOK_EVERY);
        let now = Instant::now();
        for slot in slots() {
            if let Some(finding) = watchdog.look_at(now, slot) {
                let is_there = || slot.sequence() == finding.sequence;
                finding.report(&is_there);
            }
        }
        // The thread that an application holds may be the one that had listened to all sockets: tokio has nobody else do
        // that until something wakes another thread. So something does.
        if let Some(runtime) = runtime.filter(|_| watchdog.finds_one_held(now)) {
            runtime.spawn(std::future::ready(()));
        }
        listening::look(now);
    }
}

/// What the watchdog saw the last time, by slot.
#[derive(Default)]
struct Watchdog(std::collections::HashMap<usize, Seen>);

#[derive(Clone)]
struct Seen {
    sequence: u64,
    since: Instant,
    told: Told,
}

/// What was said of a thread since it is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Blocked,
    Hung,
}

/// A thread that an application holds.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    told: Told,
    /// Of its slot, for as long as the application holds it.
    sequence: u64,
    inside: recorder::Inside,
    time: Duration,
    /// When that is a hang, if ever.
    limit: Option<Duration>,
}

impl Watchdog {
    /// Whether a thread is where it was at the look before.
    fn finds_one_held(&self, now: Instant) -> bool {
        self.0.values().any(|seen| !seen.sequence.is_multiple_of(2) && seen.since < now)
    }

    fn look_at(&mut self, now: Instant, slot: Slot) -> Option<Finding> {
        let sequence = slot.sequence();
        let new = Seen { sequence, since: now, told: Told::Nothing };
        let seen = self.0.entry(slot.place()).or_insert_with(|| new.clone());
        if seen.sequence != sequence {
            *seen = new;
        }
        let time = now.duration_since(seen.since);
        if sequence.is_multiple_of(2) || time < HELD_TOO_LONG.min(SHORTEST_HANG) || seen.told == Told::Hung {
            return None;
        }
        let inside = slot.words_at(sequence).and_then(|words| recorder::Inside::read(&words));
        let inside = inside.filter(|inside| inside.doing == Doing::Serving)?;
        let limit = Registered::known(inside.application).and_then(|known| known.hang_timeout);
        let told = match limit {
            Some(limit) if time >= limit => Told::Hung,
            _ if time >= HELD_TOO_LONG => Told::Blocked,
            _ => Told::Nothing,
        };
        if told <= seen.told {
            return None;
        }
        seen.told = told;
        Some(Finding { told, sequence, inside, time, limit })
    }
}

impl Finding {
    fn report(&self, is_there: &dyn Fn() -> bool) {
        let Some(known) = Registered::known(self.inside.application) else { return };
        if self.told == Told::Hung {
            hang::report(known.name, known.generation, &self.inside, self.time, is_there);
            return;
        }
        tracing::warn!(
            application = %known.name,
            generation = known.generation,
            request_id = self.inside.request.map(tracing::field::display),
            held_ms = self.time.as_millis() as u64,
            hangs_after_ms = self.limit.map(|limit| limit.as_millis() as u64),
            "application blocks a thread that serves connections; it should wait asynchronously, \
             use spawn_blocking, or declare itself blocking"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::RequestId;

    /// A slot of the process's page, held by this thread.
    fn slot() -> Held {
        Held(Slot::take())
    }

    #[test]
    fn a_thread_that_stays_inside_is_reported_once() {
        let slot = slot();
        slot.0.enter(without_limit(), Doing::Serving, &RequestId(9));
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        assert_eq!(watchdog.look_at(start, slot.0), None);
        assert_eq!(watchdog.look_at(start + HELD_TOO_LONG / 2, slot.0), None);
        let found = watchdog.look_at(start + HELD_TOO_LONG, slot.0).expect("it is told");
        assert_eq!(
            (found.told, found.time, found.inside.request),
            (Told::Blocked, HELD_TOO_LONG, Some(RequestId(9)))
        );
        assert_eq!(watchdog.look_at(start + HELD_TOO_LONG * 2, slot.0), None);
        // Without a limit it may stay for ever.
        assert_eq!(watchdog.look_at(start + Duration::from_secs(365 * 24 * 60 * 60), slot.0), None);
    }

    #[test]
    fn a_thread_that_is_where_it_was_is_held() {
        let slot = slot();
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        let mut finds = |step| {
            let now = start + LOOK_EVERY * step;
            let _ = watchdog.look_at(now, slot.0);
            watchdog.finds_one_held(now)
        };
        assert!(!finds(0));
        slot.0.enter(without_limit(), Doing::Serving, &RequestId(9));
        assert!(!finds(1));
        assert!(finds(2) && finds(3));
        slot.0.leave();
        assert!(!finds(4));
    }

    fn without_limit() -> u32 {
        Registered::new("a".into(), 1, None).number()
    }

    #[test]
    fn a_thread_that_stays_longer_than_the_application_may_hangs_and_is_told_once_more() {
        let slot = slot();
        let limit = Duration::from_secs(5);
        let application = Registered::new("a".into(), 1, Some(limit));
        slot.0.enter(application.number(), Doing::Serving, &RequestId(9));
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        let mut told = |time| watchdog.look_at(start + time, slot.0).map(|found| found.told);
        assert_eq!(told(Duration::ZERO), None);
        assert_eq!(told(HELD_TOO_LONG), Some(Told::Blocked));
        assert_eq!(told(limit - Duration::from_millis(1)), None);
        assert_eq!(told(limit), Some(Told::Hung));
        assert_eq!(told(limit * 2), None);
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
