//! One access record a request, written when its response has left or broken off.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};

use super::streams::{self, Sending};
use crate::{
    Body,
    body::BodyError,
    facts::{End, Facts, RequestId, Tls},
    failure::Code,
};

/// Whether records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    No,
}

/// The record of a request that has no answer yet. One that is dropped says that the client did not wait for it.
pub(super) struct Record(Option<Box<Entry>>);

impl Record {
    /// Begins one for `request`; where none are kept, it costs nothing.
    pub(super) fn begin(kept: Kept, request: &Request<Body>) -> Self {
        let wanted = kept == Kept::Yes && tracing::enabled!(target: "cohost::access", tracing::Level::INFO);
        Self(wanted.then(|| Box::new(Entry::new(request))))
    }

    /// Goes on with `response`, to its end.
    pub(super) fn answered(&mut self, response: Response<Body>) -> Response<Outgoing> {
        let mut entry = self.0.take();
        if let Some(entry) = &mut entry {
            entry.answered(&response);
        }
        response.map(|body| Outgoing {
            body,
            entry,
            sent: 0,
            ending: Ending::Cancelled,
            pieces: Pieces::Whole,
        })
    }

    /// Ends it: there is no answer, on purpose.
    pub(super) fn aborted(&mut self) {
        if let Some(mut entry) = self.0.take() {
            // What nginx made the custom for it.
            entry.status = StatusCode::from_u16(444).ok();
            entry.failure = Some(Code::Aborted);
            entry.write(0, Ending::Complete);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            entry.write(0, Ending::Cancelled);
        }
    }
}

/// What is known of a request before its answer.
struct Entry {
    began: Instant,
    facts: Option<(End, RequestId)>,
    tls: Option<&'static str>,
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
            facts: facts.map(|facts| (facts.client(), facts.request_id)),
            tls: facts.and_then(|facts| facts.connection.tls.as_ref()).map(spoken),
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
        let client = self.facts.map(|(client, _)| tracing::field::display(client));
        let request_id = self.facts.map(|(_, id)| tracing::field::display(id));
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
            tls = self.tls,
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

/// A version of TLS, as people call it.
fn spoken(tls: &Tls) -> &'static str {
    match tls.version {
        0x0304 => "1.3",
        0x0303 => "1.2",
        _ => "other",
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
pub(crate) struct Outgoing {
    body: Body,
    entry: Option<Box<Entry>>,
    sent: u64,
    ending: Ending,
    pieces: Pieces,
}

/// In which pieces a body is handed on. Those of HTTP/2 are cut, and watched: see [`streams`].
enum Pieces {
    /// As they come.
    Whole,
    /// Cut, with what is left of one. What HTTP/2 has been given it keeps until the client opens a window for it.
    Cut { left: Bytes },
}

/// Bytes that a stream of HTTP/2 holds while its client takes nothing.
const PIECE: usize = 64 * 1024;

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = self.poll_piece(cx);
        if let Pieces::Cut { .. } = self.pieces {
            streams::note(if frame.is_ready() { Sending::Something } else { Sending::Nothing });
        }
        let frame = ready!(frame);
        if self.entry.is_some() {
            self.count(frame.as_ref());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !matches!(&self.pieces, Pieces::Cut { left } if !left.is_empty())
    }

    // Asked for before the first piece.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Outgoing {
    /// Hands it on as `version` wants it.
    pub(super) fn cut_for(&mut self, version: Version) {
        if version > Version::HTTP_11 {
            self.pieces = Pieces::Cut { left: Bytes::new() };
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, pieces, .. } = self;
        let Pieces::Cut { left } = pieces else { return Pin::new(body).poll_frame(cx) };
        if left.is_empty() {
            let frame = ready!(Pin::new(body).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) if data.len() > PIECE => *left = data,
                Some(Ok(Ok(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = left.split_to(PIECE.min(left.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// For nobody: leaves no record.
    pub(super) fn nothing() -> Self {
        Self { body: Body::empty(), entry: None, sent: 0, ending: Ending::Complete, pieces: Pieces::Whole }
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
            let whole = http_body::Body::is_end_stream(self) || entry.method == Method::HEAD;
            let ending =
                if whole && self.ending == Ending::Cancelled { Ending::Complete } else { self.ending };
            entry.write(self.sent, ending);
        }
    }
}
