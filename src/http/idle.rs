//! The end of connections of HTTP/2 that have no requests. Those of HTTP/1 end with the time that a head may take.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::{connection::Graceful, progress::Progress, streams::Open};

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
    progress: Arc<Progress>,
    /// References there are without a request.
    none: usize,
    /// How often nothing was found, one time after the other.
    idle: u32,
    seen: u64,
    /// Whether the client was told that this is the end.
    ending: bool,
}

/// Ends `connection` when it has had no requests for `limit`, or a little longer. Others get to know from `progress`
/// that it has none.
pub(super) fn ended<C>(
    connection: C,
    limit: Option<Duration>,
    open: Open,
    progress: Arc<Progress>,
) -> Ended<C> {
    progress.idler().count(&open);
    let look = limit.map(|limit| {
        let every = limit / LOOKS;
        let (timer, none) = (Box::pin(tokio::time::sleep(every)), open.count());
        Look { every, timer, set: false, open, progress, none, idle: 0, seen: 0, ending: false }
    });
    Ended { connection, look }
}

impl<C: Graceful> Future for Ended<C> {
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let mut this = self.project();
        if let Poll::Ready(ended) = this.connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        let Some(look) = this.look else { return Poll::Pending };
        if !look.is_over(cx) {
            return Poll::Pending;
        }
        if look.ending {
            // There are answers whose clients open no window for them, or no longer.
            return Poll::Ready(Ok(()));
        }
        look.end(cx);
        this.connection.as_mut().graceful_shutdown();
        // It says so, and ends at once if nothing is open.
        this.connection.poll(cx)
    }
}

impl Look {
    /// Once more the same time, for what is on its way.
    fn end(&mut self, cx: &mut Context<'_>) {
        (self.ending, self.idle) = (true, 0);
        self.timer.as_mut().reset(Instant::now() + self.every);
        let _not_yet = self.timer.as_mut().poll(cx);
    }

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
            if !idle {
                self.progress.idler().had_requests();
            }
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
