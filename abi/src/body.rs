//! Bodies in frames: data, and at the end perhaps trailers.

use core::ffi::c_void;

use crate::{Bytes, Code, Header, Waker};

/// Values of [`Frame::kind`].
pub mod frame_kind {
    /// [`super::Frame::data`] is set.
    pub const DATA: u32 = 0;
    /// [`super::Frame::headers`] is set; nothing follows.
    pub const TRAILERS: u32 = 1;
}

/// One piece of a body.
#[repr(C)]
#[derive(Debug)]
pub struct Frame {
    /// Size of this struct as its *reader* knows it: set before the call, by whoever asks.
    pub size: usize,
    /// See [`frame_kind`].
    pub kind: u32,
    /// Number of trailer fields.
    pub n_headers: u32,
    /// Moved to the receiver.
    pub data: Bytes,
    /// Trailer fields, valid until the next poll or the drop of what was polled.
    pub headers: *const Header,
}

/// A response body that the host pulls.
///
/// The host polls when the client has room: that is the backpressure. `poll_frame` is never called twice at a time,
/// nor after [`EOF`](crate::code::EOF), trailers or an error; `drop` is called once, on every way.
#[repr(C)]
#[derive(Debug)]
pub struct Stream {
    /// Size of this struct as its maker knows it.
    pub size: usize,
    /// The application's own.
    pub state: *mut c_void,
    /// Length of the whole, or [`NO_LENGTH`](crate::NO_LENGTH).
    pub content_length: u64,
    /// [`DONE`](crate::code::DONE) and a frame, [`PENDING`](crate::code::PENDING), [`EOF`](crate::code::EOF), or an
    /// error, which cuts the response visibly.
    pub poll_frame: Option<unsafe extern "C" fn(*mut c_void, *const Waker, *mut Frame) -> Code>,
    /// Ends the stream, read or not.
    pub drop: Option<unsafe extern "C" fn(*mut c_void)>,
}
