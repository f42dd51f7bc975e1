//! Request bodies of HTTP/1.1, read a little ahead of the application.
//!
//! While nobody reads a body, hyper does not read the connection either, and would not notice that the client went away:
//! the work would go on for nobody. So whoever waits for the answer reads ahead, as far as that costs little memory,
//! and reads a body that was let go of to its end.
//!
//! In: hyper's body. Out: the same for the application; and the news that the client has gone. Never: takes a frame
//! that the application is waiting for.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

/// The end of whoever waits for the answer.
pub(super) struct Ahead(Arc<Mutex<State>>);

/// The application's end.
pub(super) struct Read(Arc<Mutex<State>>);

struct State {
    /// `None` at its end.
    body: Option<Incoming>,
    held: VecDeque<Frame<Bytes>>,
    /// In what is held.
    bytes: usize,
    /// What the application has not seen yet of the length that the request says. A body without one has none when it
    /// is all here, either: there may be trailers behind it.
    left: Option<u64>,
    reader: Reader,
    /// Who waits for the answer.
    waiting: Option<Waker>,
}

/// What the application is doing with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Something else.
    Busy,
    /// It has been told to wait, and will be woken.
    Waiting,
    /// It has let go.
    Gone,
}

/// The client has gone in the middle of its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// Both ends of a body.
pub(super) fn read(body: Incoming) -> (Read, Ahead) {
    let state = Arc::new(Mutex::new(State {
        left: body.size_hint().exact(),
        body: Some(body),
        held: VecDeque::new(),
        bytes: 0,
        reader: Reader::Busy,
        waiting: None,
    }));
    (Read(Arc::clone(&state)), Ahead(state))
}

impl Ahead {
    /// Reads what there is and nobody waits for; pending for as long as the client may still be there.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Gone> {
        let mut state = lock(&self.0);
        if !state.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(cx.waker())) {
            state.waiting = Some(cx.waker().clone());
        }
        for _ in 0..FRAMES {
            if state.reader == Reader::Waiting || state.bytes >= FAR {
                return Poll::Pending;
            }
            let Some(body) = &mut state.body else { return Poll::Pending };
            match std::task::ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => state.hold(frame),
                // From now on hyper itself looks out for the client.
                None => state.body = None,
                Some(Err(_)) => return Poll::Ready(Gone),
            }
        }
        // Others want to go on, too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl State {
    fn hold(&mut self, frame: Frame<Bytes>) {
        if self.reader != Reader::Gone {
            self.bytes += length(&frame);
            self.held.push_back(frame);
        }
    }

    /// The next frame for the application.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = std::task::ready!(self.next(cx));
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            *left = left.saturating_sub(length(frame) as u64);
        }
        Poll::Ready(frame)
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(frame) = self.held.pop_front() {
            self.bytes -= length(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    /// Notes what the reader does; returns whom that concerns.
    fn is_now(&mut self, reader: Reader, was_full: bool) -> Option<Waker> {
        let before = std::mem::replace(&mut self.reader, reader);
        let changed = (before == Reader::Waiting && reader != Reader::Waiting) || was_full;
        self.waiting.take_if(|_| changed || reader == Reader::Gone)
    }
}

impl http_body::Body for Read {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut state = lock(&self.0);
        let was_full = state.bytes >= FAR;
        let frame = state.poll(cx);
        let reader = if frame.is_pending() { Reader::Waiting } else { Reader::Busy };
        let concerned = state.is_now(reader, was_full);
        drop(state);
        wake(concerned);
        frame
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.0);
        state.held.is_empty() && state.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        let held = std::mem::take(&mut state.held);
        state.bytes = 0;
        let concerned = state.is_now(Reader::Gone, false);
        drop(state);
        drop(held);
        wake(concerned);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn length(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many bytes are held before the client has to wait.
const FAR: usize = 32 * 1024;
/// Frames before others get their turn.
const FRAMES: usize = 16;
