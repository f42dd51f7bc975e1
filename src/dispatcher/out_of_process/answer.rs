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
    connection::unwoken,
    pool::{Carrier, Lease, Rest},
    upload::Watch,
};
use crate::{Body, Failure, body::BodyError, endpoint::Place, failure::Code, fields};

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
        let idle = idle.map(Idle::new);
        let mut answer = Answer { incoming, exchange: Some(exchange), ahead: None, fresh: true, idle };
        answer.look_ahead();
        match answer.whole() {
            Some(whole) => Body::from(whole),
            None => Body::new(answer),
        }
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
/// Why there is no answer from `endpoint`.
pub(super) fn lost(error: hyper::Error, watch: Option<&Watch>, endpoint: &Place) -> Failure {
    if let Some(failure) = watch.and_then(Watch::failure) {
        return failure;
    }
    #[cfg(feature = "tls")]
    // A server may say only after the handshake that it does not like our certificate.
    if let Some(why) = crate::outward::told(&error) {
        return Failure::new(Code::TlsFailed).detail(format!("no TLS with {endpoint}: {why}"));
    }
    #[cfg(not(feature = "tls"))]
    let _ = endpoint;
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
    /// What came with the head.
    ahead: Option<Result<Frame<Bytes>, BodyError>>,
    /// Whether its reader has taken a frame and was not told to wait since.
    fresh: bool,
    idle: Option<Idle>,
}

impl Answer {
    /// Takes what is there already: of most answers, all. Then the connection is free at once.
    fn look_ahead(&mut self) {
        if let Poll::Ready(Some(next)) = Pin::new(&mut self.incoming).poll_frame(&mut unwoken()) {
            self.ahead = Some(self.came(next));
        }
    }

    /// The body, if there is nothing more to come.
    fn whole(&mut self) -> Option<Bytes> {
        let all = self.incoming.is_end_stream();
        let ahead = self.ahead.take_if(|ahead| all && ahead.as_ref().is_ok_and(Frame::is_data))?;
        ahead.ok()?.into_data().ok()
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut incoming = Pin::new(&mut self.incoming);
        // Usually the connection has read on meanwhile.
        if let Poll::Ready(next) = incoming.as_mut().poll_frame(&mut unwoken()) {
            return Poll::Ready(next);
        }
        match &mut self.exchange {
            Some(exchange) => exchange.lease.drive(cx, |cx| incoming.as_mut().poll_frame(cx)),
            None => incoming.poll_frame(cx),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Some(ahead));
        }
        match self.poll_incoming(cx) {
            Poll::Ready(Some(next)) => Poll::Ready(Some(self.came(next))),
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

    fn came(&mut self, next: Result<Frame<Bytes>, hyper::Error>) -> Result<Frame<Bytes>, BodyError> {
        match next {
            Ok(frame) => Ok(self.frame(frame)),
            Err(error) => Err(self.cut(described(&error), Some(error))),
        }
    }

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
        if let (None, Some(exchange)) = (&clients, &self.exchange) {
            exchange.lease.was_cut();
        }
        if let (None, Some(_), Some(exchange)) = (&clients, &source, &mut self.exchange) {
            exchange.lease.broke();
        }
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
        let next = self.poll_next(cx);
        match next {
            Poll::Ready(Some(Err(error))) if self.fresh => {
                // Whoever sends the frames would drop those that are not sent yet, so he gets the time to.
                self.fresh = false;
                self.ahead = Some(Err(error));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            next => {
                self.fresh = next.is_ready();
                next
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.as_ref().and_then(|ahead| ahead.as_ref().ok()?.data_ref());
        let ahead = ahead.map_or(0, |data| data.len() as u64);
        let rest = self.incoming.size_hint();
        let mut whole = SizeHint::new();
        whole.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            whole.set_upper(upper + ahead);
        }
        whole
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
