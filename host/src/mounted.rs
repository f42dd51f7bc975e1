//! What requests for an application come to: the application, or the reason why there is none here.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use cohost::{
    Body, Failure,
    application::Hosted,
    failure::Code,
    http::is_grpc,
    stage::{Answering, Stage},
    supervisor::{life::Why, worker::Part},
};
use futures_util::future::{Either, Ready, ready};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use tower_service::Service;

use crate::{
    gate::{Closed, Gate},
    standing::Offline,
};

/// An application, or the reason why there is none here.
#[derive(Clone, Debug)]
pub(crate) enum Mounted {
    Hosted(Hosted, Gate),
    Refused(Refusal),
    Offline(Arc<Offline>),
    /// An application without code; or any of them, behind what it wants itself.
    Stage(Stage),
}

impl Service<Request<Body>> for Mounted {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Either<
        <Hosted as Service<Request<Body>>>::Future,
        Either<Ready<Result<Response<Body>, Failure>>, Answering>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match self {
            Self::Hosted(hosted, _) => hosted.poll_ready(cx),
            Self::Refused(_) | Self::Offline(_) | Self::Stage(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Hosted(hosted, gate) => match gate.refusal() {
                None => Either::Left(hosted.call(request)),
                Some(failure) => at_once(Err(failure)),
            },
            Self::Refused(refusal) => at_once(Err(refusal.failure(Instant::now()))),
            Self::Offline(offline) => at_once(offline.answer(request.headers())),
            Self::Stage(stage) => Either::Right(Either::Right(stage.call(request))),
        }
    }
}

/// An answer that nobody has to wait for.
fn at_once(answer: Result<Response<Body>, Failure>) -> <Mounted as Service<Request<Body>>>::Future {
    Either::Right(Either::Left(ready(answer)))
}

impl Offline {
    /// Its page, as it is, where there is one and the client could show it.
    fn answer(&self, asked: &HeaderMap) -> Result<Response<Body>, Failure> {
        let failure = Failure::new(Code::Offline).retry_after(RETRY_OFFLINE);
        // For those a failure becomes a status of their own.
        let is_grpc = asked.get(header::CONTENT_TYPE).is_some_and(|content| is_grpc(content.as_bytes()));
        let Some(page) = self.page.as_ref().filter(|_| !is_grpc) else { return Err(failure) };
        let mut answer = Response::new(Body::from(page.clone()));
        *answer.status_mut() = failure.code.status();
        let fields = answer.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(header::RETRY_AFTER, RETRY_OFFLINE.as_secs().into());
        fields.insert("cohost-failure", HeaderValue::from_static(failure.code.as_str()));
        // The access record names it.
        answer.extensions_mut().insert(failure.code);
        Ok(answer)
    }
}

/// Nobody knows how long it takes; a deployment, usually, some seconds.
const RETRY_OFFLINE: Duration = Duration::from_secs(10);

/// Why applications in process are not served for a while.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) detail: Arc<str>,
    pub(crate) since: SystemTime,
    pub(crate) until: Instant,
}

impl Refusal {
    /// Why a worker for this part refuses applications in process; `None` if it does not.
    pub(crate) fn of(part: Part, now: Instant) -> Option<Self> {
        let Part::Safe { why, retry_after } = part else { return None };
        let detail = match why {
            Why::BackingOff => {
                "the last worker ended before it was ready; one of the applications in process ended it"
            }
            Why::FailFast => {
                "too many workers ended within a minute; one of the applications in process ended them"
            }
        };
        Some(Self { detail: detail.into(), since: SystemTime::now(), until: now + retry_after })
    }

    /// The same, as gates have it.
    pub(crate) fn closed(&self) -> Closed {
        let (code, detail) = (Code::WorkerCrashed, self.detail.to_string());
        Closed { code, detail, since: self.since, until: self.until, held: false }
    }

    fn failure(&self, now: Instant) -> Failure {
        // When it is over, the next worker may be about to take over, or to fail as the last one did.
        self.closed().failure(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::By;

    #[test]
    fn an_offline_application_shows_its_page_to_whoever_can_see_one() {
        let offline = Offline { by: By::Operator, page: Some("<p>back at noon".to_owned()) };
        let answer = offline.answer(&HeaderMap::new()).unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
        assert_eq!(answer.headers()["cohost-failure"], "offline");

        let grpc =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]);
        assert_eq!(offline.answer(&grpc).unwrap_err().code, Code::Offline);
        let without = Offline { page: None, ..offline };
        let failure = without.answer(&HeaderMap::new()).unwrap_err();
        assert_eq!((failure.code, failure.retry_after), (Code::Offline, Some(RETRY_OFFLINE)));
    }
}
