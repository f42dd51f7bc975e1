//! What has to be remembered of a request until it is answered.

use http::Method;

use crate::handshake::Handshake;

/// How the response has to be translated.
pub(crate) struct Plan {
    pub(crate) request_id: u64,
    /// The method the client sent.
    pub(crate) method: Method,
    /// Set for a WebSocket over HTTP/2 that the application sees as one over HTTP/1.1.
    pub(crate) translated: bool,
    /// hyper's side of an upgrade, where the client offered one.
    pub(crate) handshake: Option<Box<Handshake>>,
}

impl Plan {
    /// For a request as it came.
    pub(crate) fn new<B>(request: &http::Request<B>, request_id: u64) -> Self {
        Self { request_id, method: request.method().clone(), translated: false, handshake: None }
    }
}
