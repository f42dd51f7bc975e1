//! Requests that are answered later: well, twice, from the wrong place, or never.
#![expect(unsafe_code, reason = "a notice of cancellation")]

use std::{
    ffi::c_void,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use cohost_abi::{Code, Token, code};

use crate::{
    host::{Call, Host, OnCancel, borrowed, empty, on_thread, with_bytes},
    record::{CANCEL_REASON, CANCELLED, KEPT, set_report},
};

/// Tokens that were never consumed.
static HELD: Mutex<Vec<Token>> = Mutex::new(Vec::new());

pub(crate) fn route(call: &Call<'_>, name: &str, number: Option<i64>) -> Option<Code> {
    let host = call.host;
    Some(match name {
        "late" => later(call, move |token| {
            wait(number);
            say(host, token, "late\n");
        }),
        "late-twice" => later(call, move |token| {
            let codes = [say(host, token, "the first\n"), say(host, token, "the second\n")];
            set_report("late-twice", &[codes[0], codes[1], Code::from(host.has_head(token))]);
        }),
        "late-drop" => later(call, move |token| {
            let why = number.map_or(code::E_UNAVAILABLE, |number| number as Code);
            set_report("late-drop", &[host.token_drop(token, why), host.token_drop(token, why)]);
        }),
        "late-bad-status" => later(call, move |token| {
            let bad = host.token_respond(token, &empty(99));
            set_report("late-bad-status", &[bad, say(host, token, "too late\n")]);
        }),
        "early" => {
            // Before `handle` has returned.
            say(host, call.detach(None), "early\n");
            code::DETACHED
        }
        "leak" => hold(call, None),
        "cancel-notice" => hold(call, Some(on_cancel)),
        "consume" => consume(call),
        "detached-without-token" => code::DETACHED,
        "done-with-token" => {
            hold(call, Some(on_cancel));
            code::DONE
        }
        "detach-twice" => detach_twice(call),
        "detach-after-answer" => detach_after_answer(call),
        "answer-after-detach" => answer_after_detach(call),
        _ => return None,
    })
}

/// Detaches, and goes on with the token on a thread.
pub(crate) fn later(call: &Call<'_>, work: impl FnOnce(Token) + Send + 'static) -> Code {
    let token = call.detach(None);
    match on_thread(move || work(token)) {
        code::DONE => code::DETACHED,
        failed => {
            call.host.token_drop(token, failed);
            code::DETACHED
        }
    }
}

/// Answers a detached request.
pub(crate) fn say(host: Host, token: Token, text: &str) -> Code {
    host.token_respond(token, &with_bytes(&mut borrowed(text.as_bytes())))
}

fn wait(ms: Option<i64>) {
    let end = Instant::now() + Duration::from_millis(ms.unwrap_or(0).unsigned_abs());
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// Detaches, and never answers.
fn hold(call: &Call<'_>, on_cancel: OnCancel) -> Code {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(call.detach(on_cancel));
    KEPT.add();
    code::DETACHED
}

unsafe extern "C" fn on_cancel(_: *mut c_void, why: Code) {
    CANCEL_REASON.set(i64::from(why));
    CANCELLED.add();
}

/// Answers all that are held, and reports what came of it.
fn consume(call: &Call<'_>) -> Code {
    let held = std::mem::take(&mut *HELD.lock().unwrap_or_else(PoisonError::into_inner));
    let codes: Vec<_> = held.into_iter().map(|token| say(call.host, token, "consumed\n")).collect();
    call.say(&crate::record::line("consumed", &codes))
}

/// The second token is none.
fn detach_twice(call: &Call<'_>) -> Code {
    let (first, second) = (call.detach(None), call.detach(None));
    set_report("detach-twice", &[Code::from(first != Token::NONE), Code::from(second != Token::NONE)]);
    say(call.host, first, "detached once\n");
    code::DETACHED
}

fn detach_after_answer(call: &Call<'_>) -> Code {
    call.say("answered\n");
    set_report("detach-after-answer", &[Code::from(call.detach(None) != Token::NONE)]);
    code::DONE
}

/// In the call, but not any more through it.
fn answer_after_detach(call: &Call<'_>) -> Code {
    let token = call.detach(None);
    set_report("answer-after-detach", &[call.say("through the call\n")]);
    say(call.host, token, "through the token\n");
    code::DETACHED
}
