//! Fields that answers have, or have not, whoever made them: the application, or the host.
//!
//! Not tower-http's layers for that: they see no failures, which are pages only later, and there would be one for each
//! field.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use tower_service::Service;

use super::asked::Asked;
use crate::{
    Body, Failure,
    facts::Scheme,
    front::{Headers, Hsts},
};

/// Changes the head of an answer.
pub(super) trait Amend: fmt::Debug + Send + Sync + 'static {
    /// Does so, in an answer of that status to what was asked.
    fn amend(&self, asked: &Asked, status: StatusCode, fields: &mut HeaderMap);

    /// The fields of the request that it has to know for that.
    fn wanted(&self) -> Vec<HeaderName> {
        Vec::new()
    }
}

impl Amend for Headers {
    fn amend(&self, _: &Asked, _: StatusCode, fields: &mut HeaderMap) {
        self.amend(fields);
    }
}

/// In clear text anybody could have written it, and browsers do not believe it.
impl Amend for Hsts {
    fn amend(&self, asked: &Asked, _: StatusCode, fields: &mut HeaderMap) {
        if asked.scheme == Scheme::Https {
            fields.insert(header::STRICT_TRANSPORT_SECURITY, self.value());
        }
    }
}

/// Several changes in a row, made to the answers of `inner`, and to the pages of its failures.
#[derive(Clone, Debug)]
pub(super) struct Amended<S> {
    amends: Arc<[Box<dyn Amend>]>,
    /// The fields of requests that they have to know, each once.
    wanted: Arc<[HeaderName]>,
    inner: S,
}

impl<S> Amended<S> {
    /// The first change is made first.
    #[must_use]
    pub(super) fn new(amends: Vec<Box<dyn Amend>>, inner: S) -> Self {
        let mut wanted: Vec<HeaderName> = Vec::new();
        for name in amends.iter().flat_map(|amend| amend.wanted()) {
            if !wanted.contains(&name) {
                wanted.push(name);
            }
        }
        Self { amends: amends.into(), wanted: wanted.into(), inner }
    }
}

impl<S> Service<Request<Body>> for Amended<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure>,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Amending<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Amending<S::Future> {
        let asked = Some(Asked::of(&request, &self.wanted));
        Amending { inner: self.inner.call(request), amends: Arc::clone(&self.amends), asked }
    }
}

pin_project_lite::pin_project! {
    /// An answer to come.
    pub(super) struct Amending<F> {
        #[pin]
        inner: F,
        amends: Arc<[Box<dyn Amend>]>,
        asked: Option<Asked>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Failure>>> Future for Amending<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        let asked = this.asked.take().expect("polled after it was ready");
        Poll::Ready(match answer {
            Ok(mut answer) => {
                let status = answer.status();
                this.amends.iter().for_each(|amend| amend.amend(&asked, status, answer.headers_mut()));
                Ok(answer)
            }
            Err(failure) => {
                let (status, amends) = (failure.code.status(), Arc::clone(this.amends));
                Err(failure.amended(move |fields| {
                    amends.iter().for_each(|amend| amend.amend(&asked, status, fields));
                }))
            }
        })
    }
}
