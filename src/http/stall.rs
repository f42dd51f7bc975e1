//! How long a client may take nothing that is written to it.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// Looks after the writes of one connection.
///
/// A write that succeeds costs nothing: no clock is read, and no timer is set before one has to wait.
pub(super) struct Stall {
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl Stall {
    /// `None`: as long as it likes.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, timer: None, waits: false }
    }

    /// What came of a write; an error if nothing has left for too long.
    pub(super) fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match (&written, self.limit) {
            (Poll::Pending, Some(limit)) => self.wait(cx, limit).map(|()| {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what is sent"))
            }),
            _ => {
                self.waits = false;
                written
            }
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waits {
            timer.as_mut().reset(Instant::now() + limit);
            self.waits = true;
        }
        timer.as_mut().poll(cx)
    }
}
