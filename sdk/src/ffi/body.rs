//! The request body, pulled from the host.
//!
//! In: the host's body handle. Out: frames of [`Bytes`], and trailers.
//! Never: reads ahead of what the application polls.

use std::task::{Context, Poll};

use bytes::Bytes;
use cohost_abi::{self as abi, Code, code, frame_kind};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::{Host, owned, waker};

/// A request body of the host's, ended when dropped.
pub(crate) struct HostBody {
    host: Host,
    body: abi::Body,
}

impl HostBody {
    /// Takes the body of the request that is being handled, if it has one.
    ///
    /// # Safety
    /// `req` is what the host passed to the call that is running now.
    pub(super) unsafe fn take(host: Host, req: *mut abi::Req) -> Option<Self> {
        // SAFETY: the caller's promise.
        let body = unsafe { (host.table().take_body)(req) };
        (body != abi::Body::NONE).then_some(Self { host, body })
    }

    /// The next frame; after the end, or an error, not to be called again.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Code>>> {
        let mut frame = abi::Frame {
            size: size_of::<abi::Frame>(),
            kind: frame_kind::DATA,
            n_headers: 0,
            data: owned::none(),
            headers: std::ptr::null(),
        };
        let table = self.host.table();
        let code = waker::with_app_waker(cx.waker(), |waker| {
            // SAFETY: one reader at a time (`&mut`); waker and frame live until the call is over.
            unsafe { (table.body_poll)(table, self.body, waker, &raw mut frame) }
        });
        match code {
            code::DONE => {}
            code::PENDING => return Poll::Pending,
            code::EOF => return Poll::Ready(None),
            error => return Poll::Ready(Some(Err(error))),
        }
        if frame.kind == frame_kind::TRAILERS {
            // SAFETY: a filled frame of the kind; the fields are readable until the next poll.
            let trailers = unsafe { trailers(frame.headers, frame.n_headers) };
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        // SAFETY: the host filled it in.
        Poll::Ready(Some(Ok(Frame::data(unsafe { owned::from_host(frame.data) }))))
    }
}

impl Drop for HostBody {
    fn drop(&mut self) {
        let table = self.host.table();
        // SAFETY: any thread; the handle is not used afterwards.
        unsafe { (table.body_drop)(table, self.body) };
    }
}

/// Copies trailer fields. One that is not valid is left out: the rest of the message was delivered already.
///
/// # Safety
/// `n` fields of the host's at `headers`.
unsafe fn trailers(headers: *const abi::Header, n: u32) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(n as usize);
    // SAFETY: the caller's promise.
    for header in unsafe { super::fields(headers, n) } {
        let name = abi::Str { ptr: header.name, len: header.name_len as usize };
        let value = abi::Str { ptr: header.value, len: header.value_len as usize };
        // SAFETY: a name of the host's, readable until the next poll.
        let name = HeaderName::from_bytes(unsafe { super::slice(name) });
        // SAFETY: as above, a value.
        let value = HeaderValue::from_bytes(unsafe { super::slice(value) });
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}
