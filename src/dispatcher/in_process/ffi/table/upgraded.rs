//! Upgraded connections: bytes in both directions.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use cohost_abi::{self as abi, Code, code};

use super::{
    super::{io::Stream, slice, waker::Passed},
    end, entry, filled, generation, of, or_state, room, wait,
};

/// # Safety
/// `host` is null or a table of ours.
unsafe fn io(host: *const abi::Host, io: abi::Io) -> Option<Result<Arc<Stream>, Code>> {
    // SAFETY: says the caller.
    let generation = unsafe { generation(host) }?;
    Some(or_state(generation.objects.io(io.0)))
}

pub(super) unsafe extern "C" fn io_poll_read(
    host: *const abi::Host,
    handle: abi::Io,
    waker: *const abi::Waker,
    buf: *mut u8,
    cap: usize,
    n: *mut usize,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let (into, n) = unsafe { room(buf, cap, n) }?;
        // SAFETY: the contract's.
        let Ok(io) = unsafe { io(host, handle) }? else { return Some(code::E_STATE) };
        // SAFETY: the contract's.
        let waker = unsafe { Passed::new(waker, io.owner()) }?;
        of(polled(io.poll_read(&mut Context::from_waker(&waker.borrow()), into))
            .map(|read| read.map_or(code::PENDING, |read| end_of_stream(n, read))))
    })
}

pub(super) unsafe extern "C" fn io_poll_write(
    host: *const abi::Host,
    handle: abi::Io,
    waker: *const abi::Waker,
    buf: *const u8,
    len: usize,
    n: *mut usize,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let from = unsafe { slice(abi::Str { ptr: buf, len }) };
        // SAFETY: the contract's.
        let n = unsafe { n.as_mut() }?;
        // SAFETY: the contract's.
        let Ok(io) = unsafe { io(host, handle) }? else { return Some(code::E_STATE) };
        // SAFETY: the contract's.
        let waker = unsafe { Passed::new(waker, io.owner()) }?;
        of(polled(io.poll_write(&mut Context::from_waker(&waker.borrow()), from))
            .map(|written| written.map_or(code::PENDING, |written| filled(n, written))))
    })
}

pub(super) unsafe extern "C" fn io_poll_flush(
    host: *const abi::Host,
    handle: abi::Io,
    waker: *const abi::Waker,
) -> Code {
    // SAFETY: the contract's.
    unsafe { poll_done(host, handle, waker, Stream::poll_flush) }
}

pub(super) unsafe extern "C" fn io_poll_shutdown(
    host: *const abi::Host,
    handle: abi::Io,
    waker: *const abi::Waker,
) -> Code {
    // SAFETY: the contract's.
    unsafe { poll_done(host, handle, waker, Stream::poll_shutdown) }
}

/// Polls what has no outcome but that it is done.
///
/// # Safety
/// `host` is null or a table of ours; `waker` keeps the contract.
unsafe fn poll_done(
    host: *const abi::Host,
    handle: abi::Io,
    waker: *const abi::Waker,
    poll: impl FnOnce(&Stream, &mut Context<'_>) -> Poll<Result<(), Code>>,
) -> Code {
    entry(|| {
        // SAFETY: says the caller.
        let Ok(io) = unsafe { io(host, handle) }? else { return Some(code::E_STATE) };
        // SAFETY: says the caller.
        let waker = unsafe { Passed::new(waker, io.owner()) }?;
        of(polled(poll(&io, &mut Context::from_waker(&waker.borrow())))
            .map(|done| done.map_or(code::PENDING, |()| code::DONE)))
    })
}

pub(super) unsafe extern "C" fn io_read_blocking(
    host: *const abi::Host,
    handle: abi::Io,
    buf: *mut u8,
    cap: usize,
    n: *mut usize,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let (into, n) = unsafe { room(buf, cap, n) }?;
        // SAFETY: the contract's.
        let io = unsafe { io(host, handle) }?;
        of(io.and_then(|io| wait(|cx| io.poll_read(cx, into))).map(|read| end_of_stream(n, read)))
    })
}

pub(super) unsafe extern "C" fn io_write_blocking(
    host: *const abi::Host,
    handle: abi::Io,
    buf: *const u8,
    len: usize,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let mut left = unsafe { slice(abi::Str { ptr: buf, len }) };
        // SAFETY: the contract's.
        let io = unsafe { io(host, handle) }?;
        of(io.and_then(|io| {
            while !left.is_empty() {
                match wait(|cx| io.poll_write(cx, left))? {
                    0 => return Err(code::E_GONE),
                    written => left = &left[written..],
                }
            }
            wait(|cx| io.poll_flush(cx)).map(|()| code::DONE)
        }))
    })
}

pub(super) unsafe extern "C" fn io_drop(host: *const abi::Host, handle: abi::Io) -> Code {
    // SAFETY: the contract's.
    entry(|| unsafe { end(host, handle.0, |objects, handle| objects.io(handle).is_some()) })
}

fn polled<T>(poll: Poll<Result<T, Code>>) -> Result<Option<T>, Code> {
    match poll {
        Poll::Pending => Ok(None),
        Poll::Ready(result) => result.map(Some),
    }
}

fn end_of_stream(n: &mut usize, count: usize) -> Code {
    *n = count;
    if count == 0 { code::EOF } else { code::DONE }
}
