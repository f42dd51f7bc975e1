//! An application that misbehaves as it is told.
//!
//! In: the setting `fault`, for what goes wrong at the start and at the end; paths, for what goes wrong in between.
//! Out: an application library with every fault that an application in Rust can have, and a gRPC service.
//! Never: a fault that nobody asked for.

mod bodies;
mod crash;
mod lifecycle;
mod logs;
mod remains;
mod waiting;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    routing::{any, get},
};
use cohost_app::{BoxError, Context, Facts};
use serde_json::{Value, json};

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
        .route("/fields", any(fields))
        .route("/seen/{*path}", any(seen))
        .merge(crash::router())
        .merge(bodies::router())
        .merge(waiting::router())
        .merge(logs::router())
        .merge(remains::router())
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

/// Sends back the fields whose names begin with `x-`, each as often as it came.
async fn fields(sent: HeaderMap) -> HeaderMap {
    sent.iter()
        .filter(|(name, _)| name.as_str().starts_with("x-"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .fold(HeaderMap::new(), |mut fields, (name, value)| {
            fields.append(name, value);
            fields
        })
}

/// What a request says of its target.
async fn seen(Extension(facts): Extension<Facts>, uri: Uri) -> Json<Value> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Json(json!({
        "target": text(facts.target()), "path": uri.path(), "decoded": text(facts.path_decoded()),
        "query": uri.query(),
    }))
}

/// Any status, with a body: also those that cannot have one.
async fn status(Path(status): Path<u16>) -> Result<(StatusCode, &'static str), StatusCode> {
    let status = StatusCode::from_u16(status).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok((status, "a body of the application's\n"))
}
