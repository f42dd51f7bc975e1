//! A request that offers a change of protocol.
//!
//! In: such a request. Out: the same, with hyper's `OnUpgrade`; a WebSocket over HTTP/2 looks like one over HTTP/1.1.
//! Never: touches any other request.

use http::{HeaderValue, Method, Request, Uri, Version, header};

use crate::{Body, Facts, handshake::Handshake, request::Plan};

/// What the extended CONNECT of HTTP/2 has no need of. Any 16 bytes do: the answer to them goes nowhere.
const KEY: HeaderValue = HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA==");

/// Puts hyper's `OnUpgrade` into the request's extensions.
pub(crate) fn offer_upgrade(request: &mut Request<Body>, plan: &mut Plan) {
    let Some((handshake, on_upgrade)) = Handshake::new() else { return };
    plan.handshake = Some(Box::new(handshake));
    request.extensions_mut().insert(on_upgrade);
    if is_extended_websocket(request) {
        plan.translated = true;
        to_http1(request);
    }
}

/// RFC 8441.
fn is_extended_websocket(request: &Request<Body>) -> bool {
    let protocol = request.extensions().get::<Facts>().map(Facts::protocol);
    *request.method() == Method::CONNECT && protocol == Some("websocket")
}

fn to_http1(request: &mut Request<Body>) {
    *request.method_mut() = Method::GET;
    *request.version_mut() = Version::HTTP_11;
    let authority = request.uri().authority().and_then(|name| HeaderValue::from_str(name.as_str()).ok());
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    let headers = request.headers_mut();
    if let Some(authority) = authority {
        headers.entry(header::HOST).or_insert(authority);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.entry(header::SEC_WEBSOCKET_KEY).or_insert(KEY);
    // The body is the stream after the change; before it there is none.
    *request.body_mut() = Body::empty();
}
