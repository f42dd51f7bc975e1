//! Codings of bodies. In: any Accept-Encoding, and any bytes that are said to be packed. Never: a panic, a coding that the
//! client refuses, one that it does not name, more memory than a piece takes, or a body that does not end.
#![no_main]

use std::{pin::Pin, sync::LazyLock};

use bytes::Bytes;
use cohost::{
    Body, Failure,
    front::{Algorithm, Compression},
    pipeline::Decompression,
};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tower_service::Service;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a thread"));

/// What somebody reads of a body before he has enough.
const ENOUGH: usize = 4 << 20;

/// What a piece of a body may take.
const PIECE: usize = 1 << 20;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (accept, packed) = input;
    let compression = Compression::default();
    let refused = [accept, b",zstd;q=0,br;q=0,gzip;q=0"].concat();
    assert_eq!(compression.choose([&*refused]), None);
    let named = |name: &[u8]| accept.to_ascii_lowercase().windows(name.len()).any(|part| part == name);
    if let Some(chosen) = compression.choose([accept]) {
        assert!(named(chosen.as_str().as_bytes()) || named(b"*"), "{chosen:?}");
    }
    for algorithm in Algorithm::ALL {
        let request = Request::builder().header("content-encoding", algorithm.as_str());
        let request = request.body(Body::from(Bytes::copy_from_slice(packed))).expect("valid");
        let _answer = RUNTIME.block_on(Decompression::new(Reading).call(request));
    }
});

/// Reads a body.
#[derive(Clone)]
struct Reading;

impl Service<Request<Body>> for Reading {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Failure>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut body, mut read) = (request.into_body(), 0);
        Box::pin(async move {
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, |data| data.len());
                assert!((1..=PIECE).contains(&length), "{length} bytes at once");
                read += length;
                if read > ENOUGH {
                    break;
                }
            }
            Ok(Response::new(Body::empty()))
        })
    }
}
