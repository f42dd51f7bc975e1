//! Answers are compressed on their way to clients that can read it.
//!
//! In: an answer. Out: the same in fewer bytes, if its kind, its size, and its client are such. Never: compresses twice,
//! changes a piece of something larger, or keeps an event until the next one comes.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
    },
};
use http_body::Body as _;
use tower_service::Service;

use super::coding::{Coded, Encoder};
use crate::{
    Body, Failure,
    files::tags,
    front::{self, Algorithm},
};

/// Compresses the answers of `inner`.
#[derive(Clone, Debug)]
pub struct Compression<S> {
    inner: S,
    wanted: Arc<front::Compression>,
}

impl<S> Compression<S> {
    /// In front of `inner`.
    #[must_use]
    pub fn new(wanted: front::Compression, inner: S) -> Self {
        Self { inner, wanted: Arc::new(wanted) }
    }
}

impl<S> Service<Request<Body>> for Compression<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure>,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Compressing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Compressing<S::Future> {
        let asked = Asked::of(&request, &self.wanted);
        Compressing { inner: self.inner.call(request), asked, wanted: Arc::clone(&self.wanted) }
    }
}

pin_project_lite::pin_project! {
    /// An answer to come.
    pub struct Compressing<F> {
        #[pin]
        inner: F,
        asked: Asked,
        wanted: Arc<front::Compression>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Failure>>> Future for Compressing<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        Poll::Ready(answer.map(|answer| compressed(answer, this.asked, this.wanted)))
    }
}

/// What has to be known of the request when its answer comes.
struct Asked {
    algorithm: Option<Algorithm>,
    is_head: bool,
    /// An answer to it is no representation of anything.
    is_connect: bool,
    /// Usually none.
    if_none_match: Vec<HeaderValue>,
}

impl Asked {
    fn of(request: &Request<Body>, wanted: &front::Compression) -> Self {
        let fields = request.headers();
        Self {
            algorithm: wanted.choose(fields.get_all(ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes)),
            is_head: request.method() == Method::HEAD,
            is_connect: request.method() == Method::CONNECT,
            if_none_match: fields.get_all(IF_NONE_MATCH).iter().cloned().collect(),
        }
    }
}

fn compressed(mut answer: Response<Body>, asked: &Asked, wanted: &front::Compression) -> Response<Body> {
    if [StatusCode::NOT_MODIFIED, StatusCode::PARTIAL_CONTENT].contains(&answer.status()) {
        instead_of_the_whole(&mut answer, asked, wanted);
        return answer;
    }
    if !is_eligible(&answer, asked, wanted) {
        return answer;
    }
    // Also where this client gets it as it is: the next may not, and caches must not confuse them.
    vary(answer.headers_mut());
    let Some(algorithm) = asked.algorithm else { return answer };
    let fields = answer.headers_mut();
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(algorithm.as_str()));
    fields.remove(CONTENT_LENGTH);
    // Places in what is sent are not those in what the application has.
    fields.remove(ACCEPT_RANGES);
    if let Some(weak) = fields.get(ETAG).and_then(weakened) {
        fields.insert(ETAG, weak);
    }
    if asked.is_head {
        // Whatever was there has a length that a GET would not have.
        return answer.map(|_| Body::empty());
    }
    let encoder = Encoder::new(algorithm, wanted.level);
    answer.map(|body| Body::new(Coded::new(body, encoder, Into::into)))
}

/// Whether an answer would be compressed for a client that can read it.
fn is_eligible(answer: &Response<Body>, asked: &Asked, wanted: &front::Compression) -> bool {
    let (status, fields) = (answer.status(), answer.headers());
    if status.is_informational()
        || status == StatusCode::NO_CONTENT
        || (asked.is_connect && status.is_success())
        || is_large_enough(answer, asked, wanted) != Some(true)
    {
        return false;
    }
    let content_type = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|content_type| wanted.concerns(content_type))
        && !BOUND.iter().any(|name| fields.contains_key(name))
        && !must_not_be_transformed(fields)
}

fn must_not_be_transformed(fields: &HeaderMap) -> bool {
    fields.get_all(CACHE_CONTROL).iter().any(|value| names(value, b"no-transform"))
}

/// `None` for an answer without a body.
fn is_large_enough(answer: &Response<Body>, asked: &Asked, wanted: &front::Compression) -> Option<bool> {
    let declared = || answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    let exact = answer.body().size_hint().exact();
    let size: Option<u64> = match asked.is_head {
        // Without a body it may be that of an application that makes none for HEAD.
        true => declared().or(exact.filter(|size| *size > 0)),
        false => exact.or_else(declared),
    };
    match size {
        Some(0) => None,
        Some(size) => Some(size >= wanted.min_size),
        // A stream, which may become any size.
        None => Some(true),
    }
}

/// An answer that stands for a whole which others may get compressed says so, as that would.
fn instead_of_the_whole(answer: &mut Response<Body>, asked: &Asked, wanted: &front::Compression) {
    let status = answer.status();
    let fields = answer.headers_mut();
    // Where nothing changed, hardly anybody says of what kind it is; with several parts, only they do.
    let kind = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let may_be = |kind: &str| wanted.concerns(kind) || kind.starts_with("multipart/byteranges");
    let stays =
        fields.contains_key(CONTENT_ENCODING) || !kind.is_none_or(may_be) || must_not_be_transformed(fields);
    if stays {
        return;
    }
    vary(fields);
    // If what the client has was compressed, its tag was weak, and is so now. A part is of what is not compressed.
    let weak = fields.get(ETAG).and_then(weakened).filter(|_| status == StatusCode::NOT_MODIFIED);
    if let Some(weak) = weak.filter(|weak| asked.has_weak(weak)) {
        fields.insert(ETAG, weak);
    }
}

impl Asked {
    /// Whether the client has something under this weak tag, rather than under the strong one.
    fn has_weak(&self, weak: &HeaderValue) -> bool {
        let weak = weak.as_bytes();
        let has = |tag: &[u8]| {
            self.if_none_match.iter().any(|list| tags(list.as_bytes()).any(|other| other == tag))
        };
        // Who names neither has what it would get now.
        has(weak) || (self.algorithm.is_some() && !has(&weak[b"W/".len()..]))
    }
}

/// A strong tag as a weak one: what is sent means the same, and is not the same bytes.
fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    if !tag.as_bytes().starts_with(b"\"") {
        return None;
    }
    HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()
}

fn vary(fields: &mut HeaderMap) {
    let has = fields
        .get_all(VARY)
        .iter()
        .any(|value| names(value, b"*") || names(value, ACCEPT_ENCODING.as_str().as_bytes()));
    if !has {
        fields.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Whether the list `value` has `name` in it.
fn names(value: &HeaderValue, name: &[u8]) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(name))
}

/// What is compressed already, or says something of the very bytes that are sent.
static BOUND: [HeaderName; 4] = [
    CONTENT_ENCODING,
    CONTENT_RANGE,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
];

#[cfg(test)]
mod tests;
