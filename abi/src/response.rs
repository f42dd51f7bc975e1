//! Answers, and the ways to give one later.

use core::ffi::c_void;

use crate::{Bytes, Code, Header, Io, Req, Sink, Stream, Waker};

/// Values of [`Response::body_kind`].
pub mod body_kind {
    /// No body.
    pub const EMPTY: u32 = 0;
    /// [`super::Response::body`].
    pub const BYTES: u32 = 1;
    /// [`super::Response::stream`].
    pub const STREAM: u32 = 2;
    /// The application writes to [`super::Response::sink`].
    pub const PUSH: u32 = 3;
    /// [`super::Response::file`].
    pub const FILE: u32 = 4;
}

/// Bits of [`File::flags`].
pub mod file_flags {
    /// The host closes the descriptor, whatever comes of the response. Otherwise it makes a duplicate at once.
    pub const CLOSE: u32 = 1;
}

/// A piece of an open file as a body.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Size of this struct as its maker knows it.
    pub size: usize,
    /// A regular file, open for reading. Its position is neither used nor changed.
    pub fd: i32,
    /// See [`file_flags`].
    pub flags: u32,
    /// First byte.
    pub offset: u64,
    /// Number of bytes; a file that turns out shorter cuts the response visibly.
    pub length: u64,
}

/// What to do once the protocol was changed.
///
/// One of the two is called, once: `on_io` after the 101 (or the 2xx to a CONNECT) is on the wire, or `drop` when it
/// never will be.
#[repr(C)]
#[derive(Debug)]
pub struct Upgrade {
    /// Size of this struct as its maker knows it.
    pub size: usize,
    /// The application's own.
    pub state: *mut c_void,
    /// Hands over the stream.
    pub on_io: Option<unsafe extern "C" fn(*mut c_void, Io)>,
    /// The upgrade failed.
    pub drop: Option<unsafe extern "C" fn(*mut c_void)>,
}

/// An answer. What its pointers own is moved to the host in every case, also when the call returns an error.
#[repr(C)]
#[derive(Debug)]
pub struct Response {
    /// Size of this struct as its maker knows it.
    pub size: usize,
    /// 200 to 999, or 101 together with `upgrade`.
    pub status: u16,
    /// 0.
    pub flags: u16,
    /// Number of fields at `headers`.
    pub n_headers: u32,
    /// Copied before the call returns.
    pub headers: *const Header,
    /// See [`body_kind`].
    pub body_kind: u32,
    /// 0.
    pub reserved: u32,
    /// For [`body_kind::BYTES`].
    pub body: *mut Bytes,
    /// For [`body_kind::STREAM`].
    pub stream: *mut Stream,
    /// For [`body_kind::PUSH`]: where the host writes the sink.
    pub sink: *mut Sink,
    /// For [`body_kind::FILE`].
    pub file: *const File,
    /// Null unless the protocol is to be changed.
    pub upgrade: *mut Upgrade,
}

/// A request that goes on after `handle` returned [`PENDING`](crate::code::PENDING). Frozen.
///
/// `poll` is never called twice at a time, nor after it returned anything but `PENDING`. `drop` is called once; before
/// the end it means "cancelled".
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// The application's own.
    pub state: *mut c_void,
    /// [`DONE`](crate::code::DONE) after an answer was given, [`PENDING`](crate::code::PENDING), or an error.
    pub poll: Option<unsafe extern "C" fn(*mut c_void, *mut Req, *const Waker) -> Code>,
    /// Ends the task.
    pub drop: Option<unsafe extern "C" fn(*mut c_void)>,
}
