//! Requests that go on after `handle`, or say so and do not.
#![expect(unsafe_code, reason = "the functions of a task")]

use std::{
    ffi::c_void,
    ptr,
    sync::{Mutex, PoisonError},
};

use cohost_abi::{Code, Req, Task, Waker, code};

use crate::{
    host::{Call, Host, OwnedWaker},
    record::{TASK_DROPS, TASKS},
};

/// What a task does when it is polled.
struct Script {
    host: Host,
    /// Polls that are left until `end`; each wakes itself.
    polls: u32,
    /// `DONE` answers before.
    end: Code,
    request: Request,
}

/// Whether a task answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    Answered,
    Forgotten,
}

/// Wakers of requests that have ended.
static STALE: Mutex<Vec<OwnedWaker>> = Mutex::new(Vec::new());

pub(crate) fn route(call: &Call<'_>, name: &str) -> Option<Code> {
    let (polls, end, request) = match name {
        "task" => (3, code::DONE, Request::Answered),
        // It waits, and nobody wakes it.
        "stalled-task" => (0, code::PENDING, Request::Forgotten),
        "failed-task" => (1, code::E_APP, Request::Forgotten),
        "unavailable-task" => (1, code::E_UNAVAILABLE, Request::Forgotten),
        "none-task" => (1, code::DONE, Request::Forgotten),
        "unknown-code-task" => (1, 77, Request::Forgotten),
        "pending-without-task" => return Some(code::PENDING),
        "null-functions-task" => {
            call.set_task(Task { state: ptr::null_mut(), poll: None, drop: None });
            return Some(code::PENDING);
        }
        "answer-and-pend" => {
            call.say("answered\n");
            return Some(code::PENDING);
        }
        "keep-waker" => {
            STALE.lock().unwrap_or_else(PoisonError::into_inner).push(call.waker());
            return Some(call.say("kept\n"));
        }
        "wake-stale" => return Some(wake_stale(call)),
        _ => return None,
    };
    TASKS.add();
    let script = Box::new(Script { host: call.host, polls, end, request });
    call.set_task(Task { state: Box::into_raw(script).cast(), poll: Some(poll), drop: Some(drop_script) });
    if polls > 0 {
        call.waker().wake_by_ref();
    }
    Some(code::PENDING)
}

/// A task that is never woken.
pub(crate) fn stall(call: &Call<'_>) -> Code {
    route(call, "stalled-task").unwrap_or(code::E_STATE)
}

/// Wakes what has ended, often, and from the wrong thread.
fn wake_stale(call: &Call<'_>) -> Code {
    let wakers = std::mem::take(&mut *STALE.lock().unwrap_or_else(PoisonError::into_inner));
    let text = format!("{} wakers\n", wakers.len());
    let thread = std::thread::spawn(move || {
        for waker in &wakers {
            (0..1000).for_each(|_| waker.wake_by_ref());
        }
    });
    // A thread that panicked has ended, too.
    let _ = thread.join();
    call.say(&text)
}

unsafe extern "C" fn poll(state: *mut c_void, req: *mut Req, waker: *const Waker) -> Code {
    // SAFETY: made by `route`, and not dropped yet.
    let script = unsafe { &mut *state.cast::<Script>() };
    script.polls = script.polls.saturating_sub(1);
    if script.polls > 0 {
        // SAFETY: that of the running call.
        let waker = unsafe { OwnedWaker::of(waker) };
        waker.wake_by_ref();
        return code::PENDING;
    }
    if script.request == Request::Answered {
        // SAFETY: those of the running call; a poll has neither head nor task.
        let call = unsafe { Call::new(script.host, req, ptr::null(), waker, ptr::null_mut()) };
        call.say("answered by a task\n");
    }
    script.end
}

unsafe extern "C" fn drop_script(state: *mut c_void) {
    TASK_DROPS.add();
    // SAFETY: made by `route`; the host drops it once.
    drop(unsafe { Box::from_raw(state.cast::<Script>()) });
}
