//! A request body in the application's hands.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    ffi::c_void,
    pin::Pin,
    sync::{Arc, Mutex, TryLockError},
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use cohost_abi as abi;
use http::HeaderMap;
use http_body::Body as _;

use super::{bytes as owned, head::field, names};
use crate::{Body, body::BodyError, dispatcher::fields, failure};

/// A request body, read by one thread at a time.
pub(super) struct RequestBody(Mutex<Reading>);

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
    pub(super) fn new(body: Body) -> Self {
        let trailers = Box::default();
        Self(Mutex::new(Reading { body, rest: Bytes::new(), trailers, fields: Vec::new(), end: None }))
    }

    /// The next frame, as the contract has it.
    pub(super) fn poll(&self, cx: &mut Context<'_>, out: &mut abi::Frame) -> abi::Code {
        let mut reading = match self.0.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::WouldBlock) => return abi::code::E_BUSY,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
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
    pub(super) fn poll_into(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, abi::Code>> {
        let mut reading = match self.0.try_lock() {
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
    pub(super) async fn read(self, body: Arc<RequestBody>) {
        let mut frame = FrameSpace(empty_frame());
        let code = std::future::poll_fn(|cx| frame.poll(&body, cx)).await;
        // SAFETY: called once, as the contract says; a frame's data is the application's from here on.
        unsafe { (self.call)(self.ud, code, &raw mut frame.0) };
    }
}

struct FrameSpace(abi::Frame);

// SAFETY: what it points at is kept by the body, which the future holds.
unsafe impl Send for FrameSpace {}

impl FrameSpace {
    fn poll(&mut self, body: &RequestBody, cx: &mut Context<'_>) -> Poll<abi::Code> {
        match body.poll(cx, &mut self.0) {
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
