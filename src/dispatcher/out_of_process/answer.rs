//! The instance's answer on its way to the client.
//!
//! In: hyper's response or error. Out: the response with its end-to-end fields and a body that holds the lease, or
//! the [`Failure`]. Never: lets a response that was cut short look complete.

use std::{
    error::Error as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{
    pool::{Carrier, Lease, Rest},
    upload::Watch,
};
use crate::{Body, Failure, body::BodyError, dispatcher::fields, failure::Code};

/// The response for the client.
pub(super) fn pass(
    mut answer: Response<Incoming>,
    exchange: Exchange,
    idle: Option<Duration>,
) -> Result<Response<Body>, Failure> {
    if fields::is_ambiguous(answer.headers()) {
        return Err(Failure::new(Code::BadGateway).detail("the instance gave its answer two lengths"));
    }
    fields::clean_response(answer.headers_mut());
    // What the instance speaks is between it and us; the front knows what its client speaks.
    *answer.version_mut() = Version::HTTP_11;
    Ok(answer.map(|incoming| {
        if incoming.is_end_stream() {
            exchange.finish();
            return Body::empty();
        }
        Body::new(Answer { incoming, exchange: Some(exchange), idle: idle.map(Idle::new) })
    }))
}

/// Lets go of an answer that is not passed on.
pub(super) fn discard(answer: &Response<Incoming>, exchange: Exchange) {
    if answer.body().is_end_stream() {
        exchange.finish();
    }
    // Otherwise dropping the exchange closes the stream.
}

/// Why there is no answer, from what hyper says and what is known of the request's body.
pub(super) fn lost(error: hyper::Error, watch: Option<&Watch>) -> Failure {
    if let Some(failure) = watch.and_then(Watch::failure) {
        return failure;
    }
    let code = if error.is_parse() { Code::BadGateway } else { Code::InstanceLost };
    Failure::new(code).detail(described(&error)).source(error)
}

fn described(error: &hyper::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// What an exchange holds until its answer has ended.
pub(super) struct Exchange {
    pub(super) lease: Lease,
    pub(super) watch: Option<Arc<Watch>>,
    pub(super) carrier: Carrier,
}

impl Exchange {
    fn finish(self) {
        match &self.watch {
            // Nobody will ever ask for the body: close instead of waiting with it.
            Some(watch) if watch.is_shut() => self.abandon(),
            Some(watch) if !watch.is_done() => self.lease.finish(Rest::UnderWay),
            _ => self.lease.finish(Rest::Nothing),
        }
    }

    fn abandon(self) {
        if let Some(watch) = &self.watch {
            watch.stop();
        }
        // Dropping the lease closes the instance's stream.
    }
}

/// A response body that gives the connection back when it has ended, and closes it when it is dropped before.
struct Answer {
    incoming: Incoming,
    exchange: Option<Exchange>,
    idle: Option<Idle>,
}

impl Answer {
    fn frame(&mut self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(idle) = &mut self.idle {
            idle.rearm = true;
        }
        if let Some(trailers) = frame.trailers_mut() {
            fields::clean_response_trailers(trailers);
        }
        // Who reads may stop here without asking for the end.
        if frame.is_trailers() || self.incoming.is_end_stream() {
            self.finish();
        }
        frame
    }

    fn end(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        // hyper takes a reset with NO_ERROR for an end of the stream; it is one only if the stream says so.
        let unfinished =
            |exchange: &Exchange| exchange.carrier == Carrier::Http2 && !self.incoming.is_end_stream();
        if self.exchange.as_ref().is_some_and(unfinished) {
            return Some(Err(self.cut("the instance reset the stream", None)));
        }
        self.finish();
        None
    }

    fn finish(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.finish();
        }
    }

    fn cut(&mut self, what: impl Into<String>, source: Option<hyper::Error>) -> BodyError {
        let clients = self.exchange.as_ref().and_then(|exchange| exchange.watch.as_ref()?.failure());
        self.abandon();
        let mut failure = clients.unwrap_or_else(|| Failure::new(Code::InstanceLost).detail(what));
        if let Some(source) = source {
            failure = failure.source(source);
        }
        failure.into()
    }

    fn abandon(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.abandon();
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(self.frame(frame)))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.cut(described(&error), Some(error))))),
            Poll::Ready(None) => Poll::Ready(self.end()),
            Poll::Pending => {
                let Some(limit) = self.idle.as_mut().and_then(|idle| idle.poll(cx)) else {
                    return Poll::Pending;
                };
                let what = format!("the instance sent no more of its answer within {limit:?}");
                Poll::Ready(Some(Err(self.cut(what, None))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// The time since the last frame, counted only while somebody waits for the next.
struct Idle {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    rearm: bool,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self { limit, sleep: None, rearm: true }
    }

    /// The limit, once it is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Duration> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if std::mem::take(&mut self.rearm) {
            sleep.as_mut().reset(Instant::now() + limit);
        }
        sleep.as_mut().poll(cx).is_ready().then_some(limit)
    }
}
