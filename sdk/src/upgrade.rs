//! Changing a connection's protocol without hyper.
//!
//! In: what to do with the stream. Out: an extension for the response with status 101.
//! Never: speaks the new protocol; that is the application's.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderValue, Response, StatusCode, header};
use tokio::runtime::Handle;

use crate::Io;

type Start = Box<dyn FnOnce(Io) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What to do with the raw stream once the protocol was changed: put it into the extensions of a response with
/// status 101 (or of a 2xx to a CONNECT).
///
/// The future runs as a task of the application's runtime. It is never started when the client goes away first.
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// fn echo() -> http::Response<String> {
///     cohost_app::Upgrade::new(|mut io: cohost_app::Io| async move {
///         let mut buffer = [0; 1024];
///         while let Ok(n @ 1..) = io.read(&mut buffer).await {
///             if io.write_all(&buffer[..n]).await.is_err() {
///                 break;
///             }
///         }
///     })
///     .into_response(http::HeaderValue::from_static("echo"))
/// }
/// ```
///
/// Libraries that are made for hyper, and axum's `WebSocketUpgrade`, need none of this: hyper's `OnUpgrade` is among
/// the extensions of every request that can be upgraded.
// Extensions have to be `Clone`; whichever clone comes first has it.
#[derive(Clone)]
pub struct Upgrade(Arc<Mutex<Option<Start>>>);

impl Upgrade {
    /// Runs `start` with the stream.
    pub fn new<F, Fut>(start: F) -> Self
    where
        F: FnOnce(Io) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let start: Start = Box::new(move |io| Box::pin(start(io)));
        Self(Arc::new(Mutex::new(Some(start))))
    }

    /// The response 101 that changes to `protocol`.
    #[must_use]
    pub fn into_response<B: Default>(self, protocol: HeaderValue) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(header::UPGRADE, protocol);
        response.extensions_mut().insert(self);
        response
    }

    pub(crate) fn start(&self, runtime: &Handle, io: Io) {
        let start = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(start) = start {
            runtime.spawn(start(io));
        }
    }
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}
