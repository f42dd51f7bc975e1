//! The request body.
//!
//! In: the host's body, which is read from the connection as it is polled. Out: frames of [`Bytes`], and trailers.
//! Never: allocates for a request without a body, or holds more than one frame.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use cohost_abi::{Code, code};
use http_body::{Frame, SizeHint};

use crate::ffi::{HostBody, describe};

/// The body of a request.
///
/// The host reads from the client when this is polled, and not before: that is the backpressure. It may outlive the
/// request's future, so that a response can be made of it while it still arrives.
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Host {
        body: HostBody,
        /// From `content-length`.
        left: Option<u64>,
    },
}

impl Body {
    /// No bytes, no trailers.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    pub(crate) const fn host(body: HostBody, length: Option<u64>) -> Self {
        Self(Kind::Host { body, left: length })
    }
}

/// For calling a service without a host, in tests.
impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self(Kind::Full(bytes)) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.0 {
            Kind::Empty => None,
            Kind::Full(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                self.0 = Kind::Empty;
                Some(Ok(frame))
            }
            Kind::Host { body, left } => {
                let frame = ready!(body.poll_frame(cx));
                if let (Some(left), Some(Ok(frame))) = (left, &frame) {
                    *left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
                    // The end, trailers or an error: nothing follows, and the host may have its handle back.
                    self.0 = Kind::Empty;
                }
                frame.map(|frame| frame.map_err(BodyError))
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Host { left, .. } => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Host { left: Some(left), .. } => SizeHint::with_exact(*left),
            Kind::Host { left: None, .. } => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "empty",
            Kind::Full(_) => "full",
            Kind::Host { .. } => "from the host",
        };
        f.debug_tuple("Body").field(&kind).finish()
    }
}

/// A request body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request body was cut: {}", describe(self.0))]
pub struct BodyError(pub(crate) Code);

impl BodyError {
    /// The client went away.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.0 == code::E_GONE
    }

    /// The body is larger than the host's configuration allows: answer 413.
    #[must_use]
    pub const fn is_too_large(&self) -> bool {
        self.0 == code::E_TOO_LARGE
    }

    /// The client sent too slowly, or the request's deadline passed.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        self.0 == code::E_TIMEOUT
    }
}
