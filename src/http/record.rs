//! One access record a request, written when its response has left or broken off.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Frame, SizeHint};
use tower_service::Service;

use crate::{
    Body,
    body::BodyError,
    facts::{Connection, Facts, RequestId},
    failure::Code,
};

/// Writes the access records of `inner`.
#[derive(Clone, Debug)]
pub struct Record<S> {
    inner: S,
    kept: Kept,
}

/// Whether records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

impl<S> Record<S> {
    /// Around `inner`; without `access` it costs nothing.
    pub fn new(inner: S, access: bool) -> Self {
        Self { inner, kept: if access { Kept::Yes } else { Kept::No } }
    }
}

impl<S> Service<Request<Body>> for Record<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Recording<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Recording<S::Future> {
        let wanted =
            self.kept == Kept::Yes && tracing::enabled!(target: "cohost::access", tracing::Level::INFO);
        let entry = wanted.then(|| Box::new(Entry::new(&request)));
        Recording { inner: self.inner.call(request), entry }
    }
}

pin_project_lite::pin_project! {
    /// A response to come.
    pub struct Recording<F> {
        #[pin]
        inner: F,
        entry: Option<Box<Entry>>,
    }

    impl<F> PinnedDrop for Recording<F> {
        fn drop(this: Pin<&mut Self>) {
            // The client left before there was a response.
            if let Some(entry) = this.project().entry.take() {
                entry.write(0, Ending::Cancelled);
            }
        }
    }
}

impl<F: Future<Output = Result<Response<Body>, Infallible>>> Future for Recording<F> {
    type Output = Result<Response<Outgoing>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(cx));
        let mut entry = this.entry.take();
        if let Some(entry) = &mut entry {
            entry.answered(&response);
        }
        let sent = 0;
        Poll::Ready(Ok(response.map(|body| Outgoing { body, entry, sent, ending: Ending::Cancelled })))
    }
}

/// What is known of a request before its answer.
struct Entry {
    began: Instant,
    facts: Option<(std::sync::Arc<Connection>, RequestId)>,
    method: Method,
    uri: Uri,
    authority: Option<http::HeaderValue>,
    version: Version,
    status: Option<StatusCode>,
    failure: Option<Code>,
    head: Option<Instant>,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// To its end.
    Complete,
    /// The application broke it off.
    Cut,
    /// The client went away.
    Cancelled,
}

impl Entry {
    fn new(request: &Request<Body>) -> Self {
        let facts = request.extensions().get::<Facts>();
        Self {
            began: Instant::now(),
            facts: facts.map(|facts| (std::sync::Arc::clone(&facts.connection), facts.request_id)),
            method: request.method().clone(),
            uri: request.uri().clone(),
            authority: request.headers().get(http::header::HOST).cloned(),
            version: request.version(),
            status: None,
            failure: None,
            head: None,
        }
    }

    fn answered(&mut self, response: &Response<Body>) {
        self.status = Some(response.status());
        self.failure = response.extensions().get::<Code>().copied();
        self.head = Some(Instant::now());
    }

    fn write(&self, sent: u64, ending: Ending) {
        let micros =
            |until: Instant| u64::try_from(until.duration_since(self.began).as_micros()).unwrap_or(u64::MAX);
        let client = self.facts.as_ref().map(|(connection, _)| tracing::field::display(connection.peer));
        let request_id = self.facts.as_ref().map(|(_, id)| tracing::field::display(*id));
        let authority = match (self.uri.authority(), &self.authority) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host.to_str().unwrap_or_default(),
            (None, None) => "",
        };
        // 499 is what nginx made the custom for a client that left.
        let status = self.status.map_or(499, |status| status.as_u16());
        let complete =
            if self.status == Some(StatusCode::SWITCHING_PROTOCOLS) { Ending::Complete } else { ending };
        tracing::info!(
            target: "cohost::access",
            request_id,
            client,
            method = self.method.as_str(),
            authority,
            path = self.uri.path(),
            version = ?self.version,
            status,
            sent,
            head_us = self.head.map(micros),
            total_us = micros(Instant::now()),
            failure = self.failure.map(Code::as_str),
            ending = complete.word(),
            "request"
        );
    }
}

impl Ending {
    /// Nothing where nothing is remarkable.
    const fn word(self) -> Option<&'static str> {
        match self {
            Self::Complete => None,
            Self::Cut => Some("cut"),
            Self::Cancelled => Some("cancelled"),
        }
    }
}

/// A response body on its way out.
pub struct Outgoing {
    body: Body,
    entry: Option<Box<Entry>>,
    sent: u64,
    ending: Ending,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if self.entry.is_some() {
            self.count(frame.as_ref());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Outgoing {
    /// For nobody: leaves no record.
    pub(super) fn nothing() -> Self {
        Self { body: Body::empty(), entry: None, sent: 0, ending: Ending::Complete }
    }

    /// Leaves the body out.
    pub(super) fn silence(&mut self) {
        self.body = Body::empty();
    }

    fn count(&mut self, frame: Option<&Result<Frame<Bytes>, BodyError>>) {
        match frame {
            None => self.ending = Ending::Complete,
            Some(Ok(frame)) => self.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => {
                self.ending = Ending::Cut;
                tracing::debug!(%error, "response broken off");
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            // A body that ends with its last frame is not asked for another; that of a HEAD is not asked at all.
            let whole = http_body::Body::is_end_stream(&self.body) || entry.method == Method::HEAD;
            let ending =
                if whole && self.ending == Ending::Cancelled { Ending::Complete } else { self.ending };
            entry.write(self.sent, ending);
        }
    }
}
