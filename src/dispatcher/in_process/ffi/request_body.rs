//! A request body in the application's hands.
//!
//! Who waits for bytes, as a callback or as a thread, has the turn until they are there or the body is dropped, and
//! nobody else reads meanwhile: a second reader would take its waker away, and it would wait for ever.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    ffi::c_void,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf as _, Bytes};
use cohost_abi as abi;
use http::HeaderMap;
use http_body::Body as _;

use super::{bytes as owned, head::field, names, subject::Owner};
use crate::{Body, body::BodyError, failure, fields};

/// A request body, read by one thread at a time.
pub(super) struct RequestBody {
    reading: Mutex<Reading>,
    reader: Mutex<Reader>,
    owner: Owner,
}

/// Who waits for the next bytes.
enum Reader {
    Nobody,
    /// Somebody has the turn; the waker, once it had to wait. It is always one of ours.
    Waits(Option<Waker>),
    /// Nobody ever will: the application dropped the body.
    Dropped,
}

struct Reading {
    body: Body,
    /// What a blocking read had no room for.
    rest: Bytes,
    /// The last trailers, and the fields that point at them.
    trailers: Box<HeaderMap>,
    fields: Vec<abi::Header>,
    end: Option<abi::Code>,
}

// SAFETY: the fields point into the trailers, which are boxed and beside them.
unsafe impl Send for Reading {}

impl RequestBody {
    pub(super) fn new(body: Body, owner: Owner) -> Self {
        let trailers = Box::default();
        let reading = Reading { body, rest: Bytes::new(), trailers, fields: Vec::new(), end: None };
        Self { reading: Mutex::new(reading), reader: Mutex::new(Reader::Nobody), owner }
    }

    /// Who reads it, and for which request.
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next frame, as the contract has it.
    pub(super) fn poll(&self, cx: &mut Context<'_>, out: &mut abi::Frame) -> abi::Code {
        self.poll_frame(cx, out, || self.reader().is_free())
    }

    fn poll_frame(
        &self,
        cx: &mut Context<'_>,
        out: &mut abi::Frame,
        may_read: impl FnOnce() -> Result<(), abi::Code>,
    ) -> abi::Code {
        let mut reading = match self.reading.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::WouldBlock) => return abi::code::E_BUSY,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        if let Err(code) = may_read() {
            return code;
        }
        match reading.poll(cx) {
            Poll::Pending => abi::code::PENDING,
            Poll::Ready(Ok(Next::Data(data))) => {
                out.kind = abi::frame_kind::DATA;
                out.data = owned::give(data);
                abi::code::DONE
            }
            Poll::Ready(Ok(Next::Trailers)) => {
                out.kind = abi::frame_kind::TRAILERS;
                out.data = owned::none();
                out.headers = reading.fields.as_ptr();
                out.n_headers = u32::try_from(reading.fields.len()).unwrap_or(u32::MAX);
                abi::code::DONE
            }
            Poll::Ready(Err(code)) => code,
        }
    }

    /// Bytes into the application's memory; skips over trailers.
    fn poll_into(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, abi::Code>> {
        let mut reading = match self.reading.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::WouldBlock) => return Poll::Ready(Err(abi::code::E_BUSY)),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        while reading.rest.is_empty() {
            match std::task::ready!(reading.poll(cx)) {
                Ok(Next::Data(data)) => reading.rest = data,
                Ok(Next::Trailers) => {}
                Err(code) => return Poll::Ready(Err(code)),
            }
        }
        let n = into.len().min(reading.rest.len());
        into[..n].copy_from_slice(&reading.rest[..n]);
        reading.rest.advance(n);
        Poll::Ready(Ok(n))
    }

    /// Ends what waits for bytes; to be called when the application drops the body.
    pub(super) fn end(&self) {
        let before = std::mem::replace(&mut *self.reader(), Reader::Dropped);
        if let Reader::Waits(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl Reader {
    /// # Errors
    /// Returns why nobody else may read.
    const fn is_free(&self) -> Result<(), abi::Code> {
        match self {
            Self::Nobody => Ok(()),
            Self::Waits(_) => Err(abi::code::E_BUSY),
            Self::Dropped => Err(abi::code::E_STATE),
        }
    }
}

/// The right to wait for bytes; given back when it is dropped.
pub(super) struct Turn(Arc<RequestBody>);

impl Turn {
    /// # Errors
    /// Returns why nobody else may read.
    pub(super) fn take(body: Arc<RequestBody>) -> Result<Self, abi::Code> {
        let mut reader = body.reader();
        reader.is_free()?;
        *reader = Reader::Waits(None);
        drop(reader);
        Ok(Self(body))
    }

    /// Whether the body is still there; if it is dropped later, who asks is woken.
    fn stays(&self, asking: &Waker) -> Result<(), abi::Code> {
        let Reader::Waits(waker) = &mut *self.0.reader() else { return Err(abi::code::E_STATE) };
        *waker = Some(asking.clone());
        Ok(())
    }

    fn poll_frame(&self, cx: &mut Context<'_>, out: &mut abi::Frame) -> abi::Code {
        let asking = cx.waker();
        self.0.poll_frame(cx, out, || self.stays(asking))
    }

    /// As [`RequestBody::poll_into`].
    pub(super) fn poll_into(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, abi::Code>> {
        self.stays(cx.waker())?;
        self.0.poll_into(cx, into)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut reader = self.0.reader();
        if matches!(*reader, Reader::Waits(_)) {
            *reader = Reader::Nobody;
        }
    }
}

enum Next {
    Data(Bytes),
    Trailers,
}

impl Reading {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, abi::Code>> {
        if let Some(end) = self.end {
            return Poll::Ready(Err(end));
        }
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(Next::Data(std::mem::take(&mut self.rest))));
        }
        Poll::Ready(match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => self.end(abi::code::EOF),
            Some(Err(error)) => self.end(code_of(&error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Ok(Next::Data(data)),
                Err(frame) => {
                    self.keep(frame.into_trailers().unwrap_or_default());
                    Ok(Next::Trailers)
                }
            },
        })
    }

    fn end(&mut self, code: abi::Code) -> Result<Next, abi::Code> {
        self.end = Some(code);
        self.body = Body::empty();
        Err(code)
    }

    fn keep(&mut self, mut trailers: HeaderMap) {
        fields::clean_request_trailers(&mut trailers);
        *self.trailers = trailers;
        let fields = self.trailers.iter();
        self.fields =
            fields.map(|(name, value)| field(name.as_str(), value, names::id(name.as_str()))).collect();
    }
}

/// Why a body ended before its end, in the contract's words.
fn code_of(error: &BodyError) -> abi::Code {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<crate::Failure>() {
            return match failure.code {
                failure::Code::BodyTooLarge => abi::code::E_TOO_LARGE,
                failure::Code::BodyTimeout | failure::Code::RequestTimeout => abi::code::E_TIMEOUT,
                _ => abi::code::E_IO,
            };
        }
        if error.downcast_ref::<hyper::Error>().is_some() {
            // Cut short, reset, or not HTTP: the client's end of the body is gone for good.
            return abi::code::E_GONE;
        }
        cause = error.source();
    }
    abi::code::E_IO
}

/// What a callback of the application's is called with.
pub(super) struct Callback<F> {
    pub(super) call: F,
    pub(super) ud: *mut c_void,
}

// SAFETY: the contract has callbacks called on threads of the host's.
unsafe impl<F> Send for Callback<F> {}

/// `void (*)(void *ud, int rc, cohost_frame *frame)`
pub(super) type OnFrame = unsafe extern "C" fn(*mut c_void, abi::Code, *mut abi::Frame);

impl Callback<OnFrame> {
    /// Reads the next frame and calls back with it.
    pub(super) async fn read(self, turn: Turn) {
        let mut frame = FrameSpace(empty_frame());
        let code = std::future::poll_fn(|cx| frame.poll(&turn, cx)).await;
        // It has what trailers point at.
        let body = Arc::clone(&turn.0);
        // Before the call, in which the next read may begin.
        drop(turn);
        let out = if code == abi::code::DONE { &raw mut frame.0 } else { std::ptr::null_mut() };
        let _inside = body.owner.enter();
        // SAFETY: called once, as the contract says; a frame's data is the application's from here on.
        unsafe { (self.call)(self.ud, code, out) };
    }
}

struct FrameSpace(abi::Frame);

// SAFETY: what it points at is kept by the body, which the future holds.
unsafe impl Send for FrameSpace {}

impl FrameSpace {
    fn poll(&mut self, turn: &Turn, cx: &mut Context<'_>) -> Poll<abi::Code> {
        match turn.poll_frame(cx, &mut self.0) {
            abi::code::PENDING => Poll::Pending,
            code => Poll::Ready(code),
        }
    }
}

/// A frame with nothing in it.
const fn empty_frame() -> abi::Frame {
    abi::Frame {
        size: size_of::<abi::Frame>(),
        kind: abi::frame_kind::DATA,
        n_headers: 0,
        data: owned::none(),
        headers: std::ptr::null(),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::channel::Channel;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_when_the_body_is_dropped() {
        let (_client, body) = Channel::<Bytes>::new(1);
        let body = Arc::new(RequestBody::new(Body::new(body), Owner::nobody()));
        let turn = Turn::take(Arc::clone(&body)).unwrap();
        let reading = tokio::spawn(async move {
            let mut frame = FrameSpace(empty_frame());
            std::future::poll_fn(|cx| frame.poll(&turn, cx)).await
        });
        // On this one thread: afterwards it waits.
        tokio::task::yield_now().await;
        assert_eq!(body.poll(&mut Context::from_waker(Waker::noop()), &mut empty_frame()), abi::code::E_BUSY);
        body.end();
        assert_eq!(reading.await.unwrap(), abi::code::E_STATE);
        assert_eq!(Turn::take(body).err(), Some(abi::code::E_STATE));
    }
}
