//! What the application calls: the functions of the host's table, in the order of the contract.
//!
//! Every one looks its handle up, does one thing, and returns a code. A panic of ours ends here too: it must not
//! unwind into the application's frames.
#![expect(unsafe_code, reason = "the seam")]

mod informational;
mod request;
mod request_body;
mod response_body;
mod services;
mod upgraded;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
};

use cohost_abi::{self as abi, Code, code};

use self::{
    request::{detach, respond, take_body, token_drop, token_head, token_respond, token_take_body},
    request_body::{body_drop, body_poll, body_read, body_read_blocking},
    response_body::{sink_abort, sink_end, sink_on_writable, sink_write, sink_write_blocking},
    services::{config_get, log_enabled, log_event, log_register, log_text, query, set_ready},
    upgraded::{
        io_drop, io_poll_flush, io_poll_read, io_poll_shutdown, io_poll_write, io_read_blocking,
        io_write_blocking,
    },
};
use super::Objects;
use crate::dispatcher::in_process::{generation::Generation, preflight::OFFERED_FEATURES, threads};

/// The table of a generation that is not built yet; [`place`] completes it.
pub(in crate::dispatcher::in_process) fn host() -> abi::Host {
    abi::Host {
        size: size_of::<abi::Host>(),
        major: abi::ABI_MAJOR,
        minor: abi::ABI_MINOR,
        threads: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
        features: OFFERED_FEATURES,
        ctx: std::ptr::null_mut(),
        respond,
        take_body,
        detach,
        token_head,
        token_take_body,
        token_respond,
        token_drop,
        body_poll,
        body_read,
        body_read_blocking,
        body_drop,
        sink_write,
        sink_on_writable,
        sink_write_blocking,
        sink_end,
        sink_abort,
        io_poll_read,
        io_poll_write,
        io_poll_flush,
        io_poll_shutdown,
        io_read_blocking,
        io_write_blocking,
        io_drop,
        config_get,
        log_register,
        log_enabled,
        log_event,
        log_text,
        set_ready,
        query,
    }
}

/// Puts a generation where it stays, and lets its table point at it.
pub(in crate::dispatcher::in_process) fn place(generation: Box<Generation>) -> &'static Generation {
    let place = Box::into_raw(generation);
    // SAFETY: just made from a box, and nobody else has it.
    unsafe { (*place).host.ctx = place.cast() };
    // SAFETY: never freed, and from here on only shared.
    unsafe { &*place }
}

// SAFETY: the one pointer in a host's table is to the generation it lies in, which is shared anyway.
unsafe impl Send for Generation {}
// SAFETY: as above; everything else in a generation is Sync by itself.
unsafe impl Sync for Generation {}

/// The generation whose table the application was given.
///
/// # Safety
/// `host` is null or such a table.
unsafe fn generation(host: *const abi::Host) -> Option<&'static Generation> {
    // SAFETY: says the caller.
    let host = unsafe { host.as_ref() }?;
    let generation = host.ctx.cast::<Generation>();
    // SAFETY: `ctx` is null or was set by `place`, to what is never freed.
    unsafe { generation.as_ref() }
}

/// Runs a function of the table; null pointers and panics become codes.
fn entry(call: impl FnOnce() -> Option<Code>) -> Code {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Some(code::E_NOMEM)).unwrap_or(code::E_INVALID)
}

fn or_state<T>(found: Option<T>) -> Result<T, Code> {
    found.ok_or(code::E_STATE)
}

/// For functions whose lookups end early with a code.
fn of(result: Result<Code, Code>) -> Option<Code> {
    Some(result.unwrap_or_else(|code| code))
}

/// Consumes a handle of the right kind.
///
/// # Safety
/// `host` is null or a table of ours.
unsafe fn end(
    host: *const abi::Host,
    handle: usize,
    is_of_kind: impl FnOnce(&Objects, usize) -> bool,
) -> Option<Code> {
    // SAFETY: says the caller.
    let generation = unsafe { generation(host) }?;
    let ended = is_of_kind(&generation.objects, handle) && generation.objects.remove(handle);
    Some(if ended { code::DONE } else { code::E_STATE })
}

/// The application's memory to write to.
///
/// # Safety
/// `cap` bytes at `buf` are writable, and so is `n`; or they are null.
unsafe fn room<'a>(buf: *mut u8, cap: usize, n: *mut usize) -> Option<(&'a mut [u8], &'a mut usize)> {
    if buf.is_null() || cap == 0 || cap > isize::MAX as usize {
        return None;
    }
    // SAFETY: says the caller.
    let n = unsafe { n.as_mut() }?;
    // SAFETY: says the caller.
    Some((unsafe { std::slice::from_raw_parts_mut(buf, cap) }, n))
}

fn filled(n: &mut usize, count: usize) -> Code {
    *n = count;
    code::DONE
}

/// Waits on this thread, which must not be one that serves connections.
fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Code>>) -> Result<T, Code> {
    if threads::is_inside() {
        return Err(code::E_STATE);
    }
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        match poll(&mut cx) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}
