//! The requests that the cases send.
//!
//! As the server makes them: values of header fields are slices of one buffer, and the facts are an extension.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use cohost::{
    Body,
    facts::{Connection, Facts},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body::{Frame, SizeHint};

/// Size of the large bodies, and of their frames.
pub(crate) const MEGABYTE: u64 = 1024 * 1024;
pub(crate) const PIECE: &[u8] = &[b'x'; 64 * 1024];

/// A request that can be made again and again.
pub(crate) struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    connection: Arc<Connection>,
    body: u64,
}

impl Asked {
    /// A `GET` with the first `n` fields that a browser sends.
    pub(crate) fn get(path: &'static str, n: usize) -> Self {
        Self {
            method: Method::GET,
            uri: Uri::from_static(path),
            headers: fields(n),
            connection: Connection::unknown(),
            body: 0,
        }
    }

    /// A `POST` with a body of a megabyte, in frames as large as [`PIECE`].
    pub(crate) fn post(path: &'static str) -> Self {
        let mut asked = Self::get(path, 1);
        asked.method = Method::POST;
        asked.headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(MEGABYTE));
        asked.body = MEGABYTE;
        asked
    }

    /// The request.
    pub(crate) fn request(&self) -> Request<Body> {
        let body = match self.body {
            0 => Body::empty(),
            size => Body::new(Pieces { left: size }),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request.extensions_mut().insert(Facts::new(Arc::clone(&self.connection)));
        request
    }
}

fn fields(n: usize) -> HeaderMap {
    let all = Bytes::from(BROWSER.iter().flat_map(|(_, value)| value.bytes()).collect::<Vec<u8>>());
    let mut at = 0;
    let fields = BROWSER.iter().map(|(name, value)| {
        let value = all.slice(at..at + value.len());
        at += value.len();
        let value = HeaderValue::from_maybe_shared(value).expect("the values are text");
        (HeaderName::from_static(name), value)
    });
    fields.take(n).collect()
}

/// What a browser sends, `Host` first.
const BROWSER: [(&str, &str); 12] = [
    ("host", "www.shop.example"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://www.shop.example/catalogue/lamps?page=2"),
    ("cookie", "session=5f2b7c1e9a3d4f608b1c2d3e4f5a6b7c; theme=dark; seen=1718035200"),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("priority", "u=0, i"),
];

/// A body of so many bytes, all from one piece of memory.
pub(crate) struct Pieces {
    pub(crate) left: u64,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= PIECE.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PIECE)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
