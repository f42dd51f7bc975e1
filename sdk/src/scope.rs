//! Which request this thread works for right now.
//!
//! In: the entries of the seam, around every call into the application. Out: the request's number for log events,
//! and its handle for what may only be done during the call.
//! Never: has a destructor; a thread-local with one would run in a thread of the host's at its end.

use std::{cell::Cell, marker::PhantomData, ptr};

use cohost_abi::Req;

thread_local! {
    static CURRENT: Cell<Current> = const { Cell::new(Current::NONE) };
}

/// What this thread does.
#[derive(Clone, Copy)]
pub(crate) struct Current {
    /// The request that may be answered now; null outside `handle` and `poll`.
    pub(crate) req: *mut Req,
    /// Its number; 0 for none.
    pub(crate) request_id: u64,
    /// Whether this thread runs code of the application's, as far as we know.
    pub(crate) inside: bool,
}

impl Current {
    const NONE: Self = Self { req: ptr::null_mut(), request_id: 0, inside: false };
}

/// What this thread does now.
pub(crate) fn current() -> Current {
    CURRENT.get()
}

/// Says for good that this thread belongs to the application.
pub(crate) fn own_thread() {
    CURRENT.set(Current { inside: true, ..Current::NONE });
}

/// Until it is dropped, this thread works for a request.
pub(crate) struct Scope {
    before: Current,
    // Not `Send`: it has to be dropped where it was made.
    _here: PhantomData<*mut ()>,
}

impl Scope {
    /// `req` is null where the request cannot be answered: in its body's polls, in drops.
    pub(crate) fn enter(req: *mut Req, request_id: u64) -> Self {
        let before = CURRENT.replace(Current { req, request_id, inside: true });
        Self { before, _here: PhantomData }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}
