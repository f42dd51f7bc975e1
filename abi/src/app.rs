//! What an application library gives to the host: one descriptor.
#![expect(unsafe_code, reason = "a descriptor is a constant that holds pointers to constants")]

use core::ffi::{c_char, c_void};

use crate::{ABI_MAJOR, ABI_MINOR, Code, Head, Host, NOTE_OWNER, NOTE_TYPE, Req, Str, Task, Waker};

/// First word of an [`App`].
pub const MAGIC: u64 = 0x0a0d_3170_7041_4841;

/// Bits of [`App::flags`].
pub mod app_flags {
    /// `handle` may block: it is called on the host's blocking pool, never on a thread that serves connections.
    pub const BLOCKING: u32 = 1;
    /// The host collects the request body (up to its limit) into [`Head::body`](crate::Head::body).
    pub const BUFFER_BODY: u32 = 2;
    /// A panic ends the process.
    pub const PANIC_ABORT: u32 = 4;
    /// Starts threads of its own.
    pub const RUNTIME: u32 = 8;
}

/// Values of the second argument of [`App::event`].
pub mod event {
    /// What `log_register` answered may have changed: register again.
    pub const LOG_FILTER: u32 = 1;
    /// Settings changed.
    pub const CONFIG: u32 = 2;
}

/// Where `init` writes why it failed: UTF-8, at most `cap` bytes at `buf`, their number to `len`.
#[repr(C)]
#[derive(Debug)]
pub struct Error {
    /// The host's memory.
    pub buf: *mut c_char,
    /// Its size.
    pub cap: usize,
    /// What was written.
    pub len: usize,
}

/// What an application is told about itself.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Init {
    /// Size of this struct as its maker knows it.
    pub size: usize,
    /// The application's name in configuration, logs and metrics.
    pub name: Str,
    /// Directory of the application's files, absolute.
    pub content_root: Str,
    /// Path prefix, `""` at the root.
    pub path_base: Str,
    /// Which loaded copy this is, from 1.
    pub generation: u32,
    /// Threads that may call `handle` at the same time.
    pub threads: u32,
    /// Threads the application's own runtime should have, from the configuration; 0 for its default.
    pub runtime_threads: u32,
    /// 0.
    pub reserved: u32,
}

/// The descriptor: the one thing that an application library exports, under [`ENTRY_SYMBOL`](crate::ENTRY_SYMBOL).
#[repr(C)]
#[derive(Debug)]
pub struct App {
    /// [`MAGIC`].
    pub magic: u64,
    /// Size of this struct as the application knows it.
    pub size: usize,
    /// [`ABI_MAJOR`] it was built with.
    pub major: u16,
    /// [`ABI_MINOR`] it was built with.
    pub minor: u16,
    /// The oldest host it can live with.
    pub min_host_minor: u16,
    /// 0.
    pub reserved: u16,
    /// Requests at a time; more wait in the host. 0 for no limit.
    pub max_concurrency: u32,
    /// See [`app_flags`].
    pub flags: u32,
    /// [`features`](crate::features) without which it will not run.
    pub requires_features: u64,
    /// NUL-terminated, or null.
    pub name: *const c_char,
    /// NUL-terminated, or null.
    pub version: *const c_char,
    /// What it was built with, NUL-terminated, or null.
    pub sdk: *const c_char,
    /// Starts the application, once for a generation.
    pub init: Option<
        unsafe extern "C" fn(*const Host, *const Init, *mut Error, instance: *mut *mut c_void) -> Code,
    >,
    /// Handles a request.
    pub handle: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            *mut Req,
            *const Head,
            *const Waker,
            task: *mut Task,
        ) -> Code,
    >,
    /// No new requests will come; finish those there are. May be null.
    pub drain: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// Ends the application and its threads, by `deadline_ns` (`CLOCK_MONOTONIC`). May be null.
    pub shutdown: Option<unsafe extern "C" fn(instance: *mut c_void, deadline_ns: u64) -> Code>,
    /// Something changed, see [`event`]. May be null.
    pub event: Option<unsafe extern "C" fn(instance: *mut c_void, what: u32)>,
}

// SAFETY: nothing in a descriptor is ever written, and its pointers are to constants and functions.
unsafe impl Sync for App {}

/// The ELF note: what a host can know of a library without running any of its code.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// 8: length of `name`.
    pub namesz: u32,
    /// 16: length of what follows it.
    pub descsz: u32,
    /// [`NOTE_TYPE`].
    pub kind: u32,
    /// [`NOTE_OWNER`].
    pub name: [u8; 8],
    /// As in [`App`].
    pub major: u16,
    /// As in [`App`].
    pub minor: u16,
    /// As in [`App`].
    pub min_host_minor: u16,
    /// 0.
    pub pad: u16,
    /// As in [`App`].
    pub flags: u32,
    /// The low half of [`App::requires_features`].
    pub requires_features: u32,
}

impl Note {
    /// The note that goes with a descriptor of these flags and required features, and that can live with any host.
    #[must_use]
    pub const fn new(flags: u32, requires_features: u32) -> Self {
        Self {
            namesz: 8,
            descsz: 16,
            kind: NOTE_TYPE,
            name: NOTE_OWNER,
            major: ABI_MAJOR,
            minor: ABI_MINOR,
            min_host_minor: 0,
            pad: 0,
            flags,
            requires_features,
        }
    }
}
