//! Response bodies that are pushed, from threads and from where they must not be.
#![expect(unsafe_code, reason = "a callback that says that there is room")]

use std::{
    ffi::c_void,
    sync::mpsc::{SyncSender, sync_channel},
};

use cohost_abi::{Code, Sink, Token, code};

use crate::{
    host::{Call, Host, field, owned, with_fields, with_sink},
    record::{WAITS, set_report},
    tokens::later,
};

const PIECE: [u8; 1024] = [b'p'; 1024];

pub(crate) fn route(call: &Call<'_>, name: &str, number: Option<i64>) -> Option<Code> {
    let host = call.host;
    let kb = number.map_or(1024, i64::unsigned_abs);
    Some(match name {
        "push" => later(call, move |token| push(host, token, kb, write_and_wait)),
        "push-blocking" => later(call, move |token| push(host, token, kb, write_by_waiting)),
        "push-greedy" => later(call, move |token| push(host, token, kb, write_without_waiting)),
        "push-abort" => later(call, move |token| abort(host, token)),
        "push-too-much" => later(call, move |token| too_much(host, token)),
        "push-too-little" => later(call, move |token| too_little(host, token)),
        "push-after-end" => later(call, move |token| after_end(host, token)),
        "push-in-call" => in_call(call),
        // Begun, and then forgotten.
        "push-leak" => later(call, move |token| {
            begin(host, token, &[]);
        }),
        _ => return None,
    })
}

/// Begins the answer. No sink when it is too late.
fn begin(host: Host, token: Token, fields: &[cohost_abi::Header]) -> Sink {
    let mut sink = Sink::NONE;
    host.token_respond(token, &with_fields(with_sink(&mut sink), fields));
    sink
}

/// So many pieces, and a trailer; reports the codes of the last piece and of the end.
fn push(host: Host, token: Token, kb: u64, write: fn(Host, Sink) -> Code) {
    let sink = begin(host, token, &[field("trailer", "x-end")]);
    let mut written = code::DONE;
    for _ in 0..kb {
        written = write(host, sink);
        if written < 0 {
            break;
        }
    }
    let ended = host.sink_end(sink, &[field("x-end", "here")]);
    set_report("push", &[written, ended]);
}

/// Writes, and waits when it is told to.
fn write_and_wait(host: Host, sink: Sink) -> Code {
    match host.sink_write(sink, owned(&PIECE)) {
        code::AGAIN => {
            WAITS.add();
            wait_for_room(host, sink)
        }
        written => written,
    }
}

fn write_by_waiting(host: Host, sink: Sink) -> Code {
    host.sink_write_blocking(sink, &PIECE)
}

fn write_without_waiting(host: Host, sink: Sink) -> Code {
    host.sink_write(sink, owned(&PIECE))
}

fn wait_for_room(host: Host, sink: Sink) -> Code {
    let (there_is_room, room) = sync_channel::<Code>(1);
    let ud = Box::into_raw(Box::new(there_is_room));
    let waiting = host.sink_on_writable(sink, on_writable, ud.cast());
    if waiting != code::DONE {
        // SAFETY: the callback will not be called, and nobody else has it.
        drop(unsafe { Box::from_raw(ud) });
        return waiting;
    }
    // The callback is called on every way.
    room.recv().unwrap_or(code::E_STATE)
}

unsafe extern "C" fn on_writable(ud: *mut c_void, rc: Code) {
    // SAFETY: made by `wait_for_room`; this is called once.
    let there_is_room = unsafe { Box::from_raw(ud.cast::<SyncSender<Code>>()) };
    // There is a place for it, and who waits keeps the other end.
    let _ = there_is_room.try_send(rc);
}

/// One piece, and then a cut.
fn abort(host: Host, token: Token) {
    let sink = begin(host, token, &[]);
    let written = host.sink_write_blocking(sink, b"the first piece\n");
    set_report("push-abort", &[written, host.sink_abort(sink), host.sink_abort(sink)]);
}

/// Says 5 bytes and writes 10.
fn too_much(host: Host, token: Token) {
    let sink = begin(host, token, &[field("content-length", "5")]);
    let written = host.sink_write(sink, owned(b"0123456789"));
    set_report("push-too-much", &[written, host.sink_end(sink, &[])]);
}

/// Says 100 bytes and writes 5.
fn too_little(host: Host, token: Token) {
    let sink = begin(host, token, &[field("content-length", "100")]);
    let written = host.sink_write(sink, owned(b"01234"));
    set_report("push-too-little", &[written, host.sink_end(sink, &[])]);
}

/// Writes to what has ended.
fn after_end(host: Host, token: Token) {
    let sink = begin(host, token, &[]);
    let ended = host.sink_end(sink, &[]);
    let codes = [
        ended,
        host.sink_write(sink, owned(b"too late")),
        host.sink_write_blocking(sink, b"too late"),
        host.sink_end(sink, &[]),
    ];
    set_report("push-after-end", &codes);
}

/// In the call, a write must not wait.
fn in_call(call: &Call<'_>) -> Code {
    let mut sink = Sink::NONE;
    let begun = call.respond(&with_sink(&mut sink));
    let waited = call.host.sink_write_blocking(sink, b"by waiting\n");
    let written = call.host.sink_write(sink, owned(b"at once\n"));
    set_report("push-in-call", &[begun, waited, written, call.host.sink_end(sink, &[])]);
    code::DONE
}
