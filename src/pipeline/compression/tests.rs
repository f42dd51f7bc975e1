//! Which answers are compressed, and what becomes of their bytes and fields.

use std::future::Ready;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, channel::Channel};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    body::BodyError,
    front::Level,
    pipeline::{Decompression, coding::Decoder},
};

/// Answers with what it is told.
#[derive(Clone)]
struct Answering(Arc<dyn Fn() -> Response<Body> + Send + Sync>);

impl Service<Request<Body>> for Answering {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Ready<Result<Response<Body>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        std::future::ready(Ok(self.0()))
    }
}

const PAGE: [(&str, &str); 2] = [("content-type", "text/html"), ("etag", "\"1\"")];

/// The answer to `request` of an application that answers with these fields, and 2000 bytes.
fn answer(
    request: http::request::Builder,
    status: u16,
    fields: &[(&'static str, &'static str)],
) -> Response<Body> {
    let fields = fields.to_vec();
    let told = move || {
        let builder = Response::builder().status(status);
        let builder = fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        builder.body("x".repeat(2000).into()).unwrap()
    };
    let mut service = Compression::new(front::Compression::default(), Answering(Arc::new(told)));
    service.call(request.body(Body::empty()).unwrap()).now_or_never().unwrap().unwrap()
}

fn asking(accept: &str) -> http::request::Builder {
    Request::builder().header("accept-encoding", accept)
}

fn field<'a>(answer: &'a Response<Body>, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn unpacked(algorithm: Algorithm, body: Body) -> Result<Bytes, String> {
    read(Body::new(Coded::new(body, Decoder::new(algorithm), Into::into)))
}

/// All of a body of which all is there, whenever others have their turn.
fn read(mut body: Body) -> Result<Bytes, String> {
    let mut all = Vec::new();
    for _ in 0..1_000_000 {
        match body.frame().now_or_never() {
            None => {}
            Some(None) => return Ok(all.into()),
            Some(Some(frame)) => {
                all.extend(frame.map_err(|error| error.to_string())?.into_data().unwrap_or_default());
            }
        }
    }
    panic!("all is there");
}

#[test]
fn a_page_is_sent_in_fewer_bytes_and_its_fields_say_so() {
    let fields =
        [&PAGE[..], &[("content-length", "2000"), ("accept-ranges", "bytes"), ("vary", "cookie")]].concat();
    for (accept, algorithm) in
        [("gzip", Algorithm::Gzip), ("br", Algorithm::Brotli), ("zstd", Algorithm::Zstd)]
    {
        let answer = answer(asking(accept), 200, &fields);
        assert_eq!((field(&answer, "content-encoding"), field(&answer, "etag")), (accept, "W/\"1\""));
        assert_eq!((field(&answer, "content-length"), field(&answer, "accept-ranges")), ("", ""));
        let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
        assert_eq!(vary, ["cookie", "Accept-Encoding"]);
        let packed = read(answer.into_body()).unwrap();
        assert!(packed.len() < 100, "{algorithm:?}: {} bytes", packed.len());
        assert_eq!(unpacked(algorithm, packed.into()).unwrap(), "x".repeat(2000));
    }
}

#[test]
fn who_cannot_read_it_gets_the_same_as_it_is() {
    for accept in ["", "gzip;q=0", "*;q=0", "deflate"] {
        let answer = answer(asking(accept), 200, &PAGE);
        assert_eq!((field(&answer, "content-encoding"), field(&answer, "etag")), ("", "\"1\""), "{accept}");
        assert_eq!(field(&answer, "vary"), "Accept-Encoding");
    }
}

#[test]
fn what_must_not_be_compressed_is_not() {
    let with = |name, value| [&PAGE[..], &[(name, value)]].concat();
    let cases = [
        (200, with("content-encoding", "br")),
        (200, with("content-encoding", "identity")),
        (200, with("content-range", "bytes 0-1999/9999")),
        (200, with("cache-control", "max-age=60, No-Transform")),
        (200, with("content-digest", "sha-256=:x:")),
        (204, PAGE.to_vec()),
        (200, vec![("content-type", "image/png")]),
        (200, vec![("content-type", "application/grpc+proto")]),
        (200, vec![("x-other", "no type at all")]),
    ];
    for (status, fields) in cases {
        let before = fields.iter().find(|field| field.0 == "content-encoding").map_or("", |field| field.1);
        let answer = answer(asking("gzip, br, zstd"), status, &fields);
        assert_eq!(field(&answer, "content-encoding"), before, "{status} {fields:?}");
        assert_eq!(
            (field(&answer, "vary"), answer.body().size_hint().exact()),
            ("", Some(2000)),
            "{fields:?}"
        );
    }
    let connect = answer(asking("gzip").method("CONNECT").uri("a:80"), 200, &PAGE);
    assert_eq!(field(&connect, "content-encoding"), "", "a tunnel");
}

#[test]
fn head_has_the_fields_of_get() {
    let answer =
        answer(asking("gzip").method("HEAD"), 200, &[&PAGE[..], &[("content-length", "2000")]].concat());
    assert_eq!((field(&answer, "content-encoding"), field(&answer, "etag")), ("gzip", "W/\"1\""));
    assert_eq!((field(&answer, "content-length"), field(&answer, "vary")), ("", "Accept-Encoding"));
    // Also where the body is there, and nothing says its length before it is left out.
    for (size, encoding, left) in [(2000, "gzip", Some(0)), (5, "", Some(5))] {
        let told = move || {
            Response::builder().header("content-type", "text/html").body("x".repeat(size).into()).unwrap()
        };
        let mut service = Compression::new(front::Compression::default(), Answering(Arc::new(told)));
        let request = asking("gzip").method("HEAD").body(Body::empty()).unwrap();
        let answer = service.call(request).now_or_never().unwrap().unwrap();
        assert_eq!((field(&answer, "content-encoding"), answer.body().size_hint().exact()), (encoding, left));
    }
}

#[test]
fn a_page_that_has_not_changed_keeps_the_tag_that_the_client_has() {
    let fields = |request: http::request::Builder, tag| {
        let answer = answer(request, 304, &[("etag", tag)]);
        assert_eq!((field(&answer, "vary"), field(&answer, "content-encoding")), ("Accept-Encoding", ""));
        field(&answer, "etag").to_owned()
    };
    for (has, tag) in [
        ("W/\"1\"", "W/\"1\""),
        ("W/\"0\", W/\"1\"", "W/\"1\""),
        ("\"1\"", "\"1\""),
        ("\"0\",\"1\"", "\"1\""),
        // As it would have got it.
        ("*", "W/\"1\""),
    ] {
        assert_eq!(fields(asking("gzip").header("if-none-match", has), "\"1\""), tag, "{has}");
    }
    let lines = asking("gzip").header("if-none-match", "\"0\"").header("if-none-match", "W/\"1,2\"");
    assert_eq!(fields(lines, "\"1,2\""), "W/\"1,2\"");
    let since = || asking("gzip").header("if-modified-since", "Mon, 12 Jan 1970 13:46:39 GMT");
    assert_eq!(fields(since(), "\"1\""), "W/\"1\"");
    let plain = Request::builder().header("if-modified-since", "Mon, 12 Jan 1970 13:46:39 GMT");
    assert_eq!(fields(plain, "\"1\""), "\"1\"");
    // What is never compressed is the same for all.
    for fixed in [("content-type", "image/png"), ("cache-control", "no-transform")] {
        let answer = answer(since(), 304, &[("etag", "\"1\""), fixed]);
        assert_eq!((field(&answer, "vary"), field(&answer, "etag")), ("", "\"1\""));
    }
}

#[test]
fn a_part_says_that_the_whole_may_come_compressed() {
    let place = ("content-range", "bytes 0-1999/9999");
    for (kind, vary) in [
        ("text/html", "Accept-Encoding"),
        ("multipart/byteranges; boundary=x", "Accept-Encoding"),
        ("image/png", ""),
    ] {
        let answer = answer(asking("gzip"), 206, &[("content-type", kind), ("etag", "\"1\""), place]);
        assert_eq!((field(&answer, "vary"), field(&answer, "etag")), (vary, "\"1\""), "{kind}");
        assert_eq!(answer.body().size_hint().exact(), Some(2000));
    }
}

#[tokio::test]
async fn every_piece_leaves_before_the_next_one_comes_and_trailers_follow() {
    for algorithm in Algorithm::ALL {
        let (mut pieces, body) = Channel::<Bytes, BodyError>::new(1);
        let encoded = Coded::new(Body::new(body), Encoder::new(algorithm, Level::Best), Into::into);
        let mut body = Coded::new(Body::new(encoded), Decoder::new(algorithm), Into::into);
        for n in 0..5 {
            pieces.send_data(format!("data: {n}\n\n").into()).await.unwrap();
            let mut read = String::new();
            while let Some(frame) = body.frame().now_or_never() {
                read.push_str(std::str::from_utf8(&frame.unwrap().unwrap().into_data().unwrap()).unwrap());
            }
            assert_eq!(read, format!("data: {n}\n\n"), "{algorithm:?}");
        }
        pieces
            .send_trailers([("x-end".parse().unwrap(), "1".parse().unwrap())].into_iter().collect())
            .await
            .unwrap();
        drop(pieces);
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["x-end"], "1");
        assert!(body.frame().await.is_none() && body.is_end_stream());
    }
}

#[test]
fn others_have_their_turn_while_a_large_answer_is_compressed() {
    let large = Bytes::from(vec![7; 20_000_000]);
    let encoder = Encoder::new(Algorithm::Gzip, Level::Fast);
    let mut body = Body::new(Coded::new(large.into(), encoder, Into::into));
    let (mut turns, mut pieces) = (0, 0);
    loop {
        match body.frame().now_or_never() {
            Some(Some(frame)) => pieces += usize::from(frame.is_ok()),
            Some(None) => break,
            None => turns += 1,
        }
    }
    assert!(turns > 20 && pieces > 0, "{turns} turns, {pieces} pieces");
}

#[tokio::test]
async fn a_body_that_breaks_off_does_not_look_whole() {
    let frames = [Ok(Frame::data(Bytes::from("begun"))), Err(BodyError::from("gone"))];
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    let encoded = Coded::new(body, Encoder::new(Algorithm::Gzip, Level::Fast), Into::into);
    assert_eq!(Body::new(encoded).collect().await.unwrap_err().to_string(), "gone");
}

#[tokio::test]
async fn requests_are_unpacked_or_refused() {
    let pack = |text: &'static str| {
        let encoded = Coded::new(text.into(), Encoder::new(Algorithm::Gzip, Level::Fast), Into::into);
        Body::new(encoded).collect().now_or_never().unwrap().unwrap().to_bytes()
    };
    let two = [pack("a"), pack("b")].concat();
    let cases: [(&str, Bytes, Result<&str, u16>); 9] = [
        ("gzip", pack("whole"), Ok("whole")),
        ("x-gzip", two.into(), Ok("ab")),
        ("gzip", Bytes::new(), Ok("")),
        ("identity", "plain".into(), Ok("plain")),
        ("gzip", pack("cut off").slice(..12), Err(400)),
        ("gzip", "no gzip at all".into(), Err(400)),
        ("br", [&[0x06], &b"more"[..]].concat().into(), Err(400)),
        ("deflate", "?".into(), Err(415)),
        ("gzip, gzip", "?".into(), Err(415)),
    ];
    for (encoding, body, expected) in cases {
        let request = Request::builder().header("content-encoding", encoding).header("content-length", "9");
        let answer = Decompression::new(Reading).call(request.body(body.into()).unwrap()).await;
        let answer = answer.map_err(|failure| failure.code.status().as_u16());
        match (answer, expected) {
            (Ok(answer), Ok(expected)) => {
                assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), expected, "{encoding}");
            }
            (answer, expected) => assert_eq!(answer.err(), expected.err(), "{encoding}"),
        }
    }
}

/// Sends back what it read, as far as it came.
#[derive(Clone)]
struct Reading;

impl Service<Request<Body>> for Reading {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async {
            let read = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            Ok(Response::new(read.unwrap_or_default().into()))
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_packed_comes_out_the_same(
        pieces in vec(vec(any::<u8>(), 0..3000), 0..6),
        zeros in 0..200_000_usize,
        algorithm in proptest::sample::select(&Algorithm::ALL[..]),
    ) {
        let frames: Vec<_> = pieces.iter().cloned().chain([vec![0; zeros]]).map(Bytes::from).collect();
        let whole = frames.concat();
        let stream = futures_util::stream::iter(frames.into_iter().map(|data| Ok::<_, BodyError>(Frame::data(data))));
        let body = Body::new(StreamBody::new(stream));
        let encoded = Body::new(Coded::new(body, Encoder::new(algorithm, Level::Balanced), Into::into));
        prop_assert_eq!(unpacked(algorithm, encoded).unwrap(), whole);
    }

    #[test]
    fn no_bytes_break_the_unpacking(
        garbage in vec(any::<u8>(), 0..200),
        algorithm in proptest::sample::select(&Algorithm::ALL[..]),
    ) {
        let _ = unpacked(algorithm, Bytes::from(garbage).into());
    }
}
