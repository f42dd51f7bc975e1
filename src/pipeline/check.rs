//! What looks at a request and lets it pass, or not: the shape that most stages of a site have.
//!
//! Several checks in a row are one service. A stage that has to see the answer, or to wait, is none.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use crate::{
    Body, Failure,
    facts::{End, Facts},
    front::Enforcement,
};

/// Looks at a request before it goes on.
pub trait Check: fmt::Debug + Send + Sync + 'static {
    /// Lets it pass, changed perhaps, or says what it gets instead.
    ///
    /// # Errors
    /// What is answered in place of everything behind this.
    fn check(&self, request: &mut Request<Body>) -> Result<(), Instead>;
}

/// What a request gets that did not pass.
#[derive(Debug)]
pub enum Instead {
    /// This answer.
    Answer(Box<Response<Body>>),
    /// The page of this failure.
    Failure(Box<Failure>),
}

impl From<Failure> for Instead {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl From<Response<Body>> for Instead {
    fn from(answer: Response<Body>) -> Self {
        Self::Answer(Box::new(answer))
    }
}

/// What comes of a rule that was broken: `failure`, or a line of the log that says so.
pub(super) fn refuse<B>(
    failure: Failure,
    enforcement: Enforcement,
    request: &Request<B>,
) -> Result<(), Failure> {
    if enforcement == Enforcement::Refuse {
        return Err(failure);
    }
    let client = match request.extensions().get::<Facts>().map_or(End::Unknown, Facts::client) {
        End::Ip(address) => address.ip().to_string(),
        other => other.to_string(),
    };
    tracing::info!(client, code = %failure.code, detail = failure.detail, "would be refused");
    Ok(())
}

/// Checks in a row, in front of `inner`.
#[derive(Clone, Debug)]
pub struct Checked<S> {
    checks: Arc<[Box<dyn Check>]>,
    inner: S,
}

impl<S> Checked<S> {
    /// The first one looks first; those behind one that refuses do not look any more.
    #[must_use]
    pub fn new(checks: Vec<Box<dyn Check>>, inner: S) -> Self {
        Self { checks: checks.into(), inner }
    }
}

impl<S> Service<Request<Body>> for Checked<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure>,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Passing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Passing<S::Future> {
        match self.checks.iter().try_for_each(|check| check.check(&mut request)) {
            Ok(()) => Passing { inner: Some(self.inner.call(request)), instead: None },
            Err(instead) => Passing { inner: None, instead: Some(instead) },
        }
    }
}

pin_project_lite::pin_project! {
    /// An answer to come.
    pub struct Passing<F> {
        // None: it did not pass.
        #[pin]
        inner: Option<F>,
        instead: Option<Instead>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Failure>>> Future for Passing<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(inner) = this.inner.as_pin_mut() {
            return inner.poll(cx);
        }
        Poll::Ready(match this.instead.take().expect("polled after it was ready") {
            Instead::Answer(answer) => Ok(*answer),
            Instead::Failure(failure) => Err(*failure),
        })
    }
}
