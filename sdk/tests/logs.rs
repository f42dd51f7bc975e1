//! What becomes of events and panics. A binary of its own: there is one global subscriber in each.
#![allow(clippy::unwrap_used, reason = "a test: it ends there")]

#[path = "seam/fake/mod.rs"]
#[allow(dead_code, reason = "this needs less of it than the other tests")]
mod fake;

use std::{
    convert::Infallible,
    sync::{LazyLock, atomic::Ordering},
};

use axum::{Router, routing::get};
use cohost_app::{
    Context,
    abi::{code, level},
};
use tracing::Instrument;

use crate::fake::{App, Call, Fake};

static APP: LazyLock<App> =
    LazyLock::new(|| Fake::new().start(cohost_app::descriptor(app, "logs\0", "1\0")).expect("it starts"));

async fn app(_: Context) -> Result<Router, Infallible> {
    tracing::info!("starting up");
    Ok(Router::new()
        .route("/typed", get(typed))
        .route("/spans", get(spans))
        .route("/log", get(async || log::warn!(target: "old::school", "a record of {}", 1)))
        .route("/debug", get(async || tracing::debug!("fine print")))
        .route("/panic", get(panics)))
}

async fn typed() {
    let error = std::io::Error::other("full");
    tracing::warn!(
        count = 3_u64,
        change = -4_i64,
        ratio = 0.5,
        yes = true,
        name = "n",
        error = &error as &(dyn std::error::Error + 'static),
        "typed {}",
        "event"
    );
}

async fn spans() {
    let span = tracing::info_span!("order", number = 9, by = tracing::field::Empty);
    span.record("by", "ann");
    let task = tokio::spawn(async { tracing::info!("on another thread") }.instrument(span));
    task.await.unwrap();
}

async fn panics() {
    panic!("told {}", "so");
}

fn call(path: &'static str, request_id: u64) -> Result<fake::Answer, cohost_app::abi::Code> {
    APP.call(Call { request_id, ..Call::get(path) })
}

#[test]
fn events_of_the_start_are_written_without_a_request() {
    LazyLock::force(&APP);

    let lines = APP.fake.lines_with("starting up");
    assert_eq!((lines.len(), lines[0].request_id, lines[0].level), (1, 0, level::INFO));
    assert_eq!(lines[0].target, "logs");
}

#[test]
fn fields_keep_their_types_and_the_request_its_number() {
    call("/typed", 41).unwrap();

    let lines = APP.fake.lines_with("typed event");
    let line = &lines[0];
    assert_eq!((lines.len(), line.request_id, line.level), (1, 41, level::WARN));
    let expected = [
        ("count", "3"),
        ("change", "-4"),
        ("ratio", "0.5"),
        ("yes", "true"),
        ("name", "n"),
        ("error", "full"),
    ];
    for (field, value) in expected {
        assert_eq!(line.get(field), Some(value), "{field}");
    }
}

#[test]
fn an_event_on_another_thread_has_the_request_of_its_span() {
    call("/spans", 42).unwrap();

    let line = &APP.fake.lines_with("on another thread")[0];
    assert_eq!(line.request_id, 42);
    assert_eq!(line.get("spans"), Some("order{number=9 by=ann}"));
}

#[test]
fn records_of_the_crate_log_are_written_with_their_target() {
    call("/log", 43).unwrap();

    let line = &APP.fake.lines_with("a record of 1")[0];
    assert_eq!((line.target.as_str(), line.level, line.request_id), ("old::school", level::WARN, 43));
}

#[test]
fn a_changed_filter_is_asked_for_again() {
    call("/debug", 44).unwrap();
    assert!(APP.fake.lines_with("fine print").is_empty());

    APP.fake.level.store(level::DEBUG as usize, Ordering::Relaxed);
    APP.log_filter_changed();
    call("/debug", 45).unwrap();

    assert_eq!(APP.fake.lines_with("fine print")[0].request_id, 45);
}

#[test]
fn a_panic_is_written_with_its_place_and_its_request() {
    assert_eq!(call("/panic", 46).err(), Some(code::E_PANIC));

    let line = &APP.fake.lines_with("told so")[0];
    assert_eq!((line.level, line.request_id), (level::ERROR, 46));
    assert!(line.message().contains("tests/logs.rs"), "{}", line.message());
    assert!(line.message().contains("panics::{{closure}}"), "a backtrace: {}", line.message());
}
