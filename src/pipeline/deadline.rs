//! A request has its answer in time, or 504.
//!
//! The deadline is in the request's facts, so that the application knows it. When it passes, the inner future is
//! dropped, which cancels the application's work. An answer that has begun is not cut.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{Request, Response};
use tokio::time::Sleep;
use tower_service::Service;

use crate::{Body, Failure, facts::Facts, failure::Code};

/// Gives the requests of `inner` a deadline.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
    limit: Option<Duration>,
}

impl<S> Deadline<S> {
    /// In front of `inner`; `None` for no deadline of its own, which costs nothing.
    pub fn new(inner: S, limit: Option<Duration>) -> Self {
        Self { inner, limit }
    }
}

impl<S> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure>,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Timing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Timing<S::Future> {
        let deadline = self.limit.map(|limit| put(Instant::now() + limit, &mut request));
        Timing { inner: self.inner.call(request), deadline, sleep: None }
    }
}

/// Puts a deadline among the request's facts, unless there is an earlier one; gives back which holds.
fn put(own: Instant, request: &mut Request<Body>) -> Instant {
    if let Some(facts) = request.extensions_mut().get_mut::<Facts>() {
        // A host in front of this process may have set one.
        let deadline = facts.deadline.map_or(own, |earlier| earlier.min(own));
        facts.deadline = Some(deadline);
        return deadline;
    }
    request.extensions_mut().insert(Facts { deadline: Some(own), ..Facts::unknown() });
    own
}

pin_project_lite::pin_project! {
    /// An answer to come.
    pub struct Timing<F> {
        #[pin]
        inner: F,
        deadline: Option<Instant>,
        // On the heap, because it is large, futures are moved on their way, and few wait.
        sleep: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Failure>>> Future for Timing<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(cx) {
            return Poll::Ready(answer);
        }
        let Some(deadline) = *this.deadline else { return Poll::Pending };
        // No timer for an application that answers at once.
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        sleep.as_mut().poll(cx).map(|()| Err(Code::RequestTimeout.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Never;

    impl Service<Request<Body>> for Never {
        type Response = Response<Body>;
        type Error = Failure;
        type Future = std::future::Pending<Result<Response<Body>, Failure>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            std::future::pending()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_that_never_answers_gets_504() {
        let mut service = Deadline::new(Never, Some(Duration::from_secs(3)));
        let began = tokio::time::Instant::now();
        let failure = service.call(Request::new(Body::empty())).await.expect_err("never answered");
        assert_eq!(failure.code, Code::RequestTimeout);
        assert_eq!(began.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_of_the_request_stays() {
        let mut service = Deadline::new(Never, Some(Duration::from_secs(30)));
        let mut request = Request::new(Body::empty());
        let deadline = Some(Instant::now() + Duration::from_secs(1));
        request.extensions_mut().insert(Facts { deadline, ..Facts::unknown() });
        let began = tokio::time::Instant::now();
        assert!(service.call(request).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(2));
    }
}
