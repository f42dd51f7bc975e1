//! Response bodies that the application writes, from any thread.
//!
//! A queue between the two: the application adds to it and is told when it is full, the client's connection takes
//! from it. Whoever has to be woken is woken after the lock is let go.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    collections::VecDeque,
    ffi::c_void,
    mem,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use cohost_abi as abi;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::request_body::Callback;
use crate::{body::BodyError, dispatcher::in_process::generation::Lease};

/// Above this many bytes in the queue, the writer is asked to wait.
const FULL: usize = 64 * 1024;

/// `void (*)(void *ud, int rc)`
pub(super) type OnWritable = unsafe extern "C" fn(*mut c_void, abi::Code);

/// The application's end.
pub(super) struct Push {
    lease: Weak<Lease>,
    queue: Mutex<Queue>,
    room: Condvar,
}

struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Still to be written, when the length is known.
    left: Option<u64>,
    state: State,
    reader: Option<Waker>,
    writer: Option<Callback<OnWritable>>,
}

enum State {
    Open,
    Ended(Option<HeaderMap>),
    Aborted(&'static str),
    /// The reader went away.
    Gone(abi::Code),
}

/// Both ends of a body.
pub(super) fn channel(lease: &Arc<Lease>, left: Option<u64>) -> (Arc<Push>, Reader) {
    let queue =
        Queue { frames: VecDeque::new(), bytes: 0, left, state: State::Open, reader: None, writer: None };
    let push =
        Arc::new(Push { lease: Arc::downgrade(lease), queue: Mutex::new(queue), room: Condvar::new() });
    (Arc::clone(&push), Reader { push, lease: Arc::clone(lease), ended: false, left })
}

impl Push {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to call the application, as long as there is a reader.
    pub(super) fn lease(&self) -> Result<Arc<Lease>, abi::Code> {
        self.lease.upgrade().ok_or(abi::code::E_GONE)
    }

    /// Adds bytes; [`AGAIN`](abi::code::AGAIN) says that they were taken and it is full now.
    pub(super) fn write(&self, bytes: Bytes) -> abi::Code {
        let mut queue = self.lock();
        if let Err(code) = queue.add(bytes) {
            let waker = queue.reader.take();
            drop(queue);
            if let Some(waker) = waker {
                waker.wake();
            }
            return code;
        }
        let full = queue.bytes >= FULL;
        let waker = queue.reader.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        if full { abi::code::AGAIN } else { abi::code::DONE }
    }

    /// Waits for room, then adds a copy.
    pub(super) fn write_blocking(&self, bytes: &[u8]) -> abi::Code {
        for piece in bytes.chunks(FULL) {
            let queue = self.lock();
            let full = |queue: &mut Queue| queue.bytes >= FULL && matches!(queue.state, State::Open);
            drop(self.room.wait_while(queue, full).unwrap_or_else(PoisonError::into_inner));
            match self.write(Bytes::copy_from_slice(piece)) {
                abi::code::DONE | abi::code::AGAIN => {}
                code => return code,
            }
        }
        abi::code::DONE
    }

    /// Keeps the callback until there is room; gives it back when there is now, with what to tell it.
    pub(super) fn on_writable(
        &self,
        callback: Callback<OnWritable>,
    ) -> Result<(), (Callback<OnWritable>, abi::Code)> {
        let mut queue = self.lock();
        match queue.state {
            State::Open if queue.writer.is_some() => Err((callback, abi::code::E_BUSY)),
            State::Open if queue.bytes >= FULL => {
                queue.writer = Some(callback);
                Ok(())
            }
            State::Open => Err((callback, abi::code::DONE)),
            State::Gone(code) => Err((callback, code)),
            State::Ended(_) | State::Aborted(_) => Err((callback, abi::code::E_STATE)),
        }
    }

    /// Ends the body well.
    pub(super) fn end(&self, trailers: Option<HeaderMap>) -> abi::Code {
        let mut queue = self.lock();
        let code = match queue.state {
            State::Open if queue.left.is_some_and(|left| left > 0) => {
                queue.state = State::Aborted("fewer bytes than Content-Length says");
                abi::code::E_INVALID
            }
            State::Open => {
                queue.state = State::Ended(trailers);
                abi::code::DONE
            }
            State::Gone(code) => code,
            State::Ended(_) | State::Aborted(_) => abi::code::E_STATE,
        };
        self.finish(queue);
        code
    }

    /// Cuts the body visibly.
    pub(super) fn abort(&self) {
        let mut queue = self.lock();
        if matches!(queue.state, State::Open) {
            queue.state = State::Aborted("the application aborted its response");
        }
        self.finish(queue);
    }

    fn finish(&self, mut queue: MutexGuard<'_, Queue>) {
        let waker = queue.reader.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Queue {
    fn add(&mut self, bytes: Bytes) -> Result<(), abi::Code> {
        match self.state {
            State::Open => {}
            State::Gone(code) => return Err(code),
            State::Ended(_) | State::Aborted(_) => return Err(abi::code::E_STATE),
        }
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(bytes.len() as u64) else {
                self.state = State::Aborted("more bytes than Content-Length says");
                return Err(abi::code::E_INVALID);
            };
            *left = rest;
        }
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.frames.push_back(bytes);
        }
        Ok(())
    }
}

/// The client's end.
pub(super) struct Reader {
    push: Arc<Push>,
    lease: Arc<Lease>,
    ended: bool,
    left: Option<u64>,
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut queue = self.push.lock();
        if let Some(bytes) = queue.frames.pop_front() {
            queue.bytes -= bytes.len();
            let writer = if queue.bytes < FULL { queue.writer.take() } else { None };
            drop(queue);
            self.push.room.notify_all();
            call(writer, abi::code::DONE);
            if let Some(left) = &mut self.left {
                *left -= bytes.len() as u64;
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let result = match &mut queue.state {
            State::Open => {
                queue.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            State::Ended(trailers) => trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
            State::Aborted(why) => Some(Err((*why).into())),
            State::Gone(_) => None,
        };
        drop(queue);
        self.ended = true;
        Poll::Ready(result)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let why = if self.lease.is_draining() { abi::code::E_DRAINING } else { abi::code::E_GONE };
        let mut queue = self.push.lock();
        if matches!(queue.state, State::Open) {
            queue.state = State::Gone(why);
        }
        let frames = mem::take(&mut queue.frames);
        queue.bytes = 0;
        let writer = queue.writer.take();
        drop(queue);
        drop(frames);
        self.push.room.notify_all();
        call(writer, why);
    }
}

/// Tells the writer, on this thread of the host's.
pub(super) fn call(writer: Option<Callback<OnWritable>>, code: abi::Code) {
    if let Some(writer) = writer {
        // SAFETY: once, because it was taken out.
        unsafe { (writer.call)(writer.ud, code) };
    }
}
