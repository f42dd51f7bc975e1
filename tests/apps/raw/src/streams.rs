//! Response bodies that the host pulls, and that end otherwise than they should.
#![expect(unsafe_code, reason = "the functions of a stream")]

use std::{ffi::c_void, ptr};

use cohost_abi::{self as abi, Bytes, Code, Frame, NO_LENGTH, Stream, Waker, body_kind, code, frame_kind};

use crate::{
    host::{Call, borrowed, empty, owned},
    record::{STREAM_DROPS, STREAMS},
};

/// How a stream goes on after its pieces of five bytes.
struct Script {
    pieces: u32,
    end: Code,
}

pub(crate) fn route(call: &Call<'_>, name: &str) -> Option<Code> {
    let (length, pieces, end) = match name {
        "stream" => (NO_LENGTH, 3, code::EOF),
        "stream-with-length" => (15, 3, code::EOF),
        "short-stream" => (100, 1, code::EOF),
        "long-stream" => (5, 2, code::EOF),
        "error-stream" => (NO_LENGTH, 1, code::E_APP),
        "unknown-code-stream" => (NO_LENGTH, 1, -77),
        "positive-code-stream" => (NO_LENGTH, 1, 77),
        // Nobody wakes it.
        "stalled-stream" => (NO_LENGTH, 1, code::PENDING),
        "null-functions-stream" => return Some(null_functions(call)),
        "unread-stream" => return Some(unread(call)),
        _ => return None,
    };
    let mut stream = stream(length, Script { pieces, end });
    let response = abi::Response { body_kind: body_kind::STREAM, stream: &raw mut stream, ..empty(200) };
    Some(call.respond(&response))
}

fn stream(length: u64, script: Script) -> Stream {
    STREAMS.add();
    Stream {
        size: size_of::<Stream>(),
        state: Box::into_raw(Box::new(script)).cast(),
        content_length: length,
        poll_frame: Some(poll),
        drop: Some(drop_script),
    }
}

/// A stream in an answer that is refused still has to be dropped.
fn unread(call: &Call<'_>) -> Code {
    let mut stream = stream(NO_LENGTH, Script { pieces: 1, end: code::EOF });
    let response = abi::Response { body_kind: body_kind::STREAM, stream: &raw mut stream, ..empty(99) };
    call.respond(&response);
    code::DONE
}

fn null_functions(call: &Call<'_>) -> Code {
    let mut stream = Stream {
        size: size_of::<Stream>(),
        state: ptr::null_mut(),
        content_length: NO_LENGTH,
        poll_frame: None,
        drop: None,
    };
    let response = abi::Response { body_kind: body_kind::STREAM, stream: &raw mut stream, ..empty(200) };
    call.respond(&response);
    code::DONE
}

unsafe extern "C" fn poll(state: *mut c_void, _: *const Waker, out: *mut Frame) -> Code {
    // SAFETY: made by `stream`, and not dropped yet.
    let script = unsafe { &mut *state.cast::<Script>() };
    let Some(left) = script.pieces.checked_sub(1) else { return script.end };
    script.pieces = left;
    let frame = Frame {
        size: size_of::<Frame>(),
        kind: frame_kind::DATA,
        n_headers: 0,
        data: piece(left),
        headers: ptr::null(),
    };
    // SAFETY: the host's, to be written with DONE.
    unsafe { out.write(frame) };
    code::DONE
}

/// Of each kind in turn.
fn piece(number: u32) -> Bytes {
    if number.is_multiple_of(2) { owned(b"five\n") } else { borrowed(b"FIVE\n") }
}

unsafe extern "C" fn drop_script(state: *mut c_void) {
    STREAM_DROPS.add();
    // SAFETY: made by `stream`; the host drops it once.
    drop(unsafe { Box::from_raw(state.cast::<Script>()) });
}
