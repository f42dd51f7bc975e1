//! The application's side of the seam: the only place in this crate with `unsafe`.
//!
//! In: calls of the host. Out: calls into the host's table, through [`Host`].
//! Never: lets a panic out, keeps a pointer longer than the contract says, frees what the host allocated.
#![expect(unsafe_code, reason = "the C ABI is made of raw pointers")]

mod body;
mod entries;
mod exchange;
mod host;
mod io;
mod owned;
mod request;
mod response;
mod upgrade;
mod waker;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cohost_abi::{Code, Header, Str, code};

pub(crate) use entries::FLAGS;
pub use entries::{descriptor, linked_descriptor};
#[cfg(feature = "tracing")]
pub(crate) use host::{Site, Value};
pub(crate) use response::inform;
pub(crate) use {
    body::HostBody,
    host::{Host, describe},
    io::HostIo,
};

/// Runs `entry` and turns a panic into [`code::E_PANIC`]: unwinding into the host would abort the process.
///
/// The panic's message was written by the hook already (see [`crate::panic`]).
fn guarded(entry: impl FnOnce() -> Code) -> Code {
    catch_unwind(AssertUnwindSafe(entry)).unwrap_or_else(|payload| {
        // Dropping the payload runs code of the application's, which may panic once more.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        code::E_PANIC
    })
}

/// The bytes of `text`; empty ones may have no address.
///
/// # Safety
/// A `text` that is not empty points to that many readable bytes, which stay as they are during `'a`.
unsafe fn slice<'a>(text: Str) -> &'a [u8] {
    if text.ptr.is_null() || text.len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise; null and zero are out of the way.
    unsafe { std::slice::from_raw_parts(text.ptr, text.len) }
}

/// The fields at `headers`; none may have no address.
///
/// # Safety
/// `n` fields at `headers` are readable, and stay as they are during `'a`.
unsafe fn fields<'a>(headers: *const Header, n: u32) -> &'a [Header] {
    if headers.is_null() || n == 0 {
        return &[];
    }
    // SAFETY: the caller's promise; null and zero are out of the way.
    unsafe { std::slice::from_raw_parts(headers, n as usize) }
}
