//! The time that a request's head may take, kept cheaply.
//!
//! hyper makes a timer for every head and drops it when the head is there, mostly at once. A timer of tokio's goes in
//! and out of a wheel that all threads share, under a lock. So hyper's timers here only note when they are due, and
//! each connection has one of tokio's: it is set to the first of them, and when it fires, to the one that is due next.
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

/// When the head is due that a connection waits for, if it waits for one.
#[derive(Clone, Default)]
struct Due(Arc<Mutex<Option<Instant>>>);

impl Due {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        Box::pin(Head { due: self.0.clone(), deadline, waits: false })
    }
}

/// One head's time.
struct Head {
    due: Due,
    deadline: Instant,
    /// Whether it has said when it is due. Most never do: the head was there.
    waits: bool,
}

impl Sleep for Head {}

impl Future for Head {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.waits {
            let passed = time::Instant::now().into_std() >= self.deadline;
            return if passed { Poll::Ready(()) } else { Poll::Pending };
        }
        self.waits = true;
        *self.due.lock() = Some(self.deadline);
        Poll::Pending
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        if self.waits {
            *self.due.lock() = None;
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
    }
}

/// Gives the connection that `make` makes with a timer the time it waits for.
pub(super) fn timed<C>(make: impl FnOnce(HeadTimer) -> C) -> Timed<C> {
    let due = Due::default();
    Timed { connection: make(HeadTimer(due.clone())), due, timer: None }
}

impl<C> Timed<C> {
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }
}

impl<C: Future> Future for Timed<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.project();
        if let Poll::Ready(ended) = this.connection.poll(cx) {
            return Poll::Ready(ended);
        }
        let due = *this.due.lock();
        if let Some(due) = due {
            set(this.timer, due.into(), cx);
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// Waits for `heads` heads, each of which is there after `each`; then for one that never comes.
    async fn wait(timer: HeadTimer, heads: u32, each: Duration) {
        for _ in 0..heads {
            let mut head = timer.sleep(LONG);
            let mut there = Box::pin(time::sleep(each));
            poll_fn(|cx| {
                assert!(head.as_mut().poll(cx).is_pending(), "it had time");
                there.as_mut().poll(cx)
            })
            .await;
        }
        timer.sleep(LONG).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_is_given_up_in_time() {
        let began = time::Instant::now();
        timed(|timer| wait(timer, 0, LONG)).await;
        assert_eq!(began.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn every_head_has_its_own_time() {
        let began = time::Instant::now();
        timed(|timer| wait(timer, 5, Duration::from_secs(20))).await;
        assert_eq!(began.elapsed().as_secs(), 5 * 20 + 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_there_at_once_sets_no_timer() {
        let mut timed = Box::pin(timed(|timer| async move {
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
