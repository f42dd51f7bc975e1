//! The baselines: services in Rust that do what the C handlers do, called in place.

use std::{
    future::{Ready, ready},
    pin::pin,
    sync::mpsc,
    task::{Context, Poll},
    thread,
};

use bytes::Bytes;
use cohost::{Body, Failure, failure};
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tower_service::Service;

use crate::asked::{MEGABYTE, Pieces};

/// The short answer.
pub(crate) const HELLO: &str = "Hello, World!";

/// Answers at once.
pub(crate) struct Get;

impl Service<Request<Body>> for Get {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Ready<Result<Response<Body>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        // Copied, as the host copies what an application lends it.
        ready(Ok(text(Body::from(Bytes::copy_from_slice(HELLO.as_bytes())))))
    }
}

/// Answers with a megabyte, in frames.
pub(crate) struct Download;

impl Service<Request<Body>> for Download {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Ready<Result<Response<Body>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(text(Body::new(Pieces { left: MEGABYTE }))))
    }
}

/// Reads the whole body, then answers.
pub(crate) struct Upload;

impl Service<Request<Body>> for Upload {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Response<Body>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async {
            let mut body = pin!(request.into_body());
            while let Some(frame) = body.frame().await {
                frame.map_err(|_| Failure::new(failure::Code::ApplicationUnavailable))?;
            }
            Ok(text(Body::from(HELLO)))
        })
    }
}

/// Answers from another thread.
pub(crate) struct FromThread {
    requests: mpsc::Sender<oneshot::Sender<Response<Body>>>,
}

impl FromThread {
    pub(crate) fn start() -> Self {
        let (requests, asked) = mpsc::channel::<oneshot::Sender<Response<Body>>>();
        thread::spawn(move || {
            for answer in asked {
                answer.send(text(Body::from(HELLO))).expect("somebody waits for the answer");
            }
        });
        Self { requests }
    }
}

impl Service<Request<Body>> for FromThread {
    type Response = Response<Body>;
    type Error = oneshot::error::RecvError;
    type Future = oneshot::Receiver<Response<Body>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let (answer, answered) = oneshot::channel();
        self.requests.send(answer).expect("the thread lives as long as this");
        answered
    }
}

fn text(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let value = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}
