//! Response bodies that the application writes, from any thread.
//!
//! A queue between the two: the application adds to it and is told when it is full, the client's connection takes
//! from it. Whoever has to be woken is woken after the lock is let go: the reader when there is something to read, the
//! writer when there is room or nothing can be written any more.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    collections::VecDeque,
    ffi::c_void,
    mem,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use cohost_abi as abi;
use http::{HeaderMap, request::Parts};
use http_body::{Frame, SizeHint};

use super::{
    request_body::Callback,
    subject::{Owner, Subject},
};
use crate::{
    body::BodyError,
    dispatcher::in_process::{generation::Lease, threads},
    facts::Facts,
};

/// Above this many bytes in the queue, the writer is asked to wait.
const FULL: usize = 64 * 1024;

/// `void (*)(void *ud, int rc)`
pub(super) type OnWritable = unsafe extern "C" fn(*mut c_void, abi::Code);

/// The application's end.
pub(super) struct Push {
    lease: Weak<Lease>,
    pub(super) owner: Owner,
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
pub(super) fn channel(
    lease: &Arc<Lease>,
    left: Option<u64>,
    request: (&Parts, &Facts),
) -> (Arc<Push>, Reader) {
    let queue =
        Queue { frames: VecDeque::new(), bytes: 0, left, state: State::Open, reader: None, writer: None };
    let id = request.1.request_id;
    let push = Arc::new(Push {
        lease: Arc::downgrade(lease),
        owner: Owner::of(lease, id),
        queue: Mutex::new(queue),
        room: Condvar::new(),
    });
    let reader = Reader {
        push: Arc::clone(&push),
        lease: Arc::clone(lease),
        request: Subject::of(request),
        deadline: request.1.deadline,
        ended: false,
        left,
    };
    (push, reader)
}

impl Push {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to call the application, as long as there is a reader.
    ///
    /// # Errors
    /// Returns why there is none any more.
    pub(super) fn lease(&self) -> Result<Arc<Lease>, abi::Code> {
        self.lease.upgrade().ok_or_else(|| self.lock().state.closed().unwrap_or(abi::code::E_GONE))
    }

    /// Adds bytes; [`AGAIN`](abi::code::AGAIN) says that they were taken and it is full now.
    pub(super) fn write(&self, bytes: Bytes) -> abi::Code {
        let mut queue = self.lock();
        let added = queue.add(bytes);
        let full = queue.bytes >= FULL;
        self.changed(queue);
        match added {
            Ok(()) if full => abi::code::AGAIN,
            Ok(()) => abi::code::DONE,
            Err(code) => code,
        }
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

    /// Keeps the callback until there is room, or the body ends; gives it back when that is so now, with what to tell it.
    pub(super) fn on_writable(
        &self,
        callback: Callback<OnWritable>,
    ) -> Result<(), (Callback<OnWritable>, abi::Code)> {
        let mut queue = self.lock();
        match queue.state.closed() {
            None if queue.writer.is_some() => Err((callback, abi::code::E_BUSY)),
            None if queue.bytes >= FULL => {
                queue.writer = Some(callback);
                Ok(())
            }
            None => Err((callback, abi::code::DONE)),
            Some(code) => Err((callback, code)),
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
        self.changed(queue);
        code
    }

    /// Cuts the body visibly.
    pub(super) fn abort(&self) {
        let mut queue = self.lock();
        if matches!(queue.state, State::Open) {
            queue.state = State::Aborted("the application aborted its response");
        }
        self.changed(queue);
    }

    /// Wakes whom a change of the application's concerns: the reader; and who waits for room that will never be.
    fn changed(&self, mut queue: MutexGuard<'_, Queue>) {
        let reader = queue.reader.take();
        let closed = queue.state.closed();
        let writer = closed.and_then(|_| queue.writer.take());
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
        if let Some(code) = closed {
            self.room.notify_all();
            call(writer, code);
        }
    }
}

impl State {
    /// Why nothing can be written any more.
    fn closed(&self) -> Option<abi::Code> {
        match self {
            Self::Open => None,
            Self::Ended(_) | Self::Aborted(_) => Some(abi::code::E_STATE),
            Self::Gone(code) => Some(*code),
        }
    }
}

impl Queue {
    fn add(&mut self, bytes: Bytes) -> Result<(), abi::Code> {
        if let Some(code) = self.state.closed() {
            return Err(code);
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
    request: Subject,
    /// Until when the answer has to begin, if it has not.
    deadline: Option<Instant>,
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
        // The answer is on its way: from here on, it may take as long as it likes.
        self.deadline = None;
        if self.ended {
            return Poll::Ready(None);
        }
        let mut queue = self.push.lock();
        if let Some(bytes) = queue.frames.pop_front() {
            queue.bytes -= bytes.len();
            let writer = if queue.bytes < FULL { queue.writer.take() } else { None };
            drop(queue);
            self.push.room.notify_all();
            self.call(writer, abi::code::DONE);
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

impl Reader {
    /// Tells the writer, on this thread that serves others.
    fn call(&self, writer: Option<Callback<OnWritable>>, code: abi::Code) {
        if writer.is_some() {
            let _inside = threads::enter(self.lease.watch, &self.request);
            call(writer, code);
        }
    }

    /// Why nobody reads any more.
    fn why(&self) -> abi::Code {
        match self.deadline {
            Some(deadline) if deadline <= Instant::now() => abi::code::E_TIMEOUT,
            _ if self.lease.is_draining() => abi::code::E_DRAINING,
            _ => abi::code::E_GONE,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let why = self.why();
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
        self.call(writer, why);
    }
}

/// Tells the writer, on this thread.
fn call(writer: Option<Callback<OnWritable>>, code: abi::Code) {
    if let Some(writer) = writer {
        // SAFETY: once, because it was taken out.
        unsafe { (writer.call)(writer.ud, code) };
    }
}

/// Tells the writer when it is dropped: a task that holds it does so also when it is never run.
pub(super) struct Telling {
    writer: Option<Callback<OnWritable>>,
    code: abi::Code,
    owner: Owner,
}

impl Telling {
    pub(super) fn new(writer: Callback<OnWritable>, code: abi::Code, owner: Owner) -> Self {
        Self { writer: Some(writer), code, owner }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        let _inside = self.owner.enter();
        call(self.writer.take(), self.code);
    }
}
