//! What surrounds one request: its facts, its normal form, its record, and the page that a failure becomes.
//!
//! This is one service and not a stack of them: each that hands a request on by value copies it, and what they do is
//! little.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tower_service::Service;

use super::{
    ErrorPage, Outgoing,
    ahead::{self, Ahead, Mode, Over},
    answer::{self, Form, Wants},
    limits::{Limits, Pace},
    progress::Progress,
    record::{Kept, Record},
    target,
};
use crate::{
    Body, Failure,
    facts::{Connection, Facts},
    failure::Code,
    forwarded::{self, Trust},
};

/// What is done for every request besides handing it on.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    page: Arc<ErrorPage>,
    records: Kept,
    trust: Trust,
    /// Fields that a request may have.
    max_fields: usize,
    pace: Option<Pace>,
}

impl Around {
    /// Failures are shown as `page` says; each request leaves a record where `access` is set; whom `trust` covers is
    /// believed for whom he speaks.
    pub(crate) fn new(page: ErrorPage, access: bool, trust: Trust, limits: &Limits) -> Self {
        let records = if access { Kept::Yes } else { Kept::No };
        let max_fields = limits.max_fields.unwrap_or(usize::MAX);
        Self { page: Arc::new(page), records, trust, max_fields, pace: limits.body }
    }
}

/// The requests of one connection: hyper's as ours.
pub(super) struct Requests<S> {
    // Not a clone for each request: the counts of what clones share are fought for by all threads, this lock by none.
    service: Mutex<S>,
    around: Around,
    /// Whether the peer is a proxy that is believed for whom it speaks.
    trusted: bool,
    connection: Arc<Connection>,
    progress: Arc<Progress>,
}

impl<S> Requests<S> {
    pub(super) fn new(
        service: S,
        around: Around,
        connection: Arc<Connection>,
        progress: Arc<Progress>,
    ) -> Self {
        let trusted = around.trust.covers(&connection.peer);
        Self { service: Mutex::new(service), around, trusted, connection, progress }
    }
}

impl<S> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Into<Failure>>,
{
    type Response = Response<Outgoing>;
    type Error = Aborted;
    type Future = Responding<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Responding<S::Future> {
        // What follows a change of protocols is no answer, and nobody reads for more requests.
        let upgrade = request.extensions().get::<OnUpgrade>().is_some();
        match request.version() <= Version::HTTP_11 && !upgrade {
            true => self.progress.request(),
            false => self.progress.urgent(),
        }
        if let Some(length @ 1..) = request.body().size_hint().exact() {
            self.progress.body(length);
        }
        let mut facts = Facts::new(Arc::clone(&self.connection));
        if self.trusted {
            // Before everything that asks for client, scheme or authority.
            forwarded::believe(&mut request, &mut facts, &self.around.trust);
        }
        facts.put_into(request.extensions_mut());
        let asked = Asked {
            wants: Wants::of(&request),
            version: request.version(),
            head: *request.method() == Method::HEAD,
        };
        // A call of gRPC may be a conversation, in which both sides take their time.
        let pace = self.around.pace.filter(|_| asked.wants.form != Form::Grpc);
        let (mut request, ahead) = both_ends(request, pace);
        let record = Record::begin(self.around.records, &request);
        // Before anything that looks at a path: all stages see one spelling of it.
        let right = target::count_fields(request.headers(), self.around.max_fields)
            .and_then(|()| target::normalise(&mut request));
        let inner = match right {
            Ok(()) => {
                let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
                Inner::Answering { answer: service.call(request) }
            }
            Err(why) => Inner::Refused { why: Box::new(why) },
        };
        let (page, connection) = (Arc::clone(&self.around.page), Arc::clone(&self.connection));
        Responding { inner, ahead, record, asked, page, connection }
    }
}

/// Looks out for the client where hyper would not, and at the time that its body takes.
fn both_ends(request: Request<Incoming>, pace: Option<Pace>) -> (Request<Body>, Option<Ahead>) {
    if request.body().is_end_stream() {
        return (request.map(Body::from), None);
    }
    let as_asked = request.version() > Version::HTTP_11 // HTTP/2 tells of a client's end by itself
        || request.headers().contains_key(header::EXPECT); // reading would ask for it
    let mode = if as_asked { Mode::AsAsked } else { Mode::Ahead };
    if as_asked && pace.is_none() {
        return (request.map(Body::from), None);
    }
    let (parts, body) = request.into_parts();
    let (body, ahead) = ahead::read(body, mode, pace);
    (Request::from_parts(parts, Body::new(body)), Some(ahead))
}

/// A request gets no answer: hyper closes its connection, or resets its stream.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not answered, as a rule says")]
pub(super) struct Aborted;

/// What of a request decides how it is answered.
struct Asked {
    wants: Wants,
    version: Version,
    head: bool,
}

pin_project_lite::pin_project! {
    /// A response to come, which will say if it is the connection's last.
    pub(super) struct Responding<F> {
        #[pin]
        inner: Inner<F>,
        ahead: Option<Ahead>,
        record: Record,
        asked: Asked,
        page: Arc<ErrorPage>,
        connection: Arc<Connection>,
    }
}

pin_project_lite::pin_project! {
    /// Where the answer comes from.
    #[project = Source]
    enum Inner<F> {
        Answering { #[pin] answer: F },
        Refused { why: Box<Failure> },
        // Nobody waits for it any more.
        Gone,
    }
}

impl<F, E> Future for Responding<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
    E: Into<Failure>,
{
    type Output = Result<Response<Outgoing>, Aborted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut last = false;
        let page = |failure: &Failure| answer::answer(failure, this.page, this.asked.wants);
        let response = match this.inner.as_mut().project() {
            Source::Answering { answer } => match answer.poll(cx) {
                Poll::Ready(Ok(response)) => response,
                Poll::Ready(Err(failure)) => {
                    let failure = failure.into();
                    if failure.code == Code::Aborted {
                        this.record.aborted();
                        return Poll::Ready(Err(Aborted));
                    }
                    page(&failure)
                }
                Poll::Pending => {
                    let Some(ahead) = this.ahead else { return Poll::Pending };
                    let over = ready!(ahead.poll_over(cx));
                    // This is the cancellation.
                    this.inner.set(Inner::Gone);
                    last = true;
                    match over {
                        // What is answered goes nowhere.
                        Over::Gone => return Poll::Ready(Ok(Response::new(Outgoing::nothing()))),
                        // Nobody can tell any more where the next request begins.
                        Over::TooSlow => page(&Failure::new(Code::BodyTimeout)),
                        Over::Malformed => {
                            page(&Failure::new(Code::BadRequest).detail("the body is malformed"))
                        }
                    }
                }
            },
            // Whoever sent that may mean something else by what is behind it.
            Source::Refused { why } => {
                last = true;
                page(why)
            }
            Source::Gone => return Poll::Pending,
        };
        let mut response = this.record.answered(response);
        response.body_mut().cut_for(this.asked.version);
        if this.asked.head {
            without_body(&mut response);
        }
        if last || this.connection.is_closing() {
            say_last(&mut response, this.asked.version);
        }
        Poll::Ready(Ok(response))
    }
}

/// What answers a HEAD: the fields of a GET. hyper leaves the body out by itself, but in HTTP/1.1 only.
fn without_body(response: &mut Response<Outgoing>) {
    let length = response.body().size_hint().exact().filter(|length| *length > 0);
    if let Some(length) = length {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response.body_mut().silence();
}

/// Tells the client that the connection ends with this response, where the protocol has a field for it.
fn say_last(response: &mut Response<Outgoing>, version: Version) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS && version <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}
