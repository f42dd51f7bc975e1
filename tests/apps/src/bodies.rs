//! Bodies that are not what they were said to be, and bodies that nobody reads.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::any,
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use crate::Shared;

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/cut", any(cut))
        .route("/short", any(short))
        .route("/long", any(long))
        .route("/trailers", any(trailers))
        .route("/ignore-body", any(async |_: Request| "the body stays unread\n"))
        .route("/slow-reader", any(slow_reader))
        .route("/answer-first", any(answer_first))
        .route("/until-drain", any(until_drain))
        .route("/endless", any(endless))
        .route("/silent-stream", any(silent_stream))
}

/// Fails half-way, when the first half is on its way.
async fn cut() -> Body {
    let pieces = stream::iter(0..2).then(async |n| {
        if n == 0 {
            return Ok("the first half\n");
        }
        tokio::task::yield_now().await;
        Err(io::Error::other("the stream was told to fail"))
    });
    Body::from_stream(pieces)
}

/// Says 100 bytes and sends 5.
async fn short() -> impl IntoResponse {
    declared(100, &["short"])
}

/// Says 5 bytes and sends 10.
async fn long() -> impl IntoResponse {
    declared(5, &["right", "wrong"])
}

fn declared(length: u64, pieces: &'static [&'static str]) -> impl IntoResponse {
    let body = Body::from_stream(stream::iter(pieces).map(|piece| Ok::<_, Infallible>(*piece)));
    ([(header::CONTENT_LENGTH, HeaderValue::from(length))], body)
}

/// A body with a trailer, whatever the request was.
async fn trailers() -> impl IntoResponse {
    let mut fields = HeaderMap::new();
    fields.insert("x-checksum", HeaderValue::from_static("42"));
    let frames = [http_body::Frame::data(Bytes::from_static(b"body\n")), http_body::Frame::trailers(fields)];
    let body = Body::new(Frames(frames.into_iter()));
    ([(header::TRAILER, HeaderValue::from_static("x-checksum"))], body)
}

/// Frames that are there already.
struct Frames(std::array::IntoIter<http_body::Frame<Bytes>, 2>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.next().map(Ok))
    }
}

#[derive(Deserialize)]
struct Delay {
    #[serde(default)]
    ms: u64,
}

/// Waits before it reads each piece; then tells how many bytes there were, or how it ended.
async fn slow_reader(Query(delay): Query<Delay>, body: Body) -> String {
    let (mut bytes, mut pieces) = (0, 0);
    let mut body = body.into_data_stream();
    loop {
        tokio::time::sleep(Duration::from_millis(delay.ms)).await;
        match body.next().await {
            Some(Ok(piece)) => bytes += piece.len(),
            Some(Err(error)) => return format!("cut after {bytes} bytes: {error}\n"),
            None => return format!("{bytes} bytes in {pieces} pieces\n"),
        }
        pieces += 1;
    }
}

/// The answer begins before the body is read, and ends with how many bytes it had.
async fn answer_first(body: Body) -> Body {
    let count =
        body.into_data_stream().fold(0, async |bytes, piece| bytes + piece.map_or(0, |piece| piece.len()));
    let last = stream::once(async move { format!("{} bytes\n", count.await) });
    let pieces = stream::iter(["first the answer\n".to_owned()]).chain(last);
    Body::from_stream(pieces.map(Ok::<_, Infallible>))
}

/// A line every 20 ms until the application is to end, and then a last one.
async fn until_drain(State(shared): State<Arc<Shared>>) -> Body {
    let ticks = stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some(("tick\n", ()))
    });
    let lines = ticks.take_until(shared.cx.shutdown().into_future()).chain(stream::iter(["drained\n"]));
    Body::from_stream(lines.map(Ok::<_, Infallible>))
}

/// As fast as the client takes it, and for ever.
async fn endless() -> Body {
    static PIECE: [u8; 16 * 1024] = [b'.'; 16 * 1024];
    Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&PIECE))))
}

/// One piece, and then nothing: not even the end.
async fn silent_stream() -> Response {
    let pieces = stream::iter([Ok::<_, Infallible>("the first piece\n")]).chain(stream::pending());
    Response::new(Body::from_stream(pieces))
}
