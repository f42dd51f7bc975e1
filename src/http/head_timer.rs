//! The time that a request's head may take, and the time until there is one, kept cheaply.
//!
//! hyper makes a timer for every head and drops it when the head is there, mostly at once. A timer of tokio's goes in
//! and out of a wheel that all threads share, under a lock. So hyper's timers here only note when they are due, and
//! each connection has one of tokio's: it is set to the first of them, and when it fires, to the one that is due next.
//!
//! hyper knows one limit, from the end of the request before. Here there are two: as long as nothing of the head has
//! come, the connection is idle; from its first bytes on, it is the head that takes its time. And it is said when the
//! client has been silent for a while, which is no end.
//!
//! In: what hyper waits for. Out: the connection's task is woken then. Never: gives a head less time than it has.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use tokio::time;

use super::{limits::Limits, progress::Progress};

/// How long a connection waits for the head of a request.
pub(super) struct Waits {
    /// While nothing of it has come. `None`: for ever.
    silent: Option<Duration>,
    /// From when something has. `None`: for ever.
    begun: Option<Duration>,
    progress: Arc<Progress>,
}

impl Waits {
    pub(super) fn new(limits: &Limits, progress: Arc<Progress>) -> Self {
        Self { silent: limits.keep_alive_timeout, begun: limits.header_timeout, progress }
    }
}

/// What all timers of a connection share.
#[derive(Clone)]
struct Due(Arc<(Waits, Mutex<Times>)>);

/// What is waited for, if a head is.
#[derive(Clone, Copy, Default)]
struct Times {
    /// When the head is due.
    head: Option<Instant>,
    /// When the client has been silent for a while.
    quiet: Option<Instant>,
}

impl Times {
    fn first(self) -> Option<Instant> {
        self.head.into_iter().chain(self.quiet).min()
    }
}

impl Due {
    fn lock(&self) -> MutexGuard<'_, Times> {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits(&self) -> &Waits {
        &self.0.0
    }
}

/// Makes hyper's timers, for one connection.
pub(super) struct HeadTimer(Due);

impl Timer for HeadTimer {
    fn now(&self) -> Instant {
        time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let waits = self.0.waits();
        // hyper waits for `begun`, or else for `silent`; nobody needs to look at the clock again.
        let waited = waits.begun.or(waits.silent).unwrap_or_default();
        let now = deadline.checked_sub(waited).unwrap_or(deadline);
        waits.progress.idler().listen(now);
        let deadline = waits.silent.map(|silent| now + silent);
        Box::pin(Head { due: self.0.clone(), quiet: now + QUIET, deadline, phase: Phase::New })
    }
}

/// One head's time.
struct Head {
    due: Due,
    /// When its client has been silent for a while.
    quiet: Instant,
    deadline: Option<Instant>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has not said when it is due. Most never do: the head was there.
    New,
    Silent,
    Begun,
}

impl Sleep for Head {}

impl Future for Head {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let now = || time::Instant::now().into_std();
        let waits = self.due.waits();
        let phase = if waits.progress.idler().has_heard() { Phase::Begun } else { Phase::Silent };
        if phase == self.phase {
            let is_over = self.deadline.is_some_and(|deadline| now() >= deadline);
            return if is_over { Poll::Ready(()) } else { Poll::Pending };
        }
        if phase == Phase::Begun {
            self.deadline = waits.begun.map(|limit| now() + limit);
        }
        self.phase = phase;
        let quiet = Some(self.quiet).filter(|_| phase == Phase::Silent);
        *self.due.lock() = Times { head: self.deadline, quiet };
        Poll::Pending
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        if self.phase != Phase::New {
            *self.due.lock() = Times::default();
        }
    }
}

pin_project_lite::pin_project! {
    /// A connection that is woken when a head is due.
    pub(super) struct Timed<C> {
        #[pin]
        connection: C,
        due: Due,
        timer: Option<Pin<Box<time::Sleep>>>,
        // Whether the client has been silent for a while, and nobody has asked since.
        quiet: bool,
    }
}

/// Gives the connection that `make` makes with a timer the time it waits for.
pub(super) fn timed<C>(waits: Waits, make: impl FnOnce(HeadTimer) -> C) -> Timed<C> {
    let due = Due(Arc::new((waits, Mutex::default())));
    Timed { connection: make(HeadTimer(due.clone())), due, timer: None, quiet: false }
}

impl<C> Timed<C> {
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }

    /// Whether the client has been silent for a while. Said once, each time that it is.
    pub(super) fn is_quiet(self: Pin<&mut Self>) -> bool {
        std::mem::take(self.project().quiet)
    }
}

impl<C: Future> Future for Timed<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.project();
        if let Poll::Ready(ended) = this.connection.poll(cx) {
            return Poll::Ready(ended);
        }
        let mut times = this.due.lock();
        let fired = this.timer.as_ref().is_some_and(|timer| timer.is_elapsed());
        if fired && times.quiet.is_some_and(|quiet| time::Instant::now().into_std() >= quiet) {
            times.quiet = None;
            *this.quiet = true;
        }
        let first = times.first();
        drop(times);
        if let Some(first) = first {
            set(this.timer, first.into(), cx);
        }
        Poll::Pending
    }
}

/// Has `timer` fire at `due` at the latest.
fn set(timer: &mut Option<Pin<Box<time::Sleep>>>, due: time::Instant, cx: &mut Context<'_>) {
    let timer = match timer {
        // It has the task's waker, which stays the same.
        Some(timer) if !timer.is_elapsed() && timer.deadline() <= due => return,
        Some(timer) => {
            timer.as_mut().reset(due);
            timer
        }
        None => timer.insert(Box::pin(time::sleep_until(due))),
    };
    if timer.as_mut().poll(cx).is_ready() {
        // The connection looks at the time when it is asked again.
        cx.waker().wake_by_ref();
    }
}

/// A client's next request mostly comes sooner than that, or much later.
const QUIET: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);
    const IDLE: Duration = Duration::from_secs(75);

    /// The same as [`super::timed`], with a connection that has heard something already, or not.
    fn timed<C>(heard: bool, make: impl FnOnce(HeadTimer) -> C) -> Timed<C> {
        let progress = Arc::<Progress>::default();
        let waits = Waits { silent: Some(IDLE), begun: Some(LONG), progress: Arc::clone(&progress) };
        super::timed(waits, |timer| {
            let connection = make(timer);
            if heard {
                progress.idler().hear();
            }
            connection
        })
    }

    /// Waits for `heads` heads, each of which is there after `each`; then for one that never comes.
    async fn wait(heads: u32, each: Duration) {
        let progress = Arc::<Progress>::default();
        let waits = Waits { silent: Some(IDLE), begun: Some(LONG), progress: Arc::clone(&progress) };
        super::timed(waits, |timer| async move {
            for _ in 0..heads {
                let mut head = timer.sleep(LONG);
                progress.idler().hear();
                let mut there = Box::pin(time::sleep(each));
                poll_fn(|cx| {
                    assert!(head.as_mut().poll(cx).is_pending(), "it had time");
                    there.as_mut().poll(cx)
                })
                .await;
            }
            let last = timer.sleep(LONG);
            progress.idler().hear();
            last.await;
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_is_given_up_in_time() {
        let began = time::Instant::now();
        wait(0, LONG).await;
        assert_eq!(began.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn every_head_has_its_own_time() {
        let began = time::Instant::now();
        wait(5, Duration::from_secs(20)).await;
        assert_eq!(began.elapsed().as_secs(), 5 * 20 + 30);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_idle_and_has_other_time() {
        let began = time::Instant::now();
        timed(false, |timer| timer.sleep(LONG)).await;
        assert_eq!(began.elapsed().as_secs(), 75);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_of_a_head_begins_its_time() {
        let began = time::Instant::now();
        let progress = Arc::<Progress>::default();
        let waits = Waits { silent: Some(IDLE), begun: Some(LONG), progress: Arc::clone(&progress) };
        super::timed(waits, |timer| async move {
            let mut head = timer.sleep(LONG);
            let mut byte = Some(Box::pin(time::sleep(Duration::from_secs(70))));
            poll_fn(|cx| {
                if byte.as_mut().is_some_and(|byte| byte.as_mut().poll(cx).is_ready()) {
                    byte = None;
                    progress.idler().hear();
                }
                head.as_mut().poll(cx)
            })
            .await;
        })
        .await;
        assert_eq!(began.elapsed().as_secs(), 70 + 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_there_at_once_sets_no_timer() {
        let mut timed = Box::pin(timed(true, |timer| async move {
            drop(timer.sleep(LONG));
            std::future::pending::<()>().await;
        }));
        poll_fn(|cx| {
            assert!(timed.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(timed.timer.is_none());
    }
}
