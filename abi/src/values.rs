//! Result codes and the values that cross in both directions.

use core::ffi::c_void;

/// What a function of the contract returns: see [`code`].
pub type Code = i32;

/// The values of [`Code`]. Zero and above: it went well. Below zero: it did not, and nothing was changed unless the
/// function says otherwise.
pub mod code {
    use super::Code;
    /// Done; for a poll, there is a result.
    pub const DONE: Code = 0;
    /// Not yet: the waker given will be woken.
    pub const PENDING: Code = 1;
    /// `handle` took a token; the answer comes through it.
    pub const DETACHED: Code = 2;
    /// The end: no further frame, no further byte.
    pub const EOF: Code = 3;
    /// Taken, but the queue is full now: wait before writing more.
    pub const AGAIN: Code = 4;
    /// An argument is malformed (null, a status below 100, a field name that is no token).
    pub const E_INVALID: Code = -1;
    /// The application panicked and caught it.
    pub const E_PANIC: Code = -2;
    /// The client went away. Never means anything else.
    pub const E_GONE: Code = -3;
    /// Not in this phase, not on this thread, or a handle that is not (any more) one.
    pub const E_STATE: Code = -4;
    /// The host, or this request's protocol, cannot do that.
    pub const E_UNSUPPORTED: Code = -5;
    /// A limit of the host's configuration was crossed.
    pub const E_TOO_LARGE: Code = -6;
    /// Reading or writing failed.
    pub const E_IO: Code = -7;
    /// No memory, or no handle left.
    pub const E_NOMEM: Code = -8;
    /// Another thread is using this handle right now.
    pub const E_BUSY: Code = -9;
    /// The request's deadline passed.
    pub const E_TIMEOUT: Code = -10;
    /// The application failed: answered with 500.
    pub const E_APP: Code = -11;
    /// The application cannot serve this now: answered with 503.
    pub const E_UNAVAILABLE: Code = -12;
    /// The other side's version or sizes do not fit.
    pub const E_ABI: Code = -13;
    /// The generation is being drained and its time is over.
    pub const E_DRAINING: Code = -14;
}

/// Borrowed bytes, not NUL-terminated. `len == 0` allows `ptr` to be null. Frozen.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Str {
    /// First byte, or null when empty.
    pub ptr: *const u8,
    /// Number of bytes.
    pub len: usize,
}

impl Str {
    /// No bytes at all; also "absent" where the contract allows for that.
    pub const EMPTY: Self = Self { ptr: core::ptr::null(), len: 0 };

    /// Borrows `bytes`. The caller keeps them alive for as long as the contract says.
    #[must_use]
    pub const fn new(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }
}

/// Bytes that may have an owner, moved with `memcpy`. Frozen.
///
/// `release` is called once by the receiver, on any thread, with the address the bytes then have. Without it the
/// bytes are borrowed and the receiver copies them before it returns, unless [`bytes_flags::STATIC`] is set.
#[repr(C)]
#[derive(Debug)]
pub struct Bytes {
    /// First byte, or null when empty.
    pub ptr: *const u8,
    /// Number of bytes.
    pub len: usize,
    /// The producer's own words; must mean the same after a `memcpy` to another address.
    pub owner: [usize; 4],
    /// Gives the bytes back to the producer.
    pub release: Option<unsafe extern "C" fn(*mut Self)>,
    /// See [`bytes_flags`].
    pub flags: u64,
}

/// Bits of [`Bytes::flags`].
pub mod bytes_flags {
    /// Readable for as long as the library is mapped, which is for ever: constants. Needs no `release`, is not copied.
    pub const STATIC: u64 = 1;
}

/// How to continue somebody who waits: three words, by value. Frozen.
///
/// A waker passed to a poll is borrowed for the call; `clone` makes one that is owned.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Waker {
    /// The maker's own word.
    pub data: *const c_void,
    /// The maker's second word.
    pub meta: *const c_void,
    /// The maker's functions.
    pub table: *const WakerTable,
}

/// Functions of a [`Waker`], all callable from any thread.
#[repr(C)]
#[derive(Debug)]
pub struct WakerTable {
    /// Size of this table as its maker knows it.
    pub size: usize,
    /// Makes an owned waker in the second argument.
    pub clone: unsafe extern "C" fn(*const Waker, *mut Waker),
    /// Wakes and ends an owned waker.
    pub wake: unsafe extern "C" fn(*mut Waker),
    /// Wakes.
    pub wake_by_ref: unsafe extern "C" fn(*const Waker),
    /// Ends an owned waker.
    pub drop: unsafe extern "C" fn(*mut Waker),
}

/// One request while `handle` or a task's `poll` runs: the only pointer to something of the host's, and valid in
/// that call on that thread only.
#[repr(C)]
#[derive(Debug)]
pub struct Req {
    _opaque: [u8; 0],
}

macro_rules! handles {
    ($($(#[$doc:meta])+ $name:ident)+) => {$(
        $(#[$doc])+
        ///
        /// A value, not an address: slot and generation of an entry in the host's table. Zero is "none". A value
        /// that was consumed, or never given out, is answered with [`code::E_STATE`].
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub usize);

        impl $name {
            /// No handle.
            pub const NONE: Self = Self(0);
        }
    )+};
}

handles! {
    /// A request the application has taken to answer later, from any thread. Frozen.
    Token
    /// A request body that the application reads. Frozen.
    Body
    /// A response body that the application writes. Frozen.
    Sink
    /// The raw byte stream of an upgraded connection. Frozen.
    Io
}
