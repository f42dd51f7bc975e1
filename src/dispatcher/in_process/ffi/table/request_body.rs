//! Request bodies: reading what the client sends.
#![expect(unsafe_code, reason = "the seam")]

use std::{ffi::c_void, task::Context};

use cohost_abi::{self as abi, Code, code};

use super::{
    super::{
        request_body::{Callback, OnFrame, Turn},
        waker::Passed,
    },
    entry, filled, generation, of, or_state, room, wait,
};

pub(super) unsafe extern "C" fn body_poll(
    host: *const abi::Host,
    body: abi::Body,
    waker: *const abi::Waker,
    out: *mut abi::Frame,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        let Some(body) = generation.objects.body(body.0) else { return Some(code::E_STATE) };
        // SAFETY: the contract's.
        let waker = unsafe { Passed::new(waker, body.owner()) }?;
        // SAFETY: the contract's: room for a frame, `size` set.
        let out = unsafe { out.as_mut() }?;
        if out.size < size_of::<abi::Frame>() {
            return Some(code::E_ABI);
        }
        Some(body.poll(&mut Context::from_waker(&waker.borrow()), out))
    })
}

pub(super) unsafe extern "C" fn body_read(
    host: *const abi::Host,
    body: abi::Body,
    cb: Option<OnFrame>,
    ud: *mut c_void,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        let callback = Callback { call: cb?, ud };
        of(or_state(generation.objects.body(body.0)).and_then(Turn::take).map(|turn| {
            generation.runtime.spawn(callback.read(turn));
            code::DONE
        }))
    })
}

pub(super) unsafe extern "C" fn body_read_blocking(
    host: *const abi::Host,
    body: abi::Body,
    buf: *mut u8,
    cap: usize,
    n: *mut usize,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        // SAFETY: the contract's.
        let (into, n) = unsafe { room(buf, cap, n) }?;
        of(or_state(generation.objects.body(body.0))
            .and_then(Turn::take)
            .and_then(|turn| wait(|cx| turn.poll_into(cx, into)))
            .map(|read| filled(n, read)))
    })
}

pub(super) unsafe extern "C" fn body_drop(host: *const abi::Host, body: abi::Body) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        let found = generation.objects.body(body.0).filter(|_| generation.objects.remove(body.0));
        of(or_state(found).map(|found| {
            found.end();
            code::DONE
        }))
    })
}
