//! Another server is asked whether a request may pass.
//!
//! It gets the head of the request, as a GET, and what was asked for in `X-Forwarded-*`. If it answers 2xx the request goes
//! on, with fields of that answer; any other answer is the client's. Without an answer nobody passes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header, response};
use http_body_util::{BodyExt as _, Empty, Limited};

use super::client::Client;
use crate::{
    Body, Failure, authority,
    facts::{End, Facts},
    failure::Code,
    fields::{self, Sender},
    front::Forward,
    pipeline::{Kept, asked},
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
    client: Client,
}

/// The largest body of an answer that goes to a client: a page to log in with.
const LARGEST: usize = 1 << 20;

impl ForwardAuth {
    pub(super) fn new(forward: &Forward, place: &str, kept: &Kept, inner: Stage) -> Self {
        Self { shared: kept.at(place, forward, || Shared::new(forward)), inner }
    }
}

impl Serve for ForwardAuth {
    fn serve(&self, mut request: Request<Body>) -> Answering {
        let (shared, inner) = (Arc::clone(&self.shared), self.inner.clone());
        let question = question(&request);
        Box::pin(async move {
            let (answer, page) = shared.ask(question).await?;
            if !answer.status.is_success() {
                return Ok(refused(answer, page));
            }
            for name in &shared.forward.copy {
                fields::put(request.headers_mut(), name, answer.headers.get_all(name));
            }
            inner.serve(request).await
        })
    }
}

impl Shared {
    fn new(forward: &Forward) -> Self {
        Self { forward: forward.clone(), client: Client::new(forward) }
    }

    /// The answer of the server to these fields, whole.
    async fn ask(&self, fields: HeaderMap) -> Result<(response::Parts, Bytes), Failure> {
        let Forward { url, timeout, .. } = &self.forward;
        let unavailable = |why: String| Failure::new(Code::AuthUnavailable).detail(format!("{url}: {why}"));
        let mut question = Request::new(Empty::new());
        *question.uri_mut() = url.clone();
        *question.headers_mut() = fields;
        let asking = async {
            let answer = self.client.ask(question).await.map_err(&unavailable)?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            Ok((parts, body.map_err(|error| unavailable(error.to_string()))?.to_bytes()))
        };
        let late = |_| unavailable(format!("no answer in {timeout:?}"));
        tokio::time::timeout(*timeout, asking).await.map_err(late)?
    }
}

/// What the server gets to know of a request: what an application would, without its body, and what it asks for.
fn question(asked: &Request<Body>) -> HeaderMap {
    let mut fields = asked.headers().clone();
    fields::clean_request(&mut fields, Sender::Untrusted);
    for name in &NOT_ASKED {
        fields.remove(name);
    }
    let facts = asked.extensions().get::<Facts>();
    let text = |text: &str| HeaderValue::from_str(text).ok();
    let client = match facts.map_or(End::Unknown, Facts::client) {
        End::Ip(address) => text(&address.ip().to_canonical().to_string()),
        End::Unix | End::Unknown => None,
    };
    let told = [
        ("x-forwarded-method", text(asked.method().as_str())),
        // As it goes on, and not as it was sent: what is judged is what is served.
        ("x-forwarded-uri", text(&asked::target(asked))),
        ("x-forwarded-host", text(authority::of(asked))),
        ("x-forwarded-proto", text(asked::scheme(asked).as_str())),
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
    fields::clean_response(&mut answer.headers);
    for name in &NOT_TOLD {
        answer.headers.remove(name);
    }
    answer.version = http::Version::HTTP_11;
    Response::from_parts(answer, Body::from(page))
}

/// About the body, or what the client has already: there is none of these in the question. And which authority was asked
/// for, which is not the server's own.
const NOT_ASKED: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::TE,
    header::EXPECT,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

/// About a body that comes in another way.
const NOT_TOLD: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRAILER];
