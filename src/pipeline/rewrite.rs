//! Rules that give requests another path, send clients elsewhere, or answer them; and those for fields of answers.
//!
//! In: a request. Out: the same with another path, whose own is kept in the facts; or an answer. Never: changes the
//! authority, or what a path begins with that is not its own.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};

use super::{
    asked::{self, Asked},
    check::Instead,
    headers::Amend,
    https::redirect,
};
use crate::{
    Body, Failure,
    facts::Facts,
    failure::Code,
    files::{Found, Name, open},
    front::rewrite::{Files, Fired, Kind, Outbound, Outcome, Refused, Rule, Rules},
    stage::{Answering, Serve, Stage},
};

/// Rules before what is behind.
#[derive(Clone, Debug)]
pub(super) struct Rewriting {
    rules: Arc<Rules>,
    behind: Stage,
}

impl Rewriting {
    pub(super) fn new(rules: Rules, behind: Stage) -> Self {
        Self { rules: Arc::new(rules), behind }
    }
}

impl Serve for Rewriting {
    fn serve(&self, mut request: Request<Body>) -> Answering {
        let (rules, behind) = (Arc::clone(&self.rules), self.behind.clone());
        if rules.look_for_files() {
            return Box::pin(async move {
                // A disk may take its time, and this thread has others to serve.
                let decided = tokio::task::spawn_blocking(move || {
                    let decided = decide(&rules, &mut request);
                    (decided, request)
                });
                let (decided, request) =
                    decided.await.map_err(|error| Failure::new(Code::RewriteFailed).source(error))?;
                match decided {
                    Ok(()) => behind.serve(request).await,
                    Err(instead) => instead.into_result(),
                }
            });
        }
        match decide(&rules, &mut request) {
            Ok(()) => behind.serve(request),
            Err(instead) => Box::pin(std::future::ready(instead.into_result())),
        }
    }
}

/// Does to `request` what the rules say.
fn decide(rules: &Rules, request: &mut Request<Body>) -> Result<(), Instead> {
    if !request.uri().path().starts_with('/') {
        return Ok(()); // `*`, of OPTIONS, is no path
    }
    let subject = asked::subject(request);
    let rewritten = match rules.decide(subject, &Disk, &mut note).map_err(|refused| failure(&refused))? {
        Outcome::Pass => return Ok(()),
        Outcome::Rewritten(target) => target,
        Outcome::Redirect(status, target) => {
            return Err(redirect(status, &seen_from_outside(request, target)));
        }
        Outcome::Respond(response) => {
            let mut answer = Response::new(Body::from(response.body.clone()));
            *answer.status_mut() = response.status;
            if !response.body.is_empty() {
                answer.headers_mut().insert(header::CONTENT_TYPE, response.content_type.clone());
            }
            return Err(answer.into());
        }
        Outcome::Abort => return Err(Failure::new(Code::Aborted).into()),
    };
    go_to(request, &rewritten).map_err(Into::into)
}

/// Tells which of the rules fire for `request`, and does not do what they say. Looks for files where they want that, and
/// waits for the disk.
///
/// # Errors
/// Why they would fail.
pub fn fired(
    rules: &Rules,
    request: &Request<Body>,
    fired: &mut dyn FnMut(&Rule, Fired<'_>),
) -> Result<(), Refused> {
    rules.decide(asked::subject(request), &Disk, fired).map(|_| ())
}

fn note(rule: &Rule, fired: Fired<'_>) {
    tracing::debug!(rule = rule.name, ?fired, "rewrite rule");
}

fn failure(refused: &Refused) -> Instead {
    let code = match refused {
        Refused::Client { .. } => Code::BadRequest,
        _ => Code::RewriteFailed,
    };
    Failure::new(code).detail(refused.to_string()).into()
}

/// A path of ours with what stands before it for clients; anything else as it is.
fn seen_from_outside(request: &Request<Body>, target: String) -> String {
    if !target.starts_with('/') || target.starts_with("//") {
        return target;
    }
    match request.extensions().get::<Facts>() {
        Some(facts) => format!("{}{target}", facts.path_base),
        None => target,
    }
}

/// Gives `request` another path and query, behind what its path begins with that is not its own.
fn go_to(request: &mut Request<Body>, target: &str) -> Result<(), Failure> {
    let facts = request.extensions().get::<Facts>();
    let whole = format!("{}{target}", facts.and_then(asked::base).unwrap_or_default());
    let malformed =
        |error: http::Error| Failure::new(Code::BadRequest).detail("rewritten, it is no path").source(error);
    let whole =
        PathAndQuery::from_maybe_shared(Bytes::from(whole)).map_err(|error| malformed(error.into()))?;
    let before =
        request.uri().path_and_query().map(|target| Bytes::copy_from_slice(target.as_str().as_bytes()));
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(whole);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| malformed(error.into()))?;
    if let Some(facts) = request.extensions_mut().get_mut::<Facts>() {
        facts.target = facts.target.take().or(before);
    }
    Ok(())
}

impl Instead {
    fn into_result(self) -> Result<Response<Body>, Failure> {
        match self {
            Self::Answer(answer) => Ok(*answer),
            Self::Failure(failure) => Err(*failure),
        }
    }
}

/// What there is below folders. Looks through the file system, and waits for it.
#[derive(Clone, Copy, Debug)]
struct Disk;

impl Files for Disk {
    fn kind(&self, folder: &Path, path: &str) -> Option<Kind> {
        // As a file that is sent would be found: what is named here and sent there is the same.
        match open(folder, Name::of(path)?.path()).ok()? {
            Found::File(_) => Some(Kind::File),
            Found::Directory(_) => Some(Kind::Directory),
        }
    }
}

impl Amend for Outbound {
    fn amend(&self, asked: &Asked, status: StatusCode, fields: &mut HeaderMap) {
        if self.concerns(status, fields) && self.amend(asked.subject(), status, fields) {
            tracing::debug!(rule = self.name, field = %self.field, "outbound rule");
        }
    }

    fn wanted(&self) -> Vec<HeaderName> {
        self.request_fields()
    }
}
