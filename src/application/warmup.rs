//! The first requests of a start: the host's own, before anybody else's.
//!
//! In: what has just started. Out: it is ready for requests of clients, or why not. Never: takes more time than is left for
//! the start.

use std::sync::Arc;

use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::{builder::Definition, current::Dispatcher};
use crate::{
    Body, Failure,
    body::BodyError,
    facts::{Base, Facts},
    failure::Code,
};

/// Asks for the paths in `warmup`, one after the other.
pub(super) async fn warm_up(
    definition: &Definition,
    dispatcher: &Dispatcher,
    deadline: Instant,
) -> Result<(), Failure> {
    for path in &definition.options.warmup {
        let asked = tokio::time::timeout_at(deadline, ask(definition, dispatcher, path));
        asked.await.unwrap_or_else(|_| {
            let limit = definition.options.startup_timeout;
            let detail = format!("no answer to GET {path} within startup_timeout, which is {limit:?}");
            Err(Failure::new(Code::WarmupFailed).detail(detail))
        })?;
    }
    Ok(())
}

async fn ask(definition: &Definition, dispatcher: &Dispatcher, path: &str) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(Code::WarmupFailed).detail(format!("GET {path}: {what}"));
    let request = request(definition, path).map_err(|error| failed(error.to_string()))?;
    let answer = send(dispatcher, request).await.map_err(|failure| failed(failure.to_string()))?;
    let status = answer.status();
    if status.is_server_error() {
        return Err(failed(format!("answered with {status}")));
    }
    read(answer.into_body()).await.map_err(|error| failed(format!("the answer broke off: {error}")))
}

fn request(definition: &Definition, path: &str) -> Result<Request<Body>, http::Error> {
    let authority = definition.options.warmup_authority.as_deref().unwrap_or("localhost");
    let mut request = Request::builder()
        .uri(format!("{}{path}", definition.path_base))
        .header(header::HOST, authority)
        .header(header::USER_AGENT, "cohost (warmup)")
        .body(Body::empty())?;
    let path_base = Arc::clone(&definition.path_base);
    request.extensions_mut().insert(Facts { path_base, base: Base::InPath, ..Facts::unknown() });
    Ok(request)
}

async fn send(dispatcher: &Dispatcher, request: Request<Body>) -> Result<Response<Body>, Failure> {
    match dispatcher {
        Dispatcher::InProcess(dispatcher) => dispatcher.dispatch(request).await,
        #[cfg(feature = "out-of-process")]
        Dispatcher::OutOfProcess(forwarder) => forwarder.forward(request).await,
    }
}

/// To its end: what is left half-way is cancelled, and the application would not have done it.
async fn read(mut body: Body) -> Result<(), BodyError> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}
