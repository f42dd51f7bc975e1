//! What the host knows of a request beyond HTTP, as JSON, and the one thing that only the host can do.

use axum::{
    Extension, Json,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use cohost_app::Facts;
use serde_json::{Value, json};

pub(crate) async fn info(Extension(facts): Extension<Facts>, request: Request) -> Json<Value> {
    tracing::debug!(path = request.uri().path(), "telling what is known of a request");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), text(value.as_bytes())));
    Json(json!({
        "method": request.method().as_str(), "version": format!("{:?}", facts.version()),
        "scheme": facts.scheme(), "authority": facts.authority(), "target": text(facts.target()),
        "path_base": facts.path_base(), "path": text(facts.path_decoded()), "query": request.uri().query(),
        "client": facts.peer(), "local": facts.local(), "binding": facts.binding(),
        "tls": facts.tls().map(|tls| json!({
            "version": format!("{:#06x}", tls.version()), "cipher": format!("{:#06x}", tls.cipher()),
            "sni": tls.sni(), "alpn": text(tls.alpn()), "client_certificates": tls.client_chain().count(),
        })),
        "trace": facts.trace().map(|trace| json!({
            "trace_id": format!("{:032x}", u128::from_be_bytes(trace.trace_id)), "flags": trace.flags,
            "parent_span_id": format!("{:016x}", u64::from_be_bytes(trace.parent_span_id)),
        })),
        "connection_id": facts.connection_id(), "request_id": format!("{:016x}", facts.request_id()),
        "time_left_ms": facts.time_left().map(|left| left.as_millis() as u64), "pid": std::process::id(),
        "headers": headers.collect::<Vec<_>>(),
        // `std` names only threads of this library's own; this one is mostly the host's.
        "thread": std::fs::read_to_string("/proc/thread-self/comm").ok().as_deref().map(str::trim_end),
    }))
}

/// Tells the client what it will need, before the answer is ready.
pub(crate) async fn early_hints(Extension(facts): Extension<Facts>) -> String {
    let link = HeaderValue::from_static("<style.css>; rel=preload; as=style");
    match facts.inform(StatusCode::EARLY_HINTS, &HeaderMap::from_iter([(header::LINK, link)])) {
        Ok(()) => "103 was sent\n".to_owned(),
        Err(error) => format!("103 was not sent: {error}\n"),
    }
}
