//! An axum router: by itself, and as an application made with the SDK.

use std::convert::Infallible;

use axum::{
    Router,
    body::Body,
    response::IntoResponse,
    routing::{get, post},
};
use cohost_app::{Context, abi};
use http::{StatusCode, header};
use http_body_util::BodyExt as _;

use crate::{
    asked::{MEGABYTE, Pieces},
    rust_service::HELLO,
};

/// As the macro `export!` makes it, but not under the name that a library exports.
pub(crate) static APP: abi::App = cohost_app::descriptor(app, "bench\0", "1\0");

async fn app(_: Context) -> Result<Router, Infallible> {
    Ok(router())
}

/// The routes.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/plaintext", get(async || HELLO))
        .route("/bytes", get(download))
        .route("/upload", post(upload))
}

async fn download() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::new(Pieces { left: MEGABYTE }))
}

async fn upload(mut body: Body) -> Result<&'static str, StatusCode> {
    while let Some(frame) = body.frame().await {
        frame.map_err(|_| StatusCode::BAD_REQUEST)?;
    }
    Ok(HELLO)
}
