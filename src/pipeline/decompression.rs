//! Applications get bodies of requests unpacked.
//!
//! What is behind counts the bytes that come out: a small body that becomes a large one is refused as a large one, and no
//! more of it is unpacked than somebody reads. Several encodings on top of each other are refused.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body as _;
use tower_service::Service;

use super::coding::{Coded, Decoder};
use crate::{Body, Failure, failure::Code, front::Algorithm};

/// Unpacks the request bodies of `inner`.
#[derive(Clone, Debug)]
pub struct Decompression<S> {
    inner: S,
}

impl<S> Decompression<S> {
    /// In front of `inner`.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Request<Body>> for Decompression<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure>,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Unpacking<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Unpacking<S::Future> {
        match packed(&request) {
            Packed::No => Unpacking { inner: Some(self.inner.call(request)), failure: None, broken: None },
            Packed::By(algorithm) => {
                let broken = Arc::new(OnceLock::new());
                let request = unpacked(request, algorithm, &broken);
                Unpacking { inner: Some(self.inner.call(request)), failure: None, broken: Some(broken) }
            }
            Packed::Otherwise(encoding) => {
                let failure = Failure::new(Code::UnknownEncoding)
                    .detail(encoding)
                    .field(ACCEPT_ENCODING, HeaderValue::from_static(KNOWN));
                Unpacking { inner: None, failure: Some(failure), broken: None }
            }
        }
    }
}

pin_project_lite::pin_project! {
    /// An answer to come.
    pub struct Unpacking<F> {
        // None: refused.
        #[pin]
        inner: Option<F>,
        failure: Option<Failure>,
        // What was wrong with the body, if somebody came to know it.
        broken: Option<Arc<OnceLock<String>>>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Failure>>> Future for Unpacking<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(Err(this.failure.take().expect("polled after it was ready")));
        };
        let answer = ready!(inner.poll(cx));
        // Whatever the application makes of a body that breaks off: it was the client's fault.
        match this.broken.as_ref().and_then(|broken| broken.get()) {
            Some(detail) => Poll::Ready(Err(bad(detail))),
            None => Poll::Ready(answer),
        }
    }
}

/// How a body is packed.
enum Packed {
    No,
    By(Algorithm),
    /// In a way that nobody here knows.
    Otherwise(String),
}

fn packed(request: &Request<Body>) -> Packed {
    let fields = request.headers();
    let mut encodings = fields.get_all(CONTENT_ENCODING).iter();
    let Some(encoding) = encodings.next() else { return Packed::No };
    if request.method() == Method::CONNECT || request.body().is_end_stream() || is_grpc(fields) {
        return Packed::No;
    }
    let name = encoding.as_bytes().trim_ascii();
    match (Algorithm::named(name), encodings.next()) {
        (Some(algorithm), None) => Packed::By(algorithm),
        (None, None) if name.eq_ignore_ascii_case(b"identity") => Packed::No,
        _ => Packed::Otherwise(String::from_utf8_lossy(name).into_owned()),
    }
}

fn is_grpc(fields: &HeaderMap) -> bool {
    fields.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn unpacked(request: Request<Body>, algorithm: Algorithm, broken: &Arc<OnceLock<String>>) -> Request<Body> {
    let broken = Arc::clone(broken);
    let refuse = move |error: io::Error| {
        let detail = format!("the body is not {}: {error}", algorithm.as_str());
        let failure = bad(&detail);
        // Only the first one counts, and there is only one.
        let _ = broken.set(detail);
        failure.into()
    };
    let mut request = request.map(|body| Body::new(Coded::new(body, Decoder::new(algorithm), refuse)));
    let fields = request.headers_mut();
    fields.remove(CONTENT_ENCODING);
    fields.remove(CONTENT_LENGTH);
    request
}

fn bad(detail: &str) -> Failure {
    Failure::new(Code::BadRequest).detail(detail)
}

/// What a client may try instead: RFC 9110, section 12.5.3.
const KNOWN: &str = "zstd, br, gzip";
