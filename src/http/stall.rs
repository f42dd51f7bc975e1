//! How long a client may take nothing that is written to it.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, Sleep},
};

/// Looks after the writes of one connection.
///
/// A write that succeeds costs nothing: no clock is read, and no timer is set before one has to wait.
pub(super) struct Stall {
    /// And whose timers: an application in process writes to what it has upgraded on threads of its own.
    limit: Option<(Duration, Handle)>,
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl Stall {
    /// `None`: as long as it likes.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        let limit = limit.and_then(|limit| Some((limit, Handle::try_current().ok()?)));
        Self { limit, timer: None, waits: false }
    }

    /// What came of a write; an error if nothing has left for too long.
    pub(super) fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = false;
            return written;
        }
        self.wait(cx).map(|()| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what is sent"))
        })
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((limit, runtime)) = &self.limit else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| {
            let _here = runtime.enter();
            Box::pin(tokio::time::sleep(*limit))
        });
        if !self.waits {
            timer.as_mut().reset(Instant::now() + *limit);
            self.waits = true;
        }
        timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn watched(stall: &mut Stall) -> Poll<io::Result<()>> {
        stall.watch(&mut Context::from_waker(Waker::noop()), Poll::Pending)
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_leave_in_time_is_given_up() {
        let mut stall = Stall::new(Some(Duration::from_secs(60)));
        assert!(watched(&mut stall).is_pending());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(watched(&mut stall).is_pending());
        let went = stall.watch(&mut Context::from_waker(Waker::noop()), Poll::Ready(Ok(())));
        assert!(went.is_ready() && watched(&mut stall).is_pending());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(watched(&mut stall).is_pending());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(matches!(watched(&mut stall), Poll::Ready(Err(_))));
    }

    #[tokio::test]
    async fn who_writes_may_be_a_thread_of_somebody_else() {
        let mut stall = Stall::new(Some(Duration::from_secs(60)));
        let there = std::thread::spawn(move || watched(&mut stall).is_pending());
        assert!(there.join().expect("no panic"));
    }
}
