//! The request's body on its way to the instance, and what must be known of it meanwhile.
//!
//! In: the client's body. Out: the same frames, trailers without fields that only the host may set. Never: asks the
//! client for a byte before the instance wants one, if the client said that it would wait (`Expect: 100-continue`).

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use crate::{Body, Failure, body::BodyError, failure::Code, fields};

/// A request body that is watched while hyper sends it. An empty one is not.
pub(super) struct Upload {
    body: Body,
    watch: Option<Arc<Watch>>,
    patience: Patience,
}

/// How long the gate stays shut when the instance says nothing.
enum Patience {
    /// The instance is known to ask.
    Endless,
    /// It may not know the expectation; begin anyway after this time, as RFC 9110 wants it.
    Until(Duration),
    Running(Pin<Box<Sleep>>),
}

/// Whether the body may be sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// As soon as hyper asks.
    AtOnce,
    /// When the instance asks, and not before.
    WhenAsked,
    /// When the instance asks, or after a second.
    WhenAskedOrLate,
}

/// What the rest of the forwarder knows of a body under way.
#[derive(Debug, Default)]
pub(super) struct Watch {
    shut: AtomicBool,
    stopped: AtomicBool,
    stage: AtomicU8,
    frames: AtomicU64,
    failure: Mutex<Option<Failure>>,
    waker: AtomicWaker,
}

const INSTANCES_TURN: u8 = 0;
const CLIENTS_TURN: u8 = 1;
const DONE: u8 = 2;

impl Upload {
    pub(super) fn new(body: Body, start: Start) -> (Self, Option<Arc<Watch>>) {
        if http_body::Body::is_end_stream(&body) {
            return (Self { body, watch: None, patience: Patience::Endless }, None);
        }
        let watch = Arc::new(Watch { shut: (start != Start::AtOnce).into(), ..Watch::default() });
        let patience = match start {
            Start::WhenAskedOrLate => Patience::Until(UNASKED),
            Start::AtOnce | Start::WhenAsked => Patience::Endless,
        };
        (Self { body, watch: Some(Arc::clone(&watch)), patience }, Some(watch))
    }

    /// No body.
    #[cfg(feature = "front")]
    pub(super) fn none() -> Self {
        Self { body: Body::empty(), watch: None, patience: Patience::Endless }
    }

    fn poll_gate(&mut self, watch: &Watch, cx: &mut Context<'_>) -> Poll<()> {
        if !watch.is_shut() {
            return Poll::Ready(());
        }
        if let Patience::Until(limit) = self.patience {
            self.patience = Patience::Running(Box::pin(tokio::time::sleep(limit)));
        }
        if let Patience::Running(sleep) = &mut self.patience
            && sleep.as_mut().poll(cx).is_ready()
        {
            watch.open();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(watch) = self.watch.clone() else { return Pin::new(&mut self.body).poll_frame(cx) };
        watch.waker.register(cx.waker()); // before the flags are read, or a change in between would be missed
        if watch.stopped.load(Ordering::Acquire) {
            return Poll::Ready(Some(Err("the answer is not wanted any more".into())));
        }
        if self.poll_gate(&watch, cx).is_pending() {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        watch.saw(&polled, || http_body::Body::is_end_stream(&self.body));
        polled
            .map(|frame| frame.map(|frame| frame.map(without_host_fields).map_err(|error| watch.keep(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // hyper lets go of a body whose announced length it has seen, without asking for its end.
        if let Some(watch) = &self.watch {
            watch.stage.store(DONE, Ordering::Release);
        }
    }
}

fn without_host_fields(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        fields::clean_request_trailers(trailers);
    }
    frame
}

impl Watch {
    /// Lets the body begin.
    pub(super) fn open(&self) {
        self.shut.store(false, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the instance has not asked for the body yet.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Ends the body with an error, which closes or resets the instance's stream.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether hyper needs no more of it.
    pub(super) fn is_done(&self) -> bool {
        self.stage.load(Ordering::Acquire) == DONE
    }

    /// Whether the instance cannot answer yet, because the client keeps it waiting or bytes have moved since `seen`.
    pub(super) fn is_under_way(&self, seen: &mut u64) -> bool {
        let before = std::mem::replace(seen, self.frames.load(Ordering::Acquire));
        self.stage.load(Ordering::Acquire) == CLIENTS_TURN || before != *seen
    }

    /// Why the client's body broke off, if it did. Once.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn saw(&self, polled: &Poll<Option<Result<Frame<Bytes>, BodyError>>>, is_end: impl FnOnce() -> bool) {
        let stage = match polled {
            Poll::Pending => CLIENTS_TURN,
            Poll::Ready(None) => DONE,
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() || is_end() => DONE,
            Poll::Ready(Some(_)) => INSTANCES_TURN,
        };
        self.stage.store(stage, Ordering::Release);
        if polled.is_ready() {
            self.frames.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Keeps the cause for the answer, since hyper's errors tell only that there was one.
    fn keep(&self, error: BodyError) -> BodyError {
        let failure = match error.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(error) => match root(error.as_ref()) {
                Some(failure) => Failure::new(failure.code).detail(failure.detail.clone()),
                // What applications in process commonly answer, too.
                None => Failure::new(Code::BadRequest).detail("the request body broke off").source(error),
            },
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        "the request body broke off".into()
    }
}

/// The failure somewhere below `error`, where a stage wrapped it.
fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Failure> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// RFC 9110 leaves the time to the client; this is what common clients take.
const UNASKED: Duration = Duration::from_secs(1);
