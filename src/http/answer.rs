//! The last place where a [`Failure`] is one: outside it there are only responses.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response, header};
use tower_service::Service;

use super::{Audience, ErrorPage};
use crate::{
    Body, Failure,
    facts::{Facts, RequestId},
    failure,
};

/// Makes responses of failures.
#[derive(Clone, Debug)]
pub struct Answer<S> {
    inner: S,
    page: Arc<ErrorPage>,
}

impl<S> Answer<S> {
    /// Answers for `inner` as `page` says.
    pub fn new(inner: S, page: Arc<ErrorPage>) -> Self {
        Self { inner, page }
    }
}

impl<S> Service<Request<Body>> for Answer<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<Failure>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The services of this crate are always ready; one that is not says so in its answer.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering<S::Future> {
        let wants = Wants::of(&request);
        Answering { inner: self.inner.call(request), page: Arc::clone(&self.page), wants }
    }
}

/// What the client can show, and how the request is named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub(super) form: Form,
    pub(super) request_id: Option<RequestId>,
}

/// A form of error page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Html,
    /// `application/problem+json`, RFC 9457.
    Problem,
    /// A status of gRPC, whose clients understand nothing else.
    Grpc,
}

impl Wants {
    /// What `request` says about it; so little, because it travels with every request.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let request_id = request.extensions().get::<Facts>().map(|facts| facts.request_id);
        let mut form = Form::Problem;
        // In a line: a request has few fields, and looking names up costs more than passing them all.
        for (name, value) in request.headers() {
            match *name {
                header::ACCEPT if form == Form::Problem && names_html(value.as_bytes()) => form = Form::Html,
                header::CONTENT_TYPE if is_grpc(value.as_bytes()) => form = Form::Grpc,
                _ => {}
            }
        }
        Self { form, request_id }
    }
}

/// Whether somebody who accepts this is to see HTML: whoever names it, browsers do.
fn names_html(accept: &[u8]) -> bool {
    const HTML: &[u8] = b"text/html";
    // Browsers name it first; most others say little.
    accept.starts_with(HTML) || (accept.len() > HTML.len() && memchr::memmem::find(accept, HTML).is_some())
}

/// Whether a request with this `Content-Type` is a call of gRPC, whose clients understand nothing but a status of their
/// own. `application/grpc-web` is another protocol.
#[must_use]
pub fn is_grpc(content: &[u8]) -> bool {
    matches!(content.strip_prefix(b"application/grpc"), Some(b"" | [b'+' | b';', ..]))
}

pin_project_lite::pin_project! {
    /// A response to come.
    pub struct Answering<F> {
        #[pin]
        inner: F,
        page: Arc<ErrorPage>,
        wants: Wants,
    }
}

impl<F, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
    E: Into<Failure>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(Ok(match ready!(this.inner.poll(cx)) {
            Ok(response) => response,
            Err(failure) => answer(&failure.into(), this.page, *this.wants),
        }))
    }
}

#[cold]
pub(super) fn answer(failure: &Failure, page: &ErrorPage, wants: Wants) -> Response<Body> {
    if page.audience == Audience::Client {
        note(failure, wants);
    }
    let mut response = page.response(failure, wants);
    // The access record names it.
    response.extensions_mut().insert(failure.code);
    response
}

/// Writes the failure down once, here, where it is handled.
fn note(failure: &Failure, wants: Wants) {
    let request_id = wants.request_id.map(tracing::field::display);
    let cause = failure.source.as_ref().map(tracing::field::display);
    let (code, detail) = (failure.code.as_str(), &*failure.detail);
    if failure.code.blame() == failure::Blame::Client {
        tracing::debug!(request_id, failure = code, detail, cause, "request refused");
    } else {
        tracing::warn!(request_id, failure = code, detail, cause, "request failed");
    }
}

impl From<Infallible> for Failure {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
