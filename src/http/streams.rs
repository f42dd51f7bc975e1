//! The requests of a connection of HTTP/2, each in a task: how many there are, and those whose client takes nothing.
//!
//! A client that opens no window for an answer has the answer wait for as long as it likes, and nothing of that is to be
//! seen on the socket. So each task is watched: one that has given something to send, and was not asked for more for
//! too long, is dropped, and with it the request. The client hears that its stream was cancelled.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::time::Sleep;

/// Runs the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// How many requests there were. References to it are those that are not over, and a few that stay the same.
    open: Arc<AtomicU64>,
    send_timeout: Option<Duration>,
}

impl Streams {
    pub(super) fn new(send_timeout: Option<Duration>) -> Self {
        Self { open: Arc::default(), send_timeout }
    }

    /// Something that tells whether there are any.
    pub(super) fn open(&self) -> Open {
        Open(Arc::clone(&self.open))
    }
}

/// Tells whether a connection has requests that are not over.
pub(super) struct Open(Arc<AtomicU64>);

impl Open {
    /// How many references to the count there are: those of requests, and a few that stay the same.
    pub(super) fn count(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// The same count, without being one of the references.
    pub(super) fn weak(&self) -> Weak<AtomicU64> {
        Arc::downgrade(&self.0)
    }

    /// How many requests there were so far.
    pub(super) fn requests(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Arc::clone(&self.open);
        match self.send_timeout {
            Some(limit) => drop(tokio::spawn(Watched { stream, limit, timer: None, frames: 0, _open: open })),
            None => drop(tokio::spawn(async move {
                stream.await;
                drop(open);
            })),
        }
    }
}

/// What a request's task does with the answer's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sending {
    /// Nothing: there is none yet, or what comes next is being waited for.
    #[default]
    Nothing,
    /// It has something that is to leave before anything else.
    Something,
}

thread_local! {
    /// What the task that is executed did last; and how often it had something to send.
    static LAST: Cell<(Sending, u32)> = const { Cell::new((Sending::Nothing, 0)) };
}

/// To be said by the body of an answer, each time that it is asked for more.
pub(super) fn note(sending: Sending) {
    // A thread that is ending sends nothing.
    let _ = LAST.try_with(|last| {
        let more = u32::from(sending == Sending::Something);
        last.set((sending, last.get().1.wrapping_add(more)));
    });
}

pin_project_lite::pin_project! {
    /// A request's task, which ends if its client takes nothing.
    struct Watched<F> {
        #[pin]
        stream: F,
        limit: Duration,
        // Set while there is something to send, and a little longer.
        timer: Option<(Pin<Box<Sleep>>, u32)>,
        frames: u32,
        _open: Arc<AtomicU64>,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        // What it did last stays as it was, if it is not asked for anything now.
        let before = if this.timer.is_some() { Sending::Something } else { Sending::Nothing };
        let (polled, (last, frames)) = LAST.with(|noted| {
            noted.set((before, *this.frames));
            (this.stream.as_mut().poll(cx), noted.replace((Sending::Nothing, 0)))
        });
        *this.frames = frames;
        if polled.is_ready() {
            return Poll::Ready(());
        }
        if last == Sending::Nothing {
            *this.timer = None;
            return Poll::Pending;
        }
        let (timer, since) =
            this.timer.get_or_insert_with(|| (Box::pin(tokio::time::sleep(*this.limit)), frames));
        while timer.as_mut().poll(cx).is_ready() {
            if *since == frames {
                tracing::debug!("a client takes nothing of an answer; it is cancelled");
                return Poll::Ready(());
            }
            *since = frames;
            timer.set(tokio::time::sleep(*this.limit));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Mutex};

    use tokio::{sync::oneshot, time::Instant};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// How long a task lives that does these things, one after the other, each after a while.
    async fn lives(script: &'static [(u64, Sending)]) -> Option<u64> {
        let streams = Streams::new(Some(LIMIT));
        let (ended, end) = oneshot::channel::<()>();
        let began = Instant::now();
        let mut steps = script.iter();
        let mut next =
            steps.next().map(|(after, sending)| (Box::pin(tokio::time::sleep(secs(*after))), sending));
        let held = Mutex::new(Some(ended));
        streams.execute(poll_fn(move |cx| {
            let _held = &held;
            while let Some((sleep, sending)) = &mut next {
                if sleep.as_mut().poll(cx).is_pending() {
                    break;
                }
                note(**sending);
                next = steps
                    .next()
                    .map(|(after, sending)| (Box::pin(tokio::time::sleep(secs(*after))), sending));
            }
            Poll::Pending
        }));
        let gone = tokio::time::timeout(secs(1000), end).await.is_ok_and(|told| told.is_err());
        gone.then(|| began.elapsed().as_secs())
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up() {
        assert_eq!(lives(&[(5, Sending::Something)]).await, Some(65));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_application_may_wait() {
        assert_eq!(lives(&[(5, Sending::Something), (10, Sending::Nothing)]).await, None);
        assert_eq!(lives(&[]).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_has_time_for_the_next() {
        let slowly = [(5, Sending::Something), (50, Sending::Something), (50, Sending::Something)];
        let lived = lives(Box::leak(Box::new(slowly))).await;
        assert!(matches!(lived, Some(165..=225)), "{lived:?}");
    }

    #[tokio::test]
    async fn open_ones_are_counted() {
        let streams = Streams::new(Some(LIMIT));
        let open = streams.open();
        let before = open.count();
        let (end, ended) = oneshot::channel::<()>();
        streams.execute(async move { drop(ended.await) });
        assert_eq!(open.count(), before + 1);
        drop(end);
        while open.count() > before {
            tokio::task::yield_now().await;
        }
    }
}
