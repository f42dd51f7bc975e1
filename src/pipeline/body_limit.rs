//! No request body is larger than allowed.
//!
//! A length that is declared and too large is refused before the application runs. A body without one is counted as
//! it is read; when it crosses the limit the application's read fails, and the client gets 413 whatever the
//! application makes of that. Upgraded connections have no body, so no limit.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use tower_service::Service;

use crate::{Body, Failure, body::BodyError, failure::Code};

/// Limits the request bodies of `inner`.
#[derive(Clone, Debug)]
pub struct BodyLimit<S> {
    inner: S,
    limit: Option<u64>,
}

impl<S> BodyLimit<S> {
    /// In front of `inner`; `None` for no limit, which costs nothing.
    pub fn new(inner: S, limit: Option<u64>) -> Self {
        Self { inner, limit }
    }
}

impl<S> Service<Request<Body>> for BodyLimit<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure>,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Limiting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Limiting<S::Future> {
        let Some(limit) = self.limit else {
            return Limiting { inner: Some(self.inner.call(request)), limit: 0, counted: None };
        };
        let length = request.body().size_hint();
        if length.lower() > limit {
            return Limiting { inner: None, limit, counted: None };
        }
        if length.upper().is_some_and(|upper| upper <= limit) {
            return Limiting { inner: Some(self.inner.call(request)), limit, counted: None };
        }
        let crossed = Arc::new(AtomicBool::new(false));
        let request = request
            .map(|body| Body::new(Counted { body, limit, left: limit, crossed: Arc::clone(&crossed) }));
        Limiting { inner: Some(self.inner.call(request)), limit, counted: Some(crossed) }
    }
}

pin_project_lite::pin_project! {
    /// An answer to come.
    pub struct Limiting<F> {
        // None: refused.
        #[pin]
        inner: Option<F>,
        limit: u64,
        counted: Option<Arc<AtomicBool>>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Failure>>> Future for Limiting<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else { return Poll::Ready(Err(too_large(*this.limit))) };
        let answer = ready!(inner.poll(cx));
        let crossed = this.counted.as_ref().is_some_and(|crossed| crossed.load(Ordering::Relaxed));
        Poll::Ready(if crossed { Err(too_large(*this.limit)) } else { answer })
    }
}

fn too_large(limit: u64) -> Failure {
    Failure::new(Code::BodyTooLarge).detail(format!("max_request_body is {limit} bytes"))
}

/// A body that is counted.
struct Counted {
    body: Body,
    limit: u64,
    left: u64,
    crossed: Arc<AtomicBool>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let length = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => 0,
        };
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Poll::Ready(frame)
            }
            None => {
                self.crossed.store(true, Ordering::Relaxed);
                self.body = Body::empty();
                Poll::Ready(Some(Err(too_large(self.limit).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    /// Reads the body and answers 200, also when reading failed.
    #[derive(Clone)]
    struct Reader;

    impl Service<Request<Body>> for Reader {
        type Response = Response<Body>;
        type Error = Failure;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            Box::pin(async move {
                let read = request.into_body().collect().await.map(|body| body.to_bytes().len());
                Ok(Response::new(Body::from(read.map_or_else(|_| "failed".to_owned(), |n| n.to_string()))))
            })
        }
    }

    fn chunked(chunks: usize) -> Body {
        let chunk = || Ok::<_, BodyError>(Frame::data(Bytes::from_static(&[0; 10])));
        Body::new(StreamBody::new(futures_util::stream::iter(
            std::iter::repeat_with(chunk).take(chunks).collect::<Vec<_>>(),
        )))
    }

    async fn post(body: Body, limit: u64) -> Result<(), Code> {
        let answer = BodyLimit::new(Reader, Some(limit)).call(Request::new(body)).await;
        answer.map(|_| ()).map_err(|failure| failure.code)
    }

    #[tokio::test]
    async fn a_declared_length_is_refused_before_the_application_runs() {
        assert_eq!(post(Body::from(Bytes::from_static(&[0; 21])), 20).await, Err(Code::BodyTooLarge));
        assert_eq!(post(Body::from(Bytes::from_static(&[0; 20])), 20).await, Ok(()));
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_refused_when_it_crosses() {
        assert_eq!(post(chunked(3), 29).await, Err(Code::BodyTooLarge));
        assert_eq!(post(chunked(3), 30).await, Ok(()));
    }
}
