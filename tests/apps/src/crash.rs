//! Ends of requests, and of the process, that nobody wants.
#![expect(unsafe_code, reason = "a segmentation fault takes a wild pointer")]

use std::{hint::black_box, ptr, sync::Arc, thread};

use axum::{Router, body::Body, response::Response, routing::any};
use futures_util::{StreamExt, stream};

use crate::Shared;

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/panic", any(panic))
        .route("/panic-after-wait", any(panic_after_wait))
        .route("/panic-mid-stream", any(panic_mid_stream))
        .route("/panic-in-drop", any(panic_in_drop))
        .route("/panic-on-cancel", any(panic_on_cancel))
        .route("/panic-payload", any(panic_payload))
        .route("/abort", any(async || -> () { std::process::abort() }))
        .route("/segfault", any(async || -> () { write_nowhere() }))
        .route("/trap", any(async || -> () { trap() }))
        .route("/segfault-in-thread", any(segfault_in_thread))
        .route("/abort-in-thread", any(abort_in_thread))
        .route("/segfault-mid-stream", any(segfault_mid_stream))
        .route("/stack-overflow", any(async || descend(0).to_string()))
        .route("/exit", any(async || -> () { exit_now() }))
        .route("/daemon", any(daemon))
        .route("/terminate/{pid}", any(terminate))
}

async fn panic() -> &'static str {
    panic!("the handler was told to panic")
}

/// In a later poll than the first.
async fn panic_after_wait() -> &'static str {
    tokio::task::yield_now().await;
    panic!("the handler was told to panic after a wait")
}

/// The head and one piece are sent by then.
async fn panic_mid_stream() -> Body {
    let pieces = stream::iter(0..2).then(async |n| {
        if n > 0 {
            // Another poll: the first piece is on its way.
            tokio::task::yield_now().await;
            panic!("the stream was told to panic");
        }
        Ok::<_, std::convert::Infallible>("the first piece\n")
    });
    Body::from_stream(pieces)
}

/// At the end of the body, when it is dropped.
async fn panic_in_drop() -> Response {
    let guard = PanicInDrop;
    let pieces = stream::iter(["all ", "of ", "it\n"]).map(move |piece| {
        let _held = &guard;
        Ok::<_, std::convert::Infallible>(piece)
    });
    Response::new(Body::from_stream(pieces))
}

/// Never answers; panics when the client goes away.
async fn panic_on_cancel() {
    let _guard = PanicInDrop;
    std::future::pending::<()>().await;
}

/// With something that is no text.
async fn panic_payload() {
    std::panic::panic_any(42_u8)
}

struct PanicInDrop;

impl Drop for PanicInDrop {
    fn drop(&mut self) {
        panic!("a destructor was told to panic");
    }
}

/// On a thread of the application's own, while the request waits.
async fn segfault_in_thread() {
    let _thread = thread::spawn(write_nowhere);
    std::future::pending::<()>().await;
}

/// The same, with the end in the system's library and not in the application's own code.
async fn abort_in_thread() {
    let _thread = thread::spawn(|| std::process::abort());
    std::future::pending::<()>().await;
}

/// While the host asks for the second piece of the body.
async fn segfault_mid_stream() -> Body {
    let pieces = stream::iter(0..2).then(async |n| {
        if n > 0 {
            tokio::task::yield_now().await;
            write_nowhere();
        }
        Ok::<_, std::convert::Infallible>("the first piece\n")
    });
    Body::from_stream(pieces)
}

/// The number of a process without parent, in a session of its own, that outlives the request.
async fn daemon() -> String {
    let script = "setsid sleep 600 >/dev/null 2>&1 & echo $!";
    let started = std::process::Command::new("sh").args(["-c", script]).output();
    started.map_or_else(|error| error.to_string(), |done| String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Asks a process to end, and then answers.
async fn terminate(axum::extract::Path(pid): axum::extract::Path<u32>) -> String {
    let asked = std::process::Command::new("kill").args(["-TERM", &pid.to_string()]).status();
    asked.map_or_else(|error| error.to_string(), |asked| format!("{asked}\n"))
}

/// Ends the process, from inside a library that must not.
#[expect(clippy::exit, reason = "the fault itself")]
pub(crate) fn exit_now() -> ! {
    std::process::exit(0)
}

/// Writes where no page is.
pub(crate) fn write_nowhere() {
    let nowhere = ptr::without_provenance_mut::<u8>(8);
    // SAFETY: none. The lowest page is never mapped, so that this ends the process; that is what it is for.
    unsafe { nowhere.write_volatile(1) };
}

/// A breakpoint that nobody takes out.
fn trap() {
    // SAFETY: none, as above. It would go on if nobody ended the process.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("int3");
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("brk #0");
    }
}

/// Calls itself until the stack is full.
#[expect(unconditional_recursion, reason = "the fault itself")]
fn descend(depth: u64) -> u64 {
    let frame: [u64; 512] = black_box([depth; 512]);
    black_box(descend(depth + 1)) + black_box(frame[511])
}
