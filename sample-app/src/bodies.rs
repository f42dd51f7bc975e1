//! Bodies of any size, of which only a piece is ever in memory.

use std::{convert::Infallible, error::Error, sync::Arc};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use cohost_app::BodyError;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Sample;

/// Sends the body back while it still arrives, trailers included.
pub(crate) async fn echo(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut response = Response::new(body);
    // `trailer` announces trailers: HTTP/1.1 sends no others.
    for name in [header::CONTENT_TYPE, header::TRAILER] {
        if let Some(value) = head.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// Sends `n` bytes, and says so beforehand.
pub(crate) async fn bytes(Path(n): Path<u64>) -> impl IntoResponse {
    static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    let pieces = (0..n).step_by(PIECE.len()).map(move |sent| {
        let len = (n - sent).min(PIECE.len() as u64) as usize;
        Ok::<_, Infallible>(Bytes::from_static(&PIECE[..len]))
    });
    ([(header::CONTENT_LENGTH, n.to_string())], Body::from_stream(stream::iter(pieces)))
}

/// Lets the host send a file: its bytes do not pass through here.
pub(crate) async fn file(State(sample): State<Arc<Sample>>) -> Result<impl IntoResponse, StatusCode> {
    let file = sample.file.clone().ok_or(StatusCode::NOT_FOUND)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Extension(file)))
}

/// Counts and hashes the body.
pub(crate) async fn upload(body: Body) -> Result<Json<Value>, StatusCode> {
    let (mut body, mut size, mut hash) = (body.into_data_stream(), 0, Sha256::new());
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| status(&error))?;
        size += piece.len() as u64;
        hash.update(&piece);
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Json(json!({ "size": size, "sha256": hash })))
}

/// What to answer when a body ended before its end.
fn status(error: &axum::Error) -> StatusCode {
    match error.source().and_then(|cause| cause.downcast_ref::<BodyError>()) {
        Some(cut) if cut.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
        Some(cut) if cut.is_timeout() => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    }
}
