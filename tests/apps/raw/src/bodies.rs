//! Request bodies that are read as they should be, and where they must not be.
#![expect(unsafe_code, reason = "the callback of a read")]

use std::{
    ffi::c_void,
    sync::mpsc::{SyncSender, sync_channel},
};

use cohost_abi::{Body, Code, Frame, Token, code, frame_kind};

use crate::{
    host::{Call, Host},
    record::{line, set_report},
    tokens::{later, say},
};

pub(crate) fn route(call: &Call<'_>, name: &str) -> Option<Code> {
    let host = call.host;
    Some(match name {
        "body-blocking" => later(call, move |token| {
            let (bytes, end) = read_by_waiting(host, host.token_take_body(token));
            say(host, token, &format!("{bytes} bytes, then {end}\n"));
        }),
        "body-callback" => later(call, move |token| {
            let (bytes, end) = read_by_callback(host, host.token_take_body(token));
            say(host, token, &format!("{bytes} bytes, then {end}\n"));
        }),
        "body-blocking-in-call" => blocking_in_call(call),
        "body-twice" => twice(call),
        "body-after-drop" => after_drop(call),
        "body-drop-while-called-back" => later(call, move |token| drop_while_called_back(host, token)),
        "body-drop-while-waiting" => later(call, move |token| drop_while_waiting(host, token)),
        // Taken, and then forgotten.
        "body-leak" => {
            call.take_body();
            call.say("the body is kept\n")
        }
        "body-after-answer" => later(call, move |token| {
            let body = host.token_take_body(token);
            say(host, token, "answered before the body was read\n");
            let (bytes, end) = read_by_waiting(host, body);
            set_report("body-after-answer", &[Code::try_from(bytes).unwrap_or(Code::MAX), end]);
        }),
        _ => return None,
    })
}

/// How many bytes there were, and with what they ended. The body is dropped.
fn read_by_waiting(host: Host, body: Body) -> (usize, Code) {
    let mut piece = [0; 16 * 1024];
    let mut bytes = 0;
    let end = loop {
        let mut n = 0;
        match host.body_read_blocking(body, &mut piece, &mut n) {
            code::DONE => bytes += n,
            end => break end,
        }
    };
    host.body_drop(body);
    (bytes, end)
}

fn read_by_callback(host: Host, body: Body) -> (usize, Code) {
    let (said, heard) = sync_channel::<(Code, usize)>(1);
    let mut bytes = 0;
    let end = loop {
        let ud = Box::into_raw(Box::new(said.clone()));
        let reading = host.body_read(body, on_frame, ud.cast());
        if reading != code::DONE {
            // SAFETY: the callback will not be called, and nobody else has it.
            drop(unsafe { Box::from_raw(ud) });
            break reading;
        }
        // The callback is called on every way.
        match heard.recv() {
            Ok((code::DONE, n)) => bytes += n,
            Ok((end, _)) => break end,
            Err(_) => break code::E_STATE,
        }
    };
    host.body_drop(body);
    (bytes, end)
}

unsafe extern "C" fn on_frame(ud: *mut c_void, rc: Code, frame: *mut Frame) {
    // SAFETY: made by `read_by_callback`; this is called once.
    let said = unsafe { Box::from_raw(ud.cast::<SyncSender<(Code, usize)>>()) };
    // There is a frame if it went well, and only then.
    let rc = if (rc == code::DONE) == frame.is_null() { code::E_INVALID } else { rc };
    let mut n = 0;
    // SAFETY: null, or the host's; its data moves here.
    if let Some(frame) = unsafe { frame.as_mut() }.filter(|frame| frame.kind == frame_kind::DATA) {
        n = frame.data.len;
        if let Some(release) = frame.data.release {
            // SAFETY: once, at the place where the bytes are.
            unsafe { release(&raw mut frame.data) };
        }
    }
    // There is a place for it, and who waits keeps the other end.
    let _ = said.try_send((rc, n));
}

/// A thread that serves others must not wait.
fn blocking_in_call(call: &Call<'_>) -> Code {
    let (body, mut n) = (call.take_body(), 0);
    let read = call.host.body_read_blocking(body, &mut [0; 16], &mut n);
    let dropped = call.host.body_drop(body);
    call.say(&line("body-blocking-in-call", &[read, dropped]))
}

/// The second body is none.
fn twice(call: &Call<'_>) -> Code {
    let (first, second) = (call.take_body(), call.take_body());
    let dropped = [call.host.body_drop(first), call.host.body_drop(second)];
    let taken = [Code::from(first != Body::NONE), Code::from(second != Body::NONE)];
    call.say(&line("body-twice", &[taken, dropped].concat()))
}

/// Reads what has ended.
fn after_drop(call: &Call<'_>) -> Code {
    let (body, mut n) = (call.take_body(), 0);
    let dropped = call.host.body_drop(body);
    let read = call.host.body_read_blocking(body, &mut [0; 16], &mut n);
    let again = call.host.body_drop(body);
    call.say(&line("body-after-drop", &[dropped, read, again]))
}

/// Drops a body while a callback waits for it, and somebody else wants to read it, too. Says what each was told, and
/// whether the callback was called again.
fn drop_while_called_back(host: Host, token: Token) {
    let body = host.token_take_body(token);
    let (said, heard) = sync_channel::<(Code, usize)>(2);
    let ud = Box::into_raw(Box::new(said)).cast();
    let reading = host.body_read(body, on_frame, ud);
    let (again, mut n) = (host.body_read(body, on_frame, ud), 0);
    let by_waiting = host.body_read_blocking(body, &mut [0; 16], &mut n);
    let dropped = host.body_drop(body);
    let told = heard.recv().map_or(code::E_PANIC, |(rc, _)| rc);
    // The callback freed the other end.
    let once_more = Code::from(heard.recv().is_ok());
    let codes = [reading, again, by_waiting, dropped, told, once_more];
    say(host, token, &line("body-drop-while-called-back", &codes));
}

/// Drops a body while a thread waits for it; says what that thread was told.
fn drop_while_waiting(host: Host, token: Token) {
    let body = host.token_take_body(token);
    let (begins, begun) = sync_channel::<()>(0);
    let reader = std::thread::spawn(move || {
        // Who waits for it has the other end.
        let _ = begins.send(());
        host.body_read_blocking(body, &mut [0; 16], &mut 0)
    });
    let _ = begun.recv();
    // Whether it waits by now or not, it has to hear of it.
    std::thread::yield_now();
    let codes = [host.body_drop(body), reader.join().unwrap_or(code::E_PANIC)];
    say(host, token, &line("body-drop-while-waiting", &codes));
}
