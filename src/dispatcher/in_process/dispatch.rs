//! The way of one request through an application in this process.
//!
//! `handle` is called in the first poll, so that an application that answers at once is done with it. Dropping the
//! future is the cancellation: the task is dropped, or the token's holder told.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use cohost_abi::{Code, code};
use http_body_util::BodyExt as _;

use super::{
    ffi::{Detached, Exchange, Handled, Step, Task},
    generation::Lease,
    threads,
};
use crate::{Body, Failure, failure};

/// An answer to come.
pub struct Dispatch {
    state: State,
    /// Away while the blocking pool has it.
    // On the heap, because futures are moved many times on their way, and this is large.
    exchange: Option<Box<Exchange>>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// What the application is doing.
enum State {
    /// It has not seen the request.
    New,
    /// Its body is being collected.
    Buffering(Boxed<Bytes>),
    /// It runs on the blocking pool, with the exchange.
    Blocking(Boxed<(Handled, Box<Exchange>)>),
    /// It will be woken.
    Task(Task),
    /// It answers through a token.
    Detached(Arc<Detached>),
    Done,
}

impl Dispatch {
    pub(super) fn new(lease: Arc<Lease>, request: http::Request<Body>) -> Self {
        Self { state: State::New, exchange: Some(Box::new(Exchange::new(lease, request))) }
    }

    /// Goes on until the exchange has its answer, or there is nothing to do but wait.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            let next = match &mut self.state {
                State::New => self.begin(cx),
                State::Buffering(collecting) => {
                    let whole = ready!(collecting.as_mut().poll(cx))?;
                    self.exchange().set_buffered(whole);
                    self.call(cx)
                }
                State::Blocking(handling) => {
                    let (handled, exchange) = ready!(handling.as_mut().poll(cx))?;
                    self.exchange = Some(exchange);
                    self.handled(handled)
                }
                State::Task(task) => {
                    let exchange = self.exchange.as_mut().expect("only taken by the blocking pool");
                    let inside = threads::enter(exchange.lease().watch, &**exchange);
                    let polled = task.poll(exchange, cx);
                    drop(inside);
                    let code = ready!(polled);
                    self.handled(Handled::Ended(code))
                }
                State::Detached(detached) => {
                    let answer = ready!(detached.poll(cx));
                    self.exchange().set_answer(answer);
                    Ok(Next::Answered)
                }
                State::Done => return Poll::Pending,
            };
            match next? {
                Next::Answered => return Poll::Ready(Ok(())),
                Next::State(state) => self.state = state,
            }
        }
    }

    fn exchange(&mut self) -> &mut Exchange {
        self.exchange.as_mut().expect("only taken by the blocking pool")
    }

    fn begin(&mut self, cx: &mut Context<'_>) -> Result<Next, Failure> {
        let exchange = self.exchange();
        let generation = exchange.lease().generation();
        // One that drains gets what was on its way to it; whoever comes later is sent elsewhere.
        if !generation.is_ready() && !generation.is_draining() {
            let failure = Failure::new(failure::Code::ApplicationUnavailable);
            return Err(failure.detail("the application says that it is not ready"));
        }
        let body =
            if generation.instance().wants_whole_bodies() { exchange.take_body() } else { Body::empty() };
        if http_body::Body::is_end_stream(&body) {
            return self.call(cx);
        }
        let limit = generation.start.max_request_body;
        Ok(Next::State(State::Buffering(Box::pin(collect(body, limit)))))
    }

    fn call(&mut self, cx: &mut Context<'_>) -> Result<Next, Failure> {
        if self.exchange().lease().instance().is_blocking() {
            let exchange = self.exchange.take().expect("only taken here");
            let blocking = blocking(exchange, cx.waker().clone());
            return Ok(Next::State(State::Blocking(Box::pin(blocking))));
        }
        let exchange = self.exchange();
        let generation = exchange.lease().generation();
        let inside = threads::enter(generation.watch, exchange);
        let handled = generation.instance().handle(exchange, cx);
        drop(inside);
        self.handled(handled)
    }

    fn handled(&mut self, handled: Handled) -> Result<Next, Failure> {
        Ok(match handled {
            Handled::Pending(task) => Next::State(State::Task(task)),
            Handled::Ended(code) => {
                self.state = State::Done;
                match Step::after(code, self.exchange())? {
                    Step::Answered => Next::Answered,
                    Step::Wait(detached) => Next::State(State::Detached(detached)),
                }
            }
        })
    }
}

enum Next {
    /// The exchange has its answer; it stays there, because it is large.
    Answered,
    State(State),
}

/// Collects a whole body, up to the limit.
async fn collect(body: Body, limit: Option<u64>) -> Result<Bytes, Failure> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    match http_body_util::Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Failure::new(failure::Code::BodyTooLarge))
        }
        Err(error) => {
            Err(Failure::new(failure::Code::BadRequest).detail("the request body broke off").source(error))
        }
    }
}

/// Calls an application that blocks, on a thread that may wait.
///
/// Dropping the future does not stop the call; its permit is kept until it returns.
async fn blocking(
    mut exchange: Box<Exchange>,
    waker: std::task::Waker,
) -> Result<(Handled, Box<Exchange>), Failure> {
    let generation = exchange.lease().generation();
    let permit = generation.blocking.acquire().await.map_err(|_| Failure::new(failure::Code::Draining))?;
    let handling = generation.runtime.spawn_blocking(move || {
        let inside = threads::enter_aside(generation.watch, &*exchange);
        let handled = generation.instance().handle(&mut exchange, &Context::from_waker(&waker));
        drop(inside);
        drop(permit);
        (handled, exchange)
    });
    handling.await.map_err(gone)
}

fn gone(error: tokio::task::JoinError) -> Failure {
    Failure::new(failure::Code::ApplicationFailed).source(error)
}

impl Future for Dispatch {
    type Output = Result<http::Response<Body>, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let ended = ready!(this.step(cx));
        // Ends the task, if there was one, before the client sees the answer.
        this.state = State::Done;
        // None: it was lost on the blocking pool.
        let Some(exchange) = &mut this.exchange else {
            return Poll::Ready(ended.and(Err(failure::Code::ApplicationFailed.into())));
        };
        let answer = match ended {
            Ok(()) => exchange.respond(),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &answer {
            note(exchange, failure);
        }
        Poll::Ready(answer)
    }
}

fn note(exchange: &Exchange, failure: &Failure) {
    tracing::debug!(
        application = %exchange.lease().name(),
        request_id = %exchange.facts().request_id,
        failure = failure.code.as_str(),
        "application gave no answer"
    );
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Detached(detached) => {
                let why = self.why();
                let _inside = threads::enter(self.exchange().lease().watch, &*detached);
                detached.cancel(why);
            }
            State::Task(task) => {
                let exchange = self.exchange();
                tracing::debug!(
                    application = %exchange.lease().name(),
                    request_id = %exchange.facts().request_id,
                    "request cancelled"
                );
                let _inside = threads::enter(exchange.lease().watch, &*exchange);
                drop(task);
            }
            _ => {}
        }
    }
}

impl Dispatch {
    /// Why nobody waits for the answer any more.
    fn why(&mut self) -> Code {
        let exchange = self.exchange();
        let late = exchange.facts().deadline.is_some_and(|deadline| deadline <= std::time::Instant::now());
        match late {
            true => code::E_TIMEOUT,
            false if exchange.lease().is_draining() => code::E_DRAINING,
            false => code::E_GONE,
        }
    }
}
