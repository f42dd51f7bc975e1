//! A file as the answer to a request.
//!
//! In: what is asked for, an open file or its bytes, and what is to stand in the head. Out: a response, whole or in parts,
//! or without a body. Never: promises a length that it does not keep; a file that becomes shorter cuts the answer.

use std::{
    collections::VecDeque,
    ops::Range,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;

use super::{Asked, Outcome, Piece, Validators, range::Wanted};
use crate::{Body, body::BodyError};

/// Where the bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// In a file that is open.
    File(Arc<OwnedFd>),
    /// All of them here.
    #[cfg(feature = "front")]
    Memory(Bytes),
}

impl Content {
    fn body(&self, part: Range<u64>, runtime: &Handle) -> Body {
        match self {
            Self::File(file) => {
                Body::new(Piece::new(Arc::clone(file), part.start, part.end - part.start, runtime.clone()))
            }
            #[cfg(feature = "front")]
            Self::Memory(bytes) => {
                let place = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
                bytes.slice(place(part.start)..place(part.end)).into()
            }
        }
    }
}

/// The answer to `asked`: `length` bytes of `content`, from its byte `at` on, with `fields` in its head.
pub(crate) fn answer(
    asked: &Asked,
    (content, at, length): (&Content, u64, u64),
    file: &Validators,
    mut fields: HeaderMap,
    runtime: &Handle,
) -> Response<Body> {
    let outcome = asked.outcome(length, file, SystemTime::now());
    let (status, body) = match outcome {
        Outcome::NotModified => (StatusCode::NOT_MODIFIED, without_body(&mut fields)),
        Outcome::Failed => (StatusCode::PRECONDITION_FAILED, without_body(&mut fields)),
        Outcome::Send(Wanted::Nothing) => {
            fields.insert(header::CONTENT_RANGE, text(format!("bytes */{length}")));
            (StatusCode::RANGE_NOT_SATISFIABLE, without_body(&mut fields))
        }
        Outcome::Send(Wanted::Whole) => {
            fields.insert(header::CONTENT_LENGTH, length.into());
            let body = if asked.is_head() { Body::empty() } else { content.body(at..at + length, runtime) };
            (StatusCode::OK, body)
        }
        Outcome::Send(Wanted::Parts(parts)) => {
            let body = |part: &Range<u64>| content.body(at + part.start..at + part.end, runtime);
            (StatusCode::PARTIAL_CONTENT, in_parts(&parts, length, body, &mut fields))
        }
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = fields;
    answer
}

/// What speaks of a body goes with it.
fn without_body(fields: &mut HeaderMap) -> Body {
    fields.remove(header::CONTENT_TYPE);
    fields.remove(header::CONTENT_ENCODING);
    fields.remove(header::CONTENT_LENGTH);
    Body::empty()
}

fn in_parts(
    parts: &[Range<u64>],
    length: u64,
    body: impl Fn(&Range<u64>) -> Body,
    fields: &mut HeaderMap,
) -> Body {
    let place = |part: &Range<u64>| format!("bytes {}-{}/{length}", part.start, part.end - 1);
    if let [only] = parts {
        fields.insert(header::CONTENT_RANGE, text(place(only)));
        fields.insert(header::CONTENT_LENGTH, (only.end - only.start).into());
        return body(only);
    }
    let boundary = boundary();
    let kind =
        fields.insert(header::CONTENT_TYPE, text(format!("multipart/byteranges; boundary={boundary}")));
    let kind =
        kind.and_then(|kind| Some(format!("Content-Type: {}\r\n", kind.to_str().ok()?))).unwrap_or_default();
    let mut all = VecDeque::new();
    for part in parts {
        let head = format!("\r\n--{boundary}\r\n{kind}Content-Range: {}\r\n\r\n", place(part));
        all.push_back(Body::from(head));
        all.push_back(body(part));
    }
    all.push_back(format!("\r\n--{boundary}--\r\n").into());
    let body = OneAfterAnother(all);
    if let Some(length) = http_body::Body::size_hint(&body).exact() {
        fields.insert(header::CONTENT_LENGTH, length.into());
    }
    Body::new(body)
}

/// A line that stands in no file: nobody can have known it before.
fn boundary() -> String {
    let mut random = [0; 16];
    // Where there is no randomness, there is no entropy pool: a kernel that has just begun.
    let _ = getrandom::fill(&mut random);
    format!("{:032x}", u128::from_ne_bytes(random))
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("numbers and plain words")
}

/// Bodies, one after another. The first one that breaks off ends it.
struct OneAfterAnother(VecDeque<Body>);

impl http_body::Body for OneAfterAnother {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while let Some(first) = self.0.front_mut() {
            match ready!(Pin::new(first).poll_frame(cx)) {
                None => drop(self.0.pop_front()),
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => {
                    self.0.clear();
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().filter_map(|body| http_body::Body::size_hint(body).exact()).sum())
    }
}
