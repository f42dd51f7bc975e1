//! An application that misbehaves as it is told.
//!
//! In: the setting `fault`, for what goes wrong at the start and at the end; paths, for what goes wrong in between.
//! Out: an application library with every fault that an application in Rust can have, and a gRPC service.
//! Never: a fault that nobody asked for.

mod bodies;
mod crash;
mod lifecycle;
mod logs;
mod waiting;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{any, get},
};
use cohost_app::{BoxError, Context};

use lifecycle::Ending;

cohost_app::export!(app);

/// What the handlers share.
pub(crate) struct Shared {
    cx: Context,
    // Dropped with the service, when the application ends.
    _ending: Ending,
}

async fn app(cx: Context) -> Result<Router, BoxError> {
    let ending = lifecycle::start(&cx).await?;
    Ok(router(cx, ending))
}

fn router(cx: Context, ending: Ending) -> Router {
    Router::new()
        .route("/", get(async || "ok\n"))
        .route("/setting/{key}", get(setting))
        .route("/generation", get(generation))
        .route("/status/{status}", any(status))
        .merge(crash::router())
        .merge(bodies::router())
        .merge(waiting::router())
        .merge(logs::router())
        .with_state(Arc::new(Shared { cx, _ending: ending }))
        .merge(test_grpc::router())
        .nest("/grpc", test_grpc::router())
}

async fn setting(State(shared): State<Arc<Shared>>, Path(key): Path<String>) -> Result<String, StatusCode> {
    shared.cx.setting(&key).ok_or(StatusCode::NOT_FOUND)
}

async fn generation(State(shared): State<Arc<Shared>>) -> String {
    format!("{}\n", shared.cx.generation())
}

/// Any status, with a body: also those that cannot have one.
async fn status(Path(status): Path<u16>) -> Result<(StatusCode, &'static str), StatusCode> {
    let status = StatusCode::from_u16(status).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok((status, "a body of the application's\n"))
}
