//! Sinks: response bodies that the application writes.
#![expect(unsafe_code, reason = "the seam")]

use std::{ffi::c_void, sync::Arc};

use cohost_abi::{self as abi, Code, code};

use super::{
    super::{answer, bytes as owned, push, request_body::Callback, slice},
    entry, generation, of, or_state,
};
use crate::dispatcher::in_process::threads;

/// # Safety
/// `host` is null or a table of ours.
unsafe fn sink(host: *const abi::Host, sink: abi::Sink) -> Option<Result<Arc<push::Push>, Code>> {
    // SAFETY: says the caller.
    let generation = unsafe { generation(host) }?;
    Some(or_state(generation.objects.sink(sink.0)))
}

pub(super) unsafe extern "C" fn sink_write(
    host: *const abi::Host,
    handle: abi::Sink,
    bytes: *mut abi::Bytes,
) -> Code {
    entry(|| {
        if bytes.is_null() {
            return None;
        }
        // SAFETY: not null; moved out in every case.
        let bytes = unsafe { bytes.read() };
        // SAFETY: the contract's.
        let sink = unsafe { sink(host, handle) }.unwrap_or(Err(code::E_INVALID));
        let taken = sink.and_then(|sink| sink.lease().map(|lease| (sink, lease)));
        let (sink, lease) = match taken {
            Ok(both) => both,
            Err(code) => {
                // SAFETY: the contract's.
                unsafe { owned::refuse(bytes) };
                return Some(code);
            }
        };
        // SAFETY: the contract's.
        of(unsafe { owned::take(bytes, &lease, sink.owner.request) }.map(|bytes| sink.write(bytes)))
    })
}

pub(super) unsafe extern "C" fn sink_on_writable(
    host: *const abi::Host,
    handle: abi::Sink,
    cb: Option<push::OnWritable>,
    ud: *mut c_void,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        let callback = Callback { call: cb?, ud };
        of(or_state(generation.objects.sink(handle.0)).and_then(|sink| match sink.on_writable(callback) {
            Ok(()) => Ok(code::DONE),
            Err((_, busy @ (code::E_BUSY | code::E_STATE))) => Err(busy),
            Err((callback, now)) => {
                let telling = push::Telling::new(callback, now, sink.owner);
                // Not from here: who is called back and waits again, and so on, would fill the stack.
                generation.runtime.spawn(async move { drop(telling) });
                Ok(code::DONE)
            }
        }))
    })
}

pub(super) unsafe extern "C" fn sink_write_blocking(
    host: *const abi::Host,
    handle: abi::Sink,
    bytes: *const u8,
    n: usize,
) -> Code {
    entry(|| {
        if threads::is_inside() {
            return Some(code::E_STATE);
        }
        // SAFETY: the contract's.
        let sink = unsafe { sink(host, handle) }?;
        // SAFETY: the contract's.
        let bytes = unsafe { slice(abi::Str { ptr: bytes, len: n }) };
        of(sink.map(|sink| sink.write_blocking(bytes)))
    })
}

pub(super) unsafe extern "C" fn sink_end(
    host: *const abi::Host,
    handle: abi::Sink,
    trailers: *const abi::Header,
    n: u32,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        let found = generation.objects.sink(handle.0).filter(|_| generation.objects.remove(handle.0));
        // SAFETY: the contract's.
        let trailers = unsafe { answer::trailers(trailers, n) };
        of(or_state(found).and_then(|sink| match trailers {
            Ok(trailers) => Ok(sink.end(Some(trailers).filter(|trailers| !trailers.is_empty()))),
            Err(code) => {
                sink.abort();
                Err(code)
            }
        }))
    })
}

pub(super) unsafe extern "C" fn sink_abort(host: *const abi::Host, handle: abi::Sink) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        let found = generation.objects.sink(handle.0).filter(|_| generation.objects.remove(handle.0));
        of(or_state(found).map(|sink| {
            sink.abort();
            code::DONE
        }))
    })
}
