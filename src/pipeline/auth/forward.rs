//! Another server is asked whether a request may pass.
//!
//! It gets the head of the request, as a GET, and what was asked for in `X-Forwarded-*`. If it answers 2xx the request goes
//! on, with fields of that answer; any other answer is the client's. Without an answer nobody passes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header, request, response};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{
    Body, Failure,
    facts::{End, Facts, Scheme},
    failure::Code,
    front::Forward,
    private::is_private,
    stage::{Answering, Serve, Stage},
};

/// Lets pass what another server lets pass.
#[derive(Clone, Debug)]
pub(super) struct ForwardAuth {
    shared: Arc<Shared>,
    inner: Stage,
}

#[derive(Debug)]
struct Shared {
    forward: Forward,
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// The largest body of an answer that goes to a client: a page to log in with.
const LARGEST: usize = 1 << 20;

impl ForwardAuth {
    pub(super) fn new(forward: &Forward, inner: Stage) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http();
        Self { shared: Arc::new(Shared { forward: forward.clone(), client }), inner }
    }
}

impl Serve for ForwardAuth {
    fn serve(&self, request: Request<Body>) -> Answering {
        let (shared, inner) = (Arc::clone(&self.shared), self.inner.clone());
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let (answer, page) = shared.ask(&parts).await?;
            if !answer.status.is_success() {
                return Ok(refused(answer, page));
            }
            shared.forward.hand_on(&answer.headers, &mut parts.headers);
            inner.serve(Request::from_parts(parts, body)).await
        })
    }
}

impl Shared {
    /// The answer of the server, whole.
    async fn ask(&self, asked: &request::Parts) -> Result<(response::Parts, Bytes), Failure> {
        let Forward { url, timeout, .. } = &self.forward;
        let unavailable = |why: String| Failure::new(Code::AuthUnavailable).detail(format!("{url}: {why}"));
        let mut question = Request::new(Empty::new());
        *question.uri_mut() = url.clone();
        *question.headers_mut() = fields(asked);
        let asking = async {
            let answer: Response<Incoming> =
                self.client.request(question).await.map_err(|error| unavailable(causes(&error)))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            Ok((parts, body.map_err(|error| unavailable(error.to_string()))?.to_bytes()))
        };
        let late = |_| unavailable(format!("no answer in {timeout:?}"));
        tokio::time::timeout(*timeout, asking).await.map_err(late)?
    }
}

impl Forward {
    /// Gives a request the fields that were asked for, and none of these from anybody else.
    fn hand_on(&self, answer: &HeaderMap, request: &mut HeaderMap) {
        for name in &self.copy {
            // In either spelling: where names become variables, `_` and `-` are the same.
            let is_same =
                |other: &&HeaderName| other.as_str().replace('_', "-") == name.as_str().replace('_', "-");
            for spelling in request.keys().filter(is_same).cloned().collect::<Vec<_>>() {
                request.remove(spelling);
            }
            for value in answer.get_all(name) {
                request.append(name, value.clone());
            }
        }
    }
}

/// What the server gets to know of a request.
fn fields(asked: &request::Parts) -> HeaderMap {
    let connection = of_connection(&asked.headers);
    let mut fields = HeaderMap::new();
    for (name, value) in &asked.headers {
        let is_ours = name.as_str().starts_with("x-forwarded-") || is_private(name.as_str());
        if !is_ours && !NOT_ASKED.contains(name) && !connection.contains(name) {
            fields.append(name, value.clone());
        }
    }
    let facts = asked.extensions.get::<Facts>();
    let sent =
        facts.and_then(|facts| facts.target.as_deref()).and_then(|sent| HeaderValue::from_bytes(sent).ok());
    let path = || HeaderValue::from_str(asked.uri.path_and_query()?.as_str()).ok();
    let authority = || HeaderValue::from_str(asked.uri.authority()?.as_str()).ok();
    let client = match facts.map_or(End::Unknown, Facts::client) {
        End::Ip(address) => HeaderValue::from_str(&address.ip().to_canonical().to_string()).ok(),
        End::Unix | End::Unknown => None,
    };
    let scheme = facts.map_or(Scheme::Http, |facts| facts.scheme).as_str();
    let told: [(&'static str, Option<HeaderValue>); 5] = [
        ("x-forwarded-method", HeaderValue::from_str(asked.method.as_str()).ok()),
        ("x-forwarded-uri", sent.or_else(path)),
        ("x-forwarded-host", authority().or_else(|| asked.headers.get(header::HOST).cloned())),
        ("x-forwarded-proto", Some(HeaderValue::from_static(scheme))),
        ("x-forwarded-for", client),
    ];
    for (name, value) in told {
        if let Some(value) = value {
            fields.insert(HeaderName::from_static(name), value);
        }
    }
    fields
}

/// The answer in place of the application's.
fn refused(mut answer: response::Parts, page: Bytes) -> Response<Body> {
    let connection = of_connection(&answer.headers);
    for name in NOT_TOLD.iter().chain(&connection) {
        answer.headers.remove(name);
    }
    answer.version = http::Version::HTTP_11;
    Response::from_parts(answer, Body::from(page))
}

/// Fields that are about one connection, by what it says itself.
fn of_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// About the connection, the body, or what the client has already: there is none of these in the question.
const NOT_ASKED: [HeaderName; 16] = [
    header::CONNECTION,
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::FORWARDED,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::PROXY_AUTHORIZATION,
];

/// About a connection that is not the client's.
const NOT_TOLD: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
];

/// An error with all that led to it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
