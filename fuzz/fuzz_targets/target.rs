//! The target and Host field of a request. In: what hyper lets pass. Never: a panic, or a path with dot segments or
//! control characters for the application.
#![no_main]

use std::{
    future::Ready,
    task::{Context, Poll},
};

use cohost::{Body, Failure, http::NormalForm};
use http::{Request, Response};
use libfuzzer_sys::fuzz_target;
use tower_service::Service;

#[derive(Clone)]
struct Application;

impl Service<Request<Body>> for Application {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Ready<Result<Response<Body>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        assert!(path.starts_with('/') || path == "*");
        assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{path}");
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
        std::future::ready(Ok(Response::new(Body::empty())))
    }
}

fuzz_target!(|input: (&str, &[u8])| {
    let (target, host) = input;
    let request = Request::builder().uri(target).header("host", host).body(Body::empty());
    if let Ok(request) = request {
        let _ = futures_util::FutureExt::now_or_never(NormalForm::new(Application).call(request));
    }
});
