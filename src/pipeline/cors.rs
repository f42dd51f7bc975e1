//! Pages of other origins may read what they get, and browsers are told so before they ask.
//!
//! tower-http does it. It would take every OPTIONS for a browser's question, so that an application could not answer one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use http::{HeaderMap, Method, Request, Response, header};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, Cors, CorsLayer, ExposeHeaders};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::{
    Body, Failure,
    front::{self, Shared},
    stage::{Answering, Serve, Stage},
};

/// In front of what may be read.
#[derive(Clone, Debug)]
pub(super) struct CrossOrigin {
    shared: Cors<Answers>,
    inner: Stage,
}

impl CrossOrigin {
    pub(super) fn new(cors: &front::Cors, inner: Stage) -> Self {
        Self { shared: layer(cors).layer(Answers(inner.clone())), inner }
    }
}

fn layer(cors: &front::Cors) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_origin(match &cors.origins {
            Shared::WithAny => AllowOrigin::any(),
            // A list would be copied for each request.
            Shared::With(origins) => {
                let origins: Arc<[_]> = origins.as_slice().into();
                AllowOrigin::predicate(move |origin, _| origins.contains(origin))
            }
        })
        .allow_methods(match &cors.methods {
            Shared::WithAny => AllowMethods::any(),
            Shared::With(methods) => AllowMethods::list(methods.iter().cloned()),
        })
        .allow_headers(match &cors.headers {
            Shared::WithAny => AllowHeaders::any(),
            Shared::With(names) => AllowHeaders::list(names.iter().cloned()),
        })
        .expose_headers(match &cors.expose {
            Shared::WithAny => ExposeHeaders::any(),
            Shared::With(names) => ExposeHeaders::list(names.iter().cloned()),
        })
        .allow_credentials(cors.has_credentials());
    match cors.max_age {
        Some(age) => layer.max_age(age),
        None => layer,
    }
}

impl Serve for CrossOrigin {
    fn serve(&self, request: Request<Body>) -> Answering {
        if request.method() == Method::OPTIONS && !is_question(request.headers()) {
            return self.inner.serve(request);
        }
        let shared = self.shared.clone().call(request);
        Box::pin(async move {
            let mut answer = shared.await?;
            let carried = answer.extensions_mut().remove::<Carried>();
            match carried.and_then(|Carried(failure)| taken(&failure)) {
                None => Ok(answer),
                Some(failure) => {
                    let fields = std::mem::take(answer.headers_mut());
                    Err(failure.amended(move |page| page.extend(fields.clone())))
                }
            }
        })
    }
}

/// Has failures come as answers: pages may read those, too, and tower-http gives fields to answers alone.
#[derive(Clone, Debug)]
struct Answers(Stage);

#[derive(Clone)]
struct Carried(Arc<Mutex<Option<Failure>>>);

fn taken(failure: &Mutex<Option<Failure>>) -> Option<Failure> {
    failure.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Service<Request<Body>> for Answers {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let answering = self.0.serve(request);
        Box::pin(async move {
            answering.await.or_else(|failure| {
                let mut answer = Response::new(Body::empty());
                answer.extensions_mut().insert(Carried(Arc::new(Mutex::new(Some(failure)))));
                Ok(answer)
            })
        })
    }
}

/// Whether it is a browser that asks before it asks.
fn is_question(fields: &HeaderMap) -> bool {
    fields.contains_key(header::ORIGIN) && fields.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}
