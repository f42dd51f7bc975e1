//! What the host gives to an application: one table of functions for each generation.

use core::ffi::{c_char, c_void};

use crate::{Body, Bytes, Code, Frame, Head, Header, Io, Req, Response, Sink, Str, Token, Waker};

/// Bits of [`Host::features`].
pub mod features {
    /// Connections can be upgraded.
    pub const UPGRADE: u64 = 1;
    /// Trailers go both ways.
    pub const TRAILERS: u64 = 2;
    /// `handle`, `poll`, the body stream and `drop` of one request all run on one thread.
    pub const AFFINE_THREADS: u64 = 4;
    /// [`body_kind::FILE`](crate::body_kind::FILE) is understood.
    pub const FILES: u64 = 8;
}

/// Log levels.
pub mod level {
    /// Something failed.
    pub const ERROR: u32 = 0;
    /// Something is about to.
    pub const WARN: u32 = 1;
    /// Worth knowing.
    pub const INFO: u32 = 2;
    /// For the developer.
    pub const DEBUG: u32 = 3;
    /// For the developer in despair.
    pub const TRACE: u32 = 4;
}

/// What `log_register` answers.
pub mod interest {
    /// No event of this callsite will ever be written (until the filter changes).
    pub const NEVER: u32 = 0;
    /// Ask `log_enabled` before each.
    pub const SOMETIMES: u32 = 1;
    /// Every one is written.
    pub const ALWAYS: u32 = 2;
}

/// A place in the application's code that logs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Callsite {
    /// Size of this struct as its maker knows it.
    pub size: usize,
    /// See [`level`].
    pub level: u32,
    /// Line, or 0.
    pub line: u32,
    /// Usually the module's path.
    pub target: Str,
    /// File, or empty.
    pub file: Str,
    /// Name of the event.
    pub name: Str,
    /// Names of its fields; at most 32 are kept.
    pub fields: *const Str,
    /// Their number.
    pub n_fields: usize,
}

/// Values of [`Value::kind`].
pub mod value_kind {
    /// [`super::Value::s`], UTF-8 (anything else is replaced).
    pub const STR: u32 = 0;
    /// [`super::Value::u`].
    pub const U64: u32 = 1;
    /// [`super::Value::u`] as two's complement.
    pub const I64: u32 = 2;
    /// [`super::Value::u`] not 0.
    pub const BOOL: u32 = 3;
    /// [`super::Value::f`].
    pub const F64: u32 = 4;
}

/// One field of a log event. Frozen: used in arrays.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// Place in the callsite's list of fields.
    pub field: u32,
    /// See [`value_kind`].
    pub kind: u32,
    /// For the integers.
    pub u: u64,
    /// For floats.
    pub f: f64,
    /// For text.
    pub s: Str,
}

/// Extension `informational.v1` of [`Host::query`].
#[repr(C)]
#[derive(Debug)]
pub struct Informational {
    /// Size of this struct as its maker knows it.
    pub size: usize,
    /// Sends a 1xx response (not 101) ahead of the answer, during `handle` or `poll`.
    /// [`E_UNSUPPORTED`](crate::code::E_UNSUPPORTED) when this connection cannot carry it; the request goes on.
    pub inform: unsafe extern "C" fn(*mut Req, u16, *const Header, u32) -> Code,
    /// The same for a detached request, from any thread.
    pub token_inform: unsafe extern "C" fn(*const Host, Token, u16, *const Header, u32) -> Code,
}

/// The host's functions, and what it is. Valid from `init` for as long as the process lives.
#[repr(C)]
#[derive(Debug)]
pub struct Host {
    /// Size of this struct as the host knows it.
    pub size: usize,
    /// The host's major version.
    pub major: u16,
    /// The host's minor version.
    pub minor: u16,
    /// Threads that may call `handle` at the same time.
    pub threads: u32,
    /// See [`features`].
    pub features: u64,
    /// The host's own.
    pub ctx: *mut c_void,

    /// Answers, once, during `handle` or `poll`.
    pub respond: unsafe extern "C" fn(*mut Req, *const Response) -> Code,
    /// Takes the request body, once; [`Body::NONE`] when there is none (any more).
    pub take_body: unsafe extern "C" fn(*mut Req) -> Body,
    /// Takes the request to answer it later; then return [`DETACHED`](crate::code::DETACHED).
    pub detach: unsafe extern "C" fn(
        *mut Req,
        Option<unsafe extern "C" fn(ud: *mut c_void, why: Code)>,
        *mut c_void,
    ) -> Token,

    /// The head of a detached request, or null.
    pub token_head: unsafe extern "C" fn(*const Host, Token) -> *const Head,
    /// As `take_body`.
    pub token_take_body: unsafe extern "C" fn(*const Host, Token) -> Body,
    /// Answers and consumes the token.
    pub token_respond: unsafe extern "C" fn(*const Host, Token, *const Response) -> Code,
    /// Gives up and consumes the token; the host answers as for `handle` returning `why`.
    pub token_drop: unsafe extern "C" fn(*const Host, Token, why: Code) -> Code,

    /// The next frame of a request body.
    pub body_poll: unsafe extern "C" fn(*const Host, Body, *const Waker, *mut Frame) -> Code,
    /// The same, by callback.
    pub body_read: unsafe extern "C" fn(
        *const Host,
        Body,
        Option<unsafe extern "C" fn(ud: *mut c_void, rc: Code, frame: *mut Frame)>,
        *mut c_void,
    ) -> Code,
    /// The same, by waiting; not on a thread of the host's.
    pub body_read_blocking: unsafe extern "C" fn(*const Host, Body, *mut u8, usize, *mut usize) -> Code,
    /// Ends the body, read or not.
    pub body_drop: unsafe extern "C" fn(*const Host, Body) -> Code,

    /// Adds to a response body; the bytes are moved.
    pub sink_write: unsafe extern "C" fn(*const Host, Sink, *mut Bytes) -> Code,
    /// Calls back once when there is room again.
    pub sink_on_writable: unsafe extern "C" fn(
        *const Host,
        Sink,
        Option<unsafe extern "C" fn(ud: *mut c_void, rc: Code)>,
        *mut c_void,
    ) -> Code,
    /// Copies and adds, waiting for room; not on a thread of the host's.
    pub sink_write_blocking: unsafe extern "C" fn(*const Host, Sink, *const u8, usize) -> Code,
    /// Ends the response body well, and consumes the sink.
    pub sink_end: unsafe extern "C" fn(*const Host, Sink, *const Header, u32) -> Code,
    /// Cuts the response body visibly, and consumes the sink.
    pub sink_abort: unsafe extern "C" fn(*const Host, Sink) -> Code,

    /// Reads from an upgraded stream.
    pub io_poll_read: unsafe extern "C" fn(*const Host, Io, *const Waker, *mut u8, usize, *mut usize) -> Code,
    /// Writes to an upgraded stream.
    pub io_poll_write:
        unsafe extern "C" fn(*const Host, Io, *const Waker, *const u8, usize, *mut usize) -> Code,
    /// Pushes out what was written.
    pub io_poll_flush: unsafe extern "C" fn(*const Host, Io, *const Waker) -> Code,
    /// Ends the writing side.
    pub io_poll_shutdown: unsafe extern "C" fn(*const Host, Io, *const Waker) -> Code,
    /// Reads by waiting; not on a thread of the host's.
    pub io_read_blocking: unsafe extern "C" fn(*const Host, Io, *mut u8, usize, *mut usize) -> Code,
    /// Writes everything, by waiting; not on a thread of the host's.
    pub io_write_blocking: unsafe extern "C" fn(*const Host, Io, *const u8, usize) -> Code,
    /// Closes the stream.
    pub io_drop: unsafe extern "C" fn(*const Host, Io) -> Code,

    /// A setting of the application; the empty key gives all of them as JSON.
    pub config_get: unsafe extern "C" fn(*const Host, key: Str, value: *mut Str) -> Code,

    /// Makes a callsite known; returns an [`interest`].
    pub log_register: unsafe extern "C" fn(*const Host, *const Callsite, id: *mut u64) -> u32,
    /// Whether an event of this callsite would be written now.
    pub log_enabled: unsafe extern "C" fn(*const Host, id: u64) -> u32,
    /// Writes an event; `request_id` 0 when it belongs to none.
    pub log_event: unsafe extern "C" fn(*const Host, id: u64, request_id: u64, *const Value, usize),
    /// Writes a line of text.
    pub log_text: unsafe extern "C" fn(*const Host, level: u32, request_id: u64, target: Str, message: Str),

    /// Opens or closes the gate for requests.
    pub set_ready: unsafe extern "C" fn(*const Host, ready: i32) -> Code,
    /// An optional table by name, or null.
    pub query: unsafe extern "C" fn(*const Host, *const c_char) -> *const c_void,
}
