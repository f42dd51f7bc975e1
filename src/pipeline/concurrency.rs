//! An application has no more requests at a time than it may have.
//!
//! Those beyond the limit wait in order, without a thread; those beyond the queue get 503. A request counts from the moment
//! when the application gets it until its answer is complete, or until it was cancelled: a client that leaves while it
//! waits leaves the queue. An upgraded connection counts until the upgrade.
//!
//! Not tower's layers for this: they let go of a request with the head of its answer, and have no bound for who waits.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use crate::{Body, Failure, body::BodyError, failure::Code, queue::Queue};

/// Limits how many requests `inner` has at a time. Clones share the limit.
#[derive(Clone, Debug)]
pub struct Concurrency<S> {
    inner: S,
    limit: Option<Arc<Limit>>,
}

#[derive(Debug)]
struct Limit {
    most: usize,
    room: Arc<Semaphore>,
    queue: Arc<Queue>,
}

impl<S> Concurrency<S> {
    /// In front of `inner`: `most` requests at a time, and `queue` that wait. `None` for no limit, which costs nothing.
    pub fn new(inner: S, most: Option<usize>, queue: usize) -> Self {
        let limit = most.map(|most| {
            let room = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
            Arc::new(Limit { most, room, queue: Queue::new(queue) })
        });
        Self { inner, limit }
    }
}

impl<S> Service<Request<Body>> for Concurrency<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Admitting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Admitting<S::Future> {
        Admitting { state: self.admit(request) }
    }
}

impl<S> Concurrency<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure> + Clone + Send + 'static,
    S::Future: Send,
{
    fn admit(&mut self, request: Request<Body>) -> State<S::Future> {
        let Some(limit) = &self.limit else {
            return State::Admitted { inner: self.inner.call(request), permit: None };
        };
        if let Ok(permit) = Arc::clone(&limit.room).try_acquire_owned() {
            return State::Admitted { inner: self.inner.call(request), permit: Some(permit) };
        }
        let Some(place) = limit.queue.place() else { return State::Refused { failure: Some(limit.full()) } };
        let (mut inner, room) = (self.inner.clone(), Arc::clone(&limit.room));
        let waiting = async move {
            // It is never closed.
            let permit = room.acquire_owned().await.map_err(|_| Code::Draining)?;
            drop(place);
            Ok(held(inner.call(request).await?, permit))
        };
        State::Waiting { waiting: Box::pin(waiting) }
    }
}

impl Limit {
    fn full(&self) -> Failure {
        let detail =
            format!("max_concurrent_requests is {}, request_queue is {}", self.most, self.queue.most());
        Failure::new(Code::QueueFull).detail(detail)
    }
}

pin_project_lite::pin_project! {
    /// An answer to come.
    pub struct Admitting<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project_lite::pin_project! {
    #[project = Projected]
    enum State<F> {
        /// The application has the request.
        Admitted { #[pin] inner: F, permit: Option<OwnedSemaphorePermit> },
        /// The request waits for its turn.
        Waiting { waiting: Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send>> },
        /// Too many wait already.
        Refused { failure: Option<Failure> },
    }
}

impl<F: Future<Output = Result<Response<Body>, Failure>>> Future for Admitting<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Admitted { inner, permit } => {
                let answer = ready!(inner.poll(cx));
                Poll::Ready(match permit.take() {
                    Some(permit) => answer.map(|answer| held(answer, permit)),
                    None => answer,
                })
            }
            Projected::Waiting { waiting } => waiting.as_mut().poll(cx),
            Projected::Refused { failure } => {
                Poll::Ready(Err(failure.take().unwrap_or_else(|| Code::QueueFull.into())))
            }
        }
    }
}

/// An answer that counts until it is complete.
pub(super) fn held<P: Send + Unpin + 'static>(answer: Response<Body>, permit: P) -> Response<Body> {
    if answer.body().is_end_stream() {
        return answer;
    }
    answer.map(|body| Body::new(Held { body, permit: Some(permit) }))
}

struct Held<P> {
    body: Body,
    permit: Option<P>,
}

impl<P: Unpin> http_body::Body for Held<P> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            // Whoever has it may keep an empty body for a while.
            self.permit = None;
        }
        Poll::Ready(frame)
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
    use futures_util::FutureExt as _;
    use http_body_util::{BodyExt as _, channel::Channel};
    use tokio::sync::oneshot;

    use super::*;

    type Answers = Arc<std::sync::Mutex<Vec<oneshot::Sender<Body>>>>;

    /// Answers when it is told to.
    #[derive(Clone, Default)]
    struct Told(Answers);

    impl Service<Request<Body>> for Told {
        type Response = Response<Body>;
        type Error = Failure;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            let (answer, told) = oneshot::channel();
            self.0.lock().unwrap().push(answer);
            Box::pin(async { Ok(Response::new(told.await.unwrap())) })
        }
    }

    fn called(told: &Told) -> usize {
        told.0.lock().unwrap().len()
    }

    #[tokio::test]
    async fn a_request_counts_until_its_answer_is_complete() {
        let told = Told::default();
        let mut service = Concurrency::new(told.clone(), Some(1), 5);
        let mut first = service.call(Request::default());
        assert!((&mut first).now_or_never().is_none());
        let mut second = service.clone().call(Request::default());
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(called(&told), 1, "it waits");
        let (sender, body) = Channel::<Bytes, BodyError>::new(4);
        let answer = told.0.lock().unwrap().remove(0);
        assert!(answer.send(Body::new(body)).is_ok());
        let answer = first.await.unwrap();
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(called(&told), 0, "the answer has only begun");
        drop(sender);
        answer.into_body().collect().await.unwrap();
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(called(&told), 1, "its turn");
    }

    #[tokio::test]
    async fn those_who_leave_make_room() {
        let told = Told::default();
        let mut service = Concurrency::new(told.clone(), Some(1), 1);
        let mut first = service.call(Request::default());
        assert!((&mut first).now_or_never().is_none());
        let waiting = service.call(Request::default());
        let failure = service.call(Request::default()).await.expect_err("the queue is full");
        assert_eq!(failure.code, Code::QueueFull);
        assert_eq!(failure.detail, "max_concurrent_requests is 1, request_queue is 1");
        drop(waiting);
        let mut next = service.call(Request::default());
        assert!((&mut next).now_or_never().is_none());
        drop(first);
        assert!((&mut next).now_or_never().is_none());
        assert_eq!(called(&told), 2, "a request that is cancelled counts no more");
    }

    #[tokio::test]
    async fn an_answer_without_a_body_makes_room_at_once() {
        let told = Told::default();
        let mut service = Concurrency::new(told.clone(), Some(1), 1);
        let first = service.call(Request::default());
        let answer = told.0.lock().unwrap().remove(0);
        assert!(answer.send(Body::empty()).is_ok());
        let _kept = first.await.unwrap();
        let mut second = service.call(Request::default());
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(called(&told), 1);
    }
}
