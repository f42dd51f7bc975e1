//! Response bodies that the host pulls: from the application, or from a file it opened.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    os::fd::{BorrowedFd, FromRawFd as _, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ::bytes::Bytes;
use cohost_abi as abi;
use http_body::{Frame, SizeHint};

use super::{answer, bytes, subject::Subject, waker};
use crate::{
    body::BodyError,
    dispatcher::in_process::{generation::Lease, threads},
    files::{Given, Mark},
};

/// A body that the application makes as it is asked for it.
pub(super) struct Foreign {
    stream: abi::Stream,
    lease: Arc<Lease>,
    request: Subject,
    /// What is still to come, when the length is known.
    left: Option<u64>,
    ended: bool,
}

// SAFETY: the contract lets a stream be polled and dropped on any thread, one at a time.
unsafe impl Send for Foreign {}

impl Foreign {
    pub(super) fn new(stream: abi::Stream, lease: &Arc<Lease>, request: Subject) -> Result<Self, abi::Code> {
        let whole = stream.size >= size_of::<abi::Stream>() && stream.poll_frame.is_some();
        let left = (stream.content_length != abi::NO_LENGTH).then_some(stream.content_length);
        // Made before anything is refused: dropping it ends the application's stream.
        let body = Self { stream, lease: Arc::clone(lease), request, left, ended: false };
        if whole { Ok(body) } else { Err(abi::code::E_INVALID) }
    }

    /// Holds the stream to the length its head declares.
    pub(super) fn declared(mut self, length: Option<u64>) -> Result<Self, abi::Code> {
        match (self.left, length) {
            (Some(own), Some(declared)) if own != declared => return Err(abi::code::E_INVALID),
            (None, declared) => self.left = declared,
            _ => {}
        }
        Ok(self)
    }

    fn poll(&self, cx: &Context<'_>, frame: &mut abi::Frame) -> abi::Code {
        let poll = self.stream.poll_frame.expect("checked by new");
        let waker = waker::lend(cx.waker());
        let _inside = threads::enter(self.lease.watch, &self.request);
        // SAFETY: one at a time (&mut self of the caller), and not after the end.
        unsafe { poll(self.stream.state, &raw const waker, frame) }
    }

    fn frame(&mut self, frame: abi::Frame) -> Result<Frame<Bytes>, BodyError> {
        if frame.kind == abi::frame_kind::TRAILERS {
            self.ended = true;
            // SAFETY: moved here, although there should be nothing in it.
            unsafe { bytes::refuse(frame.data) };
            // SAFETY: trailers are valid until the next poll.
            let trailers = unsafe { answer::trailers(frame.headers, frame.n_headers) };
            return match (trailers, self.left) {
                (Ok(trailers), None | Some(0)) => Ok(Frame::trailers(trailers)),
                (Ok(_), Some(left)) => Err(short(left)),
                (Err(code), _) => Err(format!("trailers that are not HTTP (code {code})").into()),
            };
        }
        // SAFETY: the frame is the application's, moved here.
        let data = unsafe { bytes::take(frame.data, &self.lease, self.request.request) };
        let data = data.map_err(|code| format!("a frame that lies nowhere (code {code})"))?;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or("more bytes than Content-Length says")?;
        }
        Ok(Frame::data(data))
    }
}

fn short(left: u64) -> BodyError {
    format!("the application ended its response {left} bytes short of its Content-Length").into()
}

impl http_body::Body for Foreign {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut frame = abi::Frame {
            size: size_of::<abi::Frame>(),
            kind: abi::frame_kind::DATA,
            n_headers: 0,
            data: bytes::none(),
            headers: std::ptr::null(),
        };
        let result = match self.poll(cx, &mut frame) {
            abi::code::PENDING => return Poll::Pending,
            abi::code::DONE => Some(self.frame(frame)),
            abi::code::EOF => self.left.filter(|left| *left > 0).map(|left| Err(short(left))),
            code => Some(Err(format!("the application broke off its response (code {code})").into())),
        };
        self.ended |= !matches!(result, Some(Ok(_)));
        Poll::Ready(result)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(drop) = self.stream.drop.take() {
            let _inside = threads::enter(self.lease.watch, &self.request);
            // SAFETY: once, because it was taken out.
            unsafe { drop(self.stream.state) };
        }
    }
}

/// A piece of a file that the application opened.
///
/// # Safety
/// The descriptor is the application's to give: open, and not used by it any more if it carries `CLOSE`.
pub(super) unsafe fn file(theirs: &abi::File, lease: &Lease) -> Result<Given, abi::Code> {
    if theirs.size < size_of::<abi::File>() || theirs.fd < 0 {
        return Err(abi::code::E_INVALID);
    }
    let is_whole = theirs.offset.checked_add(theirs.length).is_some();
    let file = if theirs.flags & abi::file_flags::CLOSE != 0 {
        // SAFETY: given to us to close.
        unsafe { OwnedFd::from_raw_fd(theirs.fd) }
    } else {
        // SAFETY: open during this call.
        let lent = unsafe { BorrowedFd::borrow_raw(theirs.fd) };
        lent.try_clone_to_owned().map_err(|_| abi::code::E_IO)?
    };
    // Only now, when what was given is closed.
    if !is_whole {
        return Err(abi::code::E_INVALID);
    }
    let stat = rustix::fs::fstat(&file).map_err(|_| abi::code::E_IO)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(abi::code::E_INVALID);
    }
    let part = (theirs.offset, theirs.length);
    Ok(Given::new(file, Mark::of(&stat), part, lease.runtime.clone()))
}
