//! The end of connections of HTTP/2 that have no requests. Those of HTTP/1 end with the time that a head may take.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::{connection::Graceful, streams::Open};

/// How often is looked within the time that a connection may be idle.
const LOOKS: u32 = 4;

pin_project_lite::pin_project! {
    /// A connection that ends when it has had no requests for long enough.
    pub(super) struct Ended<C> {
        #[pin]
        connection: C,
        look: Option<Look>,
    }
}

struct Look {
    every: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether the timer has the task's waker, which stays the same.
    set: bool,
    open: Open,
    /// References there are without a request.
    none: usize,
    /// How often nothing was found, one time after the other.
    idle: u32,
    seen: u64,
}

/// Ends `connection` when it has had no requests for `limit`, or a little longer.
pub(super) fn ended<C>(connection: C, limit: Option<Duration>, open: Open) -> Ended<C> {
    let look = limit.map(|limit| {
        let every = limit / LOOKS;
        let (timer, none) = (Box::pin(tokio::time::sleep(every)), open.count());
        Look { every, timer, set: false, open, none, idle: 0, seen: 0 }
    });
    Ended { connection, look }
}

impl<C: Graceful> Future for Ended<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let mut this = self.project();
        if let Poll::Ready(ended) = this.connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        if this.look.as_mut().is_some_and(|look| look.is_over(cx)) {
            *this.look = None;
            this.connection.as_mut().graceful_shutdown();
            // It says so, and ends at once if nothing is open.
            return this.connection.poll(cx);
        }
        Poll::Pending
    }
}

impl Look {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.set && !self.timer.is_elapsed() {
            return false;
        }
        self.set = true;
        while self.timer.as_mut().poll(cx).is_ready() {
            let requests = self.open.requests();
            let idle = self.open.count() <= self.none && requests == self.seen;
            self.seen = requests;
            self.idle = if idle { self.idle + 1 } else { 0 };
            if self.idle >= LOOKS {
                return true;
            }
            self.timer.as_mut().reset(Instant::now() + self.every);
        }
        false
    }
}

impl<C: Graceful> Graceful for Ended<C> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.project().connection.graceful_shutdown();
    }
}
