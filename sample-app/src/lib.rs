//! An application to copy: a constructor, an axum router, and the line that exports it.
//!
//! In: the application's place in its host. Out: a service. Never: listens, or asks in which process it runs.
#![forbid(unsafe_code)]

mod bodies;
mod facts;
mod live;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderName, header},
    response::{Html, IntoResponse},
    routing::{any, get, post},
};
use cohost_app::{BoxError, Context, File};
use serde::Deserialize;
use serde_json::json;

cohost_app::export!(app);

/// Starts the application: runs once, before its first request.
///
/// # Errors
/// When its settings are not as they should be. The host shows the error, with its causes.
pub async fn app(cx: Context) -> Result<Router, BoxError> {
    let settings: Settings = cx.settings()?;
    let file = match &settings.file {
        // Not relative to the working directory: applications share that one.
        Some(name) => File::open(cx.content_root().join(name))
            .await
            .map_err(|error| format!("cannot open {name}, which the setting `file` names: {error}"))?,
        None => file_of_our_own()?,
    };
    tracing::info!(generation = cx.generation(), settings = ?settings, "the sample application starts");
    Ok(router(Sample { host: Some(cx), settings, file: Some(file), counter: AtomicU64::new(0) }))
}

/// The application's settings in the host's configuration.
#[derive(Debug, Default, Deserialize)]
pub struct Settings {
    /// What the index page says, instead of "Hello, World!".
    pub greeting: Option<String>,
    /// A file in the content root, for `/file`.
    pub file: Option<String>,
}

/// What the handlers share. It lives as long as this generation of the application.
#[derive(Debug, Default)]
pub struct Sample {
    /// `None` in tests.
    pub host: Option<Context>,
    /// As they were at the start.
    pub settings: Settings,
    /// Opened once: `/file` goes on sending what was there at the start.
    pub file: Option<File>,
    /// Requests to `/counter`, so far.
    pub counter: AtomicU64,
}

/// The routes. They need no host: a test can call them.
pub fn router(sample: Sample) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/plaintext", get(async || "Hello, World!"))
        .route("/json", get(async || Json(json!({ "message": "Hello, World!" }))))
        .route("/info", any(facts::info))
        .route("/early-hints", get(facts::early_hints))
        .route("/echo", any(bodies::echo))
        .route("/bytes/{n}", get(bodies::bytes))
        .route("/file", get(bodies::file))
        // The host has a limit of its own; axum's is for handlers that take a whole body, such as `Bytes`.
        .route("/upload", post(bodies::upload).layer(DefaultBodyLimit::disable()))
        .route("/stream", get(live::stream))
        .route("/events", get(live::events))
        .route("/ws", get(live::web_socket))
        .route("/sleep/{ms}", get(live::sleep))
        .route("/counter", get(counter))
        .route("/panic", get(panic))
        .with_state(Arc::new(sample))
}

async fn index(State(sample): State<Arc<Sample>>) -> impl IntoResponse {
    let (base, generation) = sample.host.as_ref().map_or(("", 0), |cx| (cx.path_base(), cx.generation()));
    let greeting = sample.settings.greeting.as_deref().unwrap_or("Hello, World!");
    // Links on the page are relative to its `<base>`. The greeting comes last: nothing in it is replaced any more.
    let page = include_str!("index.html").replace("{{base}}", &escaped(base));
    let page = page.replace("{{generation}}", &generation.to_string());
    (PROTECTION, Html(page.replace("{{greeting}}", &escaped(greeting))))
}

/// What a page says of itself: it is what it is called, and in no frame of others.
const PROTECTION: [(HeaderName, &str); 2] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "base-uri 'self'; frame-ancestors 'self'"),
];

async fn counter(State(sample): State<Arc<Sample>>) -> String {
    format!("{}\n", sample.counter.fetch_add(1, Ordering::Relaxed) + 1)
}

/// One 500 for the client, one line in the host's log; the application goes on.
async fn panic() -> &'static str {
    panic!("somebody asked for /panic")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// A file without a name, which goes away with the application.
fn file_of_our_own() -> std::io::Result<File> {
    let (mut file, text) =
        (tempfile::tempfile()?, b"A file that the sample application wrote at its start.\n");
    std::io::copy(&mut &text[..], &mut file)?;
    Ok(File::from_std(file, 0, text.len() as u64))
}
