//! Request bodies, seen from both ends: by the application, and by whoever waits for its answer.
//!
//! While nobody reads a body of HTTP/1.1, hyper does not read the connection either, and would not notice that the client
//! went away: the work would go on for nobody. So whoever waits for the answer reads ahead, as far as that costs little
//! memory, and reads a body that was let go of to its end. He also looks at the time, for a body that comes too slowly.
//!
//! In: hyper's body. Out: the same for the application; and the news that no more of it will come. Never: takes a frame
//! that the application is waiting for, or counts time for which nobody waits.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::{limits::Pace, pace::Watch};
use crate::{Failure, body::BodyError, failure::Code};

/// The end of whoever waits for the answer.
pub(super) struct Ahead(Arc<Mutex<State>>);

/// The application's end.
pub(super) struct Read(Arc<Mutex<State>>);

struct State {
    /// `None` at its end.
    body: Option<Incoming>,
    mode: Mode,
    pace: Option<Watch>,
    /// Whether it came too slowly.
    slow: bool,
    held: VecDeque<Frame<Bytes>>,
    /// In what is held.
    bytes: usize,
    /// What the application has not seen yet of the length that the request says. A body without one has none when it
    /// is all here, either: there may be trailers behind it.
    left: Option<u64>,
    reader: Reader,
    /// Who waits for the answer.
    waiting: Option<Waker>,
    /// Who has been told to wait for the body, where it may come too slowly.
    reading: Option<Waker>,
}

/// Who asks the client for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Whoever waits for the answer.
    Ahead,
    /// The application alone.
    AsAsked,
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

/// Why no more of a body will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The client has gone in the middle of it.
    Gone,
    /// It came too slowly.
    TooSlow,
    /// What came is none.
    Malformed,
}

impl Over {
    /// hyper tells the end of a connection from chunks that are none only in what led to its error.
    fn by(error: &hyper::Error) -> Self {
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
        match cause.map(std::io::Error::kind) {
            Some(std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData) => Self::Malformed,
            _ => Self::Gone,
        }
    }
}

/// Both ends of a body.
pub(super) fn read(body: Incoming, mode: Mode, pace: Option<Pace>) -> (Read, Ahead) {
    let state = Arc::new(Mutex::new(State {
        left: body.size_hint().exact(),
        body: Some(body),
        mode,
        pace: pace.map(Watch::new),
        slow: false,
        held: VecDeque::new(),
        bytes: 0,
        reader: Reader::Busy,
        waiting: None,
        reading: None,
    }));
    (Read(Arc::clone(&state)), Ahead(state))
}

impl Ahead {
    /// Reads what there is and nobody waits for; pending for as long as more may come.
    pub(super) fn poll_over(&self, cx: &mut Context<'_>) -> Poll<Over> {
        let mut state = lock(&self.0);
        if !state.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(cx.waker())) {
            state.waiting = Some(cx.waker().clone());
        }
        if state.mode == Mode::Ahead
            && let Poll::Ready(over) = state.poll_ahead(cx)
        {
            return Poll::Ready(over);
        }
        if state.poll_slow(cx).is_pending() {
            return Poll::Pending;
        }
        (state.slow, state.body) = (true, None);
        let reading = state.reading.take();
        drop(state);
        wake(reading);
        Poll::Ready(Over::TooSlow)
    }
}

impl State {
    /// Ready when there is no more to read than this.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        for _ in 0..FRAMES {
            if self.reader == Reader::Waiting || self.bytes >= FAR {
                return Poll::Pending;
            }
            let Some(body) = &mut self.body else { return Poll::Pending };
            match std::task::ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => self.hold(frame),
                // From now on hyper itself looks out for the client.
                None => self.body = None,
                Some(Err(error)) => return Poll::Ready(Over::by(&error)),
            }
        }
        // Others want to go on, too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when what is waited for has come too slowly.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let awaited = self.is_awaited();
        self.pace.as_mut().map_or(Poll::Pending, |pace| pace.poll(cx, awaited))
    }

    /// Whether it is the client's turn.
    fn is_awaited(&self) -> bool {
        let asked = match self.mode {
            Mode::Ahead => self.bytes < FAR,
            Mode::AsAsked => self.reader == Reader::Waiting,
        };
        asked && self.body.as_ref().is_some_and(|body| !body.is_end_stream())
    }

    fn arrived(&mut self, frame: &Frame<Bytes>) {
        if let Some(pace) = &mut self.pace {
            pace.arrived += length(frame) as u64;
        }
    }

    fn hold(&mut self, frame: Frame<Bytes>) {
        self.arrived(&frame);
        if self.reader != Reader::Gone {
            self.bytes += length(&frame);
            self.held.push_back(frame);
        }
    }

    /// The next frame for the application.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(self.next(cx));
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            *left = left.saturating_sub(length(frame) as u64);
        }
        Poll::Ready(frame)
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.held.pop_front() {
            self.bytes -= length(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.slow {
            return Poll::Ready(Some(Err(Failure::new(Code::BodyTimeout).into())));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.arrived(frame),
            _ => self.body = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    /// Notes what the reader does; returns whom that concerns.
    fn is_now(&mut self, reader: Reader, was_full: bool) -> Option<Waker> {
        let before = std::mem::replace(&mut self.reader, reader);
        let changed = match self.mode {
            Mode::Ahead => (before == Reader::Waiting && reader != Reader::Waiting) || was_full,
            // Once the time is looked at, that goes on by itself.
            Mode::AsAsked => reader == Reader::Waiting && self.pace.as_ref().is_some_and(|pace| !pace.looks),
        };
        self.waiting.take_if(|_| changed || reader == Reader::Gone)
    }
}

impl http_body::Body for Read {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = lock(&self.0);
        let was_full = state.bytes >= FAR;
        let frame = state.poll(cx);
        let reader = if frame.is_pending() { Reader::Waiting } else { Reader::Busy };
        if reader == Reader::Waiting && state.pace.is_some() {
            state.reading.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        }
        let concerned = state.is_now(reader, was_full);
        drop(state);
        wake(concerned);
        frame
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.0);
        state.held.is_empty() && !state.slow && state.body.as_ref().is_none_or(Incoming::is_end_stream)
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
