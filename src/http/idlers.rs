//! Connections that wait for their clients: who leaves when somebody else needs the place.
//!
//! In: connections, as they begin; when each began to wait for its client. Out: the one that has waited longest is told to
//! leave. Never: ends one that has a request, or costs a request more than a store.
//!
//! A connection only notes since when it waits. Nobody keeps them in order: who needs a place looks at all of them, and
//! remembers the next ones, so that the next places cost nothing to find.

use std::{
    fmt,
    sync::{
        Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use tokio::time;

use super::{progress::Progress, streams::Open};

/// Connections that may have to leave. Clones are the same ones.
#[derive(Clone, Default)]
pub(crate) struct Idlers(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    open: Vec<Weak<Progress>>,
    /// With so many, those that have ended are taken out.
    full: usize,
    /// Those that have waited longest, that one last; and since when.
    next: Vec<(u64, Weak<Progress>)>,
    told: Option<Instant>,
}

impl fmt::Debug for Idlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idlers").finish_non_exhaustive()
    }
}

impl Idlers {
    /// One more connection.
    pub(super) fn enter(&self, connection: &Arc<Progress>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.open.len() >= all.full {
            all.open.retain(|open| open.strong_count() > 0);
            all.full = (all.open.len() * 2).max(FEW);
        }
        all.open.push(Arc::downgrade(connection));
    }

    /// Has the connection leave that has waited longest for its client, if one has waited long enough.
    pub(crate) fn make_room(&self) {
        let now = time::Instant::now().into_std();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.have_one_leave(now) {
            return;
        }
        if all.told.is_none_or(|told| now.duration_since(told) > AGAIN) {
            all.told = Some(now);
            tracing::warn!(
                "there are max_connections; those that wait longest for their clients are closed for new ones"
            );
        }
    }
}

impl All {
    fn have_one_leave(&mut self, now: Instant) -> bool {
        let latest = moment(now).saturating_sub(LEAST.as_millis() as u64);
        if self.next.is_empty() {
            self.look(latest);
        }
        while let Some((since, connection)) = self.next.pop() {
            // It may have had requests meanwhile.
            let connection = connection.upgrade().filter(|it| it.idler().since() == Some(since));
            if connection.is_some_and(|connection| connection.idler().tell()) {
                return true;
            }
            if self.next.is_empty() {
                self.look(latest);
            }
        }
        false
    }

    /// Finds those that have waited longest, and at least since `latest`.
    fn look(&mut self, latest: u64) {
        let waiting = self.open.iter().filter_map(|connection| {
            let since = connection.upgrade()?.idler().waits_since()?;
            (since <= latest).then(|| (since, Weak::clone(connection)))
        });
        let mut waiting: Vec<_> = waiting.collect();
        if waiting.len() > AT_ONCE {
            waiting.select_nth_unstable_by_key(AT_ONCE, |(since, _)| *since);
            waiting.truncate(AT_ONCE);
        }
        waiting.sort_unstable_by_key(|(since, _)| std::cmp::Reverse(*since));
        self.next = waiting;
    }
}

/// Whether a connection waits for its client, and whether it is to leave for that.
pub(super) struct Idler {
    /// Since when it waits for a head, or for anything at all; [`BUSY`] while it does not.
    since: AtomicU64,
    /// Where requests are not one after the other.
    streams: OnceLock<Streams>,
    told: AtomicBool,
    waker: AtomicWaker,
}

/// The requests of a connection of HTTP/2.
struct Streams {
    open: Weak<AtomicU64>,
    /// References there are without a request.
    none: usize,
    /// When there was one last, roughly.
    last: AtomicU64,
}

impl Default for Idler {
    fn default() -> Self {
        let since = AtomicU64::new(moment(time::Instant::now().into_std()));
        let (streams, told, waker) = (OnceLock::new(), AtomicBool::new(false), AtomicWaker::new());
        Self { since, streams, told, waker }
    }
}

impl fmt::Debug for Idler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idler").field("since", &self.since()).finish_non_exhaustive()
    }
}

impl Idler {
    /// From now on, a head is waited for.
    pub(super) fn listen(&self, now: Instant) {
        self.since.store(moment(now), Ordering::Relaxed);
    }

    /// Something has come.
    pub(super) fn hear(&self) {
        self.since.store(BUSY, Ordering::Relaxed);
    }

    /// How long a head has been waited for.
    pub(super) fn waited(&self) -> Duration {
        let since = self.since.load(Ordering::Relaxed);
        Duration::from_millis(moment(time::Instant::now().into_std()).saturating_sub(since))
    }

    /// Whether something of what is waited for has come.
    pub(super) fn has_heard(&self) -> bool {
        self.since.load(Ordering::Relaxed) == BUSY
    }

    /// From now on it is `open` that tells whether there are requests; there is none at the moment.
    pub(super) fn count(&self, open: &Open) {
        let last = AtomicU64::new(moment(time::Instant::now().into_std()));
        let streams = Streams { open: open.weak(), none: open.count(), last };
        let _only_once = self.streams.set(streams);
    }

    /// There were requests until now.
    pub(super) fn had_requests(&self) {
        if let Some(streams) = self.streams.get() {
            streams.last.store(moment(time::Instant::now().into_std()), Ordering::Relaxed);
        }
    }

    /// Since when it waits for its client, if it does.
    fn since(&self) -> Option<u64> {
        match self.streams.get() {
            Some(streams) => {
                let is_idle = streams.open.strong_count() <= streams.none;
                is_idle.then(|| streams.last.load(Ordering::Relaxed))
            }
            None => Some(self.since.load(Ordering::Relaxed)).filter(|since| *since != BUSY),
        }
    }

    /// The same, if it was not told to leave already.
    fn waits_since(&self) -> Option<u64> {
        self.since().filter(|_| !self.told.load(Ordering::Relaxed))
    }

    /// Has it leave; `false`, if it was told before.
    fn tell(&self) -> bool {
        let is_first = !self.told.swap(true, Ordering::AcqRel);
        self.waker.wake();
        is_first
    }

    /// Has `waker` woken when it is to leave.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Whether it was told to leave.
    pub(super) fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// Whether it has to do as it was told: not if something has come meanwhile.
    pub(super) fn obeys(&self) -> bool {
        self.told.store(false, Ordering::Release);
        self.since().is_some()
    }
}

/// Milliseconds since some moment that is the same in the whole process.
fn moment(now: Instant) -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(|| time::Instant::now().into_std());
    now.saturating_duration_since(*BEGAN).as_millis() as u64
}

/// No moment.
const BUSY: u64 = u64::MAX;
/// A client that has just connected, or just had an answer, is about to send.
const LEAST: Duration = Duration::from_millis(100);
/// As many are found in one look.
const AT_ONCE: usize = 256;
/// So few are not worth being tidied.
const FEW: usize = 64;
/// How often it is said that there are too many.
const AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that have waited since these moments.
    fn waiting(idlers: &Idlers, since: &[u64]) -> Vec<Arc<Progress>> {
        let connection = |since: &u64| {
            let connection = Arc::<Progress>::default();
            connection.idler().since.store(*since, Ordering::Relaxed);
            idlers.enter(&connection);
            connection
        };
        since.iter().map(connection).collect()
    }

    fn one_leaves(idlers: &Idlers, after: u64) -> bool {
        let began = Instant::now() - Duration::from_millis(moment(Instant::now()));
        idlers.0.lock().unwrap().have_one_leave(began + Duration::from_millis(after + 1))
    }

    fn told(connections: &[Arc<Progress>]) -> Vec<usize> {
        (0..connections.len()).filter(|index| connections[*index].idler().is_told()).collect()
    }

    #[test]
    fn who_has_waited_longest_leaves_first_and_each_only_once() {
        let idlers = Idlers::default();
        let connections = waiting(&idlers, &[30, 10, 20]);
        for expected in [&[1][..], &[1, 2], &[0, 1, 2]] {
            assert!(one_leaves(&idlers, 1000));
            assert_eq!(told(&connections), expected);
        }
        assert!(!one_leaves(&idlers, 1000));
    }

    #[test]
    fn who_has_a_request_or_has_only_just_come_stays() {
        let idlers = Idlers::default();
        let connections = waiting(&idlers, &[BUSY, 950, 10]);
        assert!(one_leaves(&idlers, 1000));
        assert!(!one_leaves(&idlers, 1000));
        assert_eq!(told(&connections), [2]);
        // It has had one since somebody looked.
        let connections = waiting(&idlers, &[20, 30]);
        assert!(one_leaves(&idlers, 1000));
        connections[1].idler().since.store(950, Ordering::Relaxed);
        assert!(!one_leaves(&idlers, 1000));
        assert_eq!(told(&connections), [0]);
        assert!(connections[0].idler().obeys());
        connections[0].idler().tell();
        connections[0].idler().hear();
        assert!(!connections[0].idler().obeys(), "something has come");
    }

    #[test]
    fn those_that_have_ended_are_not_kept() {
        let idlers = Idlers::default();
        let kept = waiting(&idlers, &[10]);
        for _ in 0..10 {
            drop(waiting(&idlers, &[20; FEW]));
        }
        assert!(idlers.0.lock().unwrap().open.len() <= 2 * FEW);
        assert!(one_leaves(&idlers, 1000));
        assert_eq!(told(&kept), [0]);
        assert!(!one_leaves(&idlers, 1000));
    }

    #[test]
    fn of_many_the_longest_leave_too() {
        let idlers = Idlers::default();
        let since: Vec<u64> = (0..3 * AT_ONCE as u64).rev().collect();
        let connections = waiting(&idlers, &since);
        for left in 1..=2 * AT_ONCE {
            assert!(one_leaves(&idlers, 10_000));
            assert!(connections[connections.len() - left].idler().is_told(), "{left}");
        }
    }
}
