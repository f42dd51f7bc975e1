//! Requests that take their time, or all of it.

use std::{
    hint::spin_loop,
    net::TcpListener,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use axum::{Json, Router, body::Body, extract::Path, http::StatusCode, routing::any};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::Shared;

/// Requests that hang now, in this copy of the library.
static PENDING: AtomicU64 = AtomicU64::new(0);
/// Those that were dropped by the host.
static CANCELLED: AtomicU64 = AtomicU64::new(0);
/// Kept open: somebody is to notice.
static PORTS: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/sleep/{ms}", any(sleep))
        .route("/block/{ms}", any(block))
        .route("/block-stream/{ms}", any(block_stream))
        .route("/spin/{ms}", any(spin))
        .route("/hang", any(hang))
        .route("/hold-body", any(hold_body))
        .route("/hang-stream", any(hang_stream))
        .route("/cancelled", any(cancelled))
        .route("/listen", any(listen))
        .route("/leave-thread", any(leave_thread))
        .route("/keep/{mb}", any(keep))
}

async fn sleep(Path(ms): Path<u64>) -> String {
    let hanging = Hanging::new();
    tokio::time::sleep(Duration::from_millis(ms)).await;
    hanging.answered();
    format!("slept {ms} ms\n")
}

/// Keeps the host's thread, and costs nothing.
async fn block(Path(ms): Path<u64>) -> String {
    keep_thread(ms)
}

/// Keeps the host's thread while it is asked for the body.
async fn block_stream(Path(ms): Path<u64>) -> Body {
    let pieces = stream::once(async move { Ok::<_, std::convert::Infallible>(keep_thread(ms)) });
    Body::from_stream(pieces)
}

fn keep_thread(ms: u64) -> String {
    let end = Instant::now() + Duration::from_millis(ms);
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
    format!("blocked for {ms} ms\n")
}

/// Keeps the host's thread busy.
async fn spin(Path(ms): Path<u64>) -> String {
    let end = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < end {
        spin_loop();
    }
    format!("span for {ms} ms\n")
}

/// Never answers.
async fn hang() {
    let _hanging = Hanging::new();
    std::future::pending::<()>().await;
}

/// Never answers, and keeps the body without reading it.
async fn hold_body(body: Body) {
    let _hanging = Hanging::new();
    std::future::pending::<()>().await;
    drop(body);
}

/// Answers with a head, one piece, and never an end.
async fn hang_stream() -> Body {
    let hanging = Hanging::new();
    let pieces = stream::iter(["the first piece\n"]).chain(stream::pending()).map(move |piece| {
        let _held = &hanging;
        Ok::<_, std::convert::Infallible>(piece)
    });
    Body::from_stream(pieces)
}

/// How many requests hang, and how many were cancelled.
async fn cancelled() -> Json<Value> {
    Json(json!({ "pending": PENDING.load(Relaxed), "cancelled": CANCELLED.load(Relaxed) }))
}

/// Counts a request until it is answered, or dropped.
struct Hanging {
    answered: bool,
}

impl Hanging {
    fn new() -> Self {
        PENDING.fetch_add(1, Relaxed);
        Self { answered: false }
    }

    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        PENDING.fetch_sub(1, Relaxed);
        if !self.answered {
            CANCELLED.fetch_add(1, Relaxed);
        }
    }
}

/// Binds a port, although the host listens.
async fn listen() -> Result<String, StatusCode> {
    let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    PORTS.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    Ok(format!("{address}\n"))
}

/// Has memory that it never gives back.
async fn keep(Path(mb): Path<usize>) -> String {
    // Written to, so that it is there.
    std::mem::forget(vec![1_u8; mb << 20]);
    format!("kept {mb} MB\n")
}

/// Starts a thread that does not end with the application.
async fn leave_thread() -> Result<&'static str, StatusCode> {
    let thread = thread::Builder::new().name("left-behind".to_owned());
    let spawned = thread.spawn(|| {
        loop {
            thread::park();
        }
    });
    spawned.map(|_| "a thread was left behind\n").map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
