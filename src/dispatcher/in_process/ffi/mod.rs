//! The host's side of the seam: every line that touches an application's memory or calls its code.
//!
//! In: requests, in safe types. Out: answers, in safe types. Never: a panic into the application, a lock held while
//! the application runs, a pointer of the application's kept longer than the contract says.
//!
//! The folder is the only place of the dispatcher with `unsafe` code (`library.rs`, which opens files of code, aside).
//! [`Instance`] calls the application; [`table`] is what the application calls.

mod answer;
mod bytes;
mod detached;
mod exchange;
mod head;
#[cfg(any(test, feature = "fuzz"))]
pub(super) mod hostile;
mod instance;
mod io;
mod log;
mod names;
mod objects;
mod push;
mod request_body;
mod stream;
mod subject;
pub(super) mod table;
mod waker;

pub(super) use answer::Answer;
pub(super) use detached::Detached;
pub(super) use exchange::{Exchange, Outcome};
pub(super) use instance::{Handled, Instance, Step, Task};
pub(super) use objects::Objects;

use cohost_abi as abi;

/// The bytes of `text`; none where there is no address, or more of them than memory can hold.
///
/// # Safety
/// They are readable for `'a`, or `text` is empty.
#[expect(unsafe_code, reason = "the seam")]
unsafe fn slice<'a>(text: abi::Str) -> &'a [u8] {
    if text.len == 0 || text.ptr.is_null() || text.len > isize::MAX as usize {
        return &[];
    }
    // SAFETY: not null, and the caller promises the rest.
    unsafe { std::slice::from_raw_parts(text.ptr, text.len) }
}

/// The fields of an array of `n`.
///
/// # Safety
/// They are readable for `'a`, or `n` is 0.
#[expect(unsafe_code, reason = "the seam")]
unsafe fn fields<'a>(headers: *const abi::Header, n: u32) -> &'a [abi::Header] {
    if n == 0 || headers.is_null() {
        return &[];
    }
    // SAFETY: not null, and the caller promises the rest.
    unsafe { std::slice::from_raw_parts(headers, n as usize) }
}
