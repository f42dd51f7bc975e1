//! Response bodies that are pushed, from threads and from where they must not be.
#![expect(unsafe_code, reason = "a callback that says that there is room")]

use std::{
    ffi::c_void,
    sync::{
        Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
};

use cohost_abi::{Code, Sink, Token, code};

use crate::{
    host::{Call, Host, field, owned, with_fields, with_sink},
    record::{WAITS, WRITABLE, line, set_report},
    tasks,
    tokens::later,
};

const PIECE: [u8; 1024] = [b'p'; 1024];

/// As much as the host asks to wait after.
static FULL: [u8; 64 * 1024] = [b'p'; 64 * 1024];

/// Sinks that were never ended.
static KEPT: Mutex<Vec<Sink>> = Mutex::new(Vec::new());

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
            let sink = begin(host, token, &[]);
            host.sink_write(sink, owned(&PIECE));
            keep(sink);
        }),
        // Begun in a call that never ends, so that nothing of it is sent.
        "push-and-pend" => {
            keep(full(call, &[]));
            tasks::stall(call)
        }
        "write-to-kept" => call.say(&write_to_kept(host)),
        "wait-and-end" => wait_and(call, name, &[], |sink| host.sink_end(sink, &[])),
        "wait-and-abort" => wait_and(call, name, &[], |sink| host.sink_abort(sink)),
        "wait-and-write-too-much" => wait_and(call, name, &[field("content-length", "65537")], |sink| {
            host.sink_write(sink, owned(b"more"))
        }),
        "block-and-abort" => block_and_abort(call),
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
    WRITABLE.add();
    // SAFETY: made by `wait_for_room`; this is called once.
    let there_is_room = unsafe { Box::from_raw(ud.cast::<SyncSender<Code>>()) };
    // There is a place for it, and who waits keeps the other end.
    let _ = there_is_room.try_send(rc);
}

/// Begins the answer in the call, before whose end nothing of it is sent, and fills the sink.
fn full(call: &Call<'_>, fields: &[cohost_abi::Header]) -> Sink {
    let mut sink = Sink::NONE;
    call.respond(&with_fields(with_sink(&mut sink), fields));
    call.host.sink_write(sink, owned(&FULL));
    sink
}

/// Ends a body while somebody waits for room; reports what that returned, and what the one who waits was told.
fn wait_and(
    call: &Call<'_>,
    name: &str,
    fields: &[cohost_abi::Header],
    end: impl FnOnce(Sink) -> Code,
) -> Code {
    let sink = full(call, fields);
    let (there_is_room, room) = sync_channel::<Code>(2);
    let ud = Box::into_raw(Box::new(there_is_room)).cast();
    let waiting = call.host.sink_on_writable(sink, on_writable, ud);
    let again = call.host.sink_on_writable(sink, on_writable, ud);
    let ended = end(sink);
    let told: Vec<Code> = room.try_iter().collect();
    set_report(name, &[vec![waiting, again, ended], told].concat());
    code::DONE
}

/// Aborts a body while a thread waits to write to it; reports what that thread was told.
fn block_and_abort(call: &Call<'_>) -> Code {
    let (host, sink) = (call.host, full(call, &[]));
    let (begins, begun) = sync_channel::<()>(0);
    let writer = std::thread::spawn(move || {
        // Who waits for it has the other end.
        let _ = begins.send(());
        host.sink_write_blocking(sink, &PIECE)
    });
    let _ = begun.recv();
    // Whether it waits by now or not, it has to hear of it.
    std::thread::yield_now();
    let aborted = host.sink_abort(sink);
    set_report("block-and-abort", &[aborted, writer.join().unwrap_or(code::E_PANIC)]);
    code::DONE
}

fn keep(sink: Sink) {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(sink);
}

/// What writing to each of the sinks that are kept returns, in the order in which they were made.
pub(crate) fn write_to_kept(host: Host) -> String {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let codes: Vec<Code> = kept.into_iter().map(|sink| host.sink_write(sink, owned(&PIECE))).collect();
    line("kept", &codes)
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
