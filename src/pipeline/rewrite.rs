//! Rules that give requests another path, send clients elsewhere, or answer them; and those for fields of answers.
//!
//! In: a request. Out: the same with another path, whose own is kept in the facts; or an answer. Never: changes the
//! authority, or what a path begins with that is not its own.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};

use super::{
    asked::{self, Asked},
    check::Instead,
    files::{Wait, there_is},
    headers::Amend,
    https::redirect,
};
use crate::{
    Body, Failure,
    facts::Facts,
    failure::Code,
    files::{NotOpened, There},
    front::{
        self,
        rewrite::{Files, Fired, Kind, Outbound, Outcome, Refused, Rule, Rules, Unseen},
    },
    stage::{Answering, Serve, Stage},
};

/// Rules before what is behind.
#[derive(Clone, Debug)]
pub(super) struct Rewriting {
    rules: Arc<Rules>,
    /// Files that are sent from some folder, if there are.
    files: Option<Arc<front::Files>>,
    behind: Stage,
}

impl Rewriting {
    pub(super) fn new(rules: Rules, files: Option<front::Files>, behind: Stage) -> Self {
        Self { rules: Arc::new(rules), files: files.map(Arc::new), behind }
    }
}

impl Serve for Rewriting {
    fn serve(&self, mut request: Request<Body>) -> Answering {
        let disk = Disk { own: self.files.as_deref(), wait: Wait::Never };
        match decide(&self.rules, disk, &mut request) {
            Ok(()) => return self.behind.serve(request),
            Err(Stopped::Instead(instead)) => return Box::pin(std::future::ready(instead.into_result())),
            Err(Stopped::Disk) => {}
        }
        let (rules, files, behind) = (Arc::clone(&self.rules), self.files.clone(), self.behind.clone());
        Box::pin(async move {
            // A disk may take its time, and this thread has others to serve.
            let decided = tokio::task::spawn_blocking(move || {
                let disk = Disk { own: files.as_deref(), wait: Wait::ForDisk };
                let decided = decide(&rules, disk, &mut request);
                (decided, request)
            });
            let (decided, request) =
                decided.await.map_err(|error| Failure::new(Code::RewriteFailed).source(error))?;
            match decided {
                Ok(()) => behind.serve(request).await,
                Err(Stopped::Instead(instead)) => instead.into_result(),
                Err(Stopped::Disk) => Err(Failure::new(Code::RewriteFailed)),
            }
        })
    }
}

/// Why a request does not go on.
enum Stopped {
    /// It gets this.
    Instead(Instead),
    /// A disk has to be waited for. Nothing has been done yet.
    Disk,
}

impl From<Instead> for Stopped {
    fn from(instead: Instead) -> Self {
        Self::Instead(instead)
    }
}

/// Does to `request` what the rules say.
fn decide(rules: &Rules, disk: Disk<'_>, request: &mut Request<Body>) -> Result<(), Stopped> {
    if !request.uri().path().starts_with('/') {
        return Ok(()); // `*`, of OPTIONS, is no path
    }
    let mut notes = Vec::new();
    let mut note = |rule: &Rule, fired: Fired<'_>| {
        if tracing::enabled!(tracing::Level::DEBUG) {
            notes.push((rule.name.clone(), format!("{fired:?}")));
        }
    };
    let decided = match rules.decide(asked::subject(request), &disk, &mut note) {
        Err(Refused::Files { why: Unseen::Yet, .. }) => return Err(Stopped::Disk),
        decided => decided,
    };
    // What is decided again is told once.
    for (rule, fired) in notes {
        tracing::debug!(rule, fired, "rewrite rule");
    }
    let rewritten = match decided.map_err(|refused| failure(&refused))? {
        Outcome::Pass => return Ok(()),
        Outcome::Rewritten(target) => target,
        Outcome::Redirect(status, target) => {
            return Err(redirect(status, &seen_from_outside(request, target)).into());
        }
        Outcome::Respond(response) => {
            let mut answer = Response::new(Body::from(response.body.clone()));
            *answer.status_mut() = response.status;
            if !response.body.is_empty() {
                answer.headers_mut().insert(header::CONTENT_TYPE, response.content_type.clone());
            }
            return Err(Instead::from(answer).into());
        }
        Outcome::Abort => return Err(Instead::from(Failure::new(Code::Aborted)).into()),
    };
    go_to(request, &rewritten).map_err(|failure| Instead::from(failure).into())
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
    let disk = Disk { own: None, wait: Wait::ForDisk };
    rules.decide(asked::subject(request), &disk, fired).map(|_| ())
}

fn failure(refused: &Refused) -> Instead {
    let code = match refused {
        Refused::Client { .. } => Code::BadRequest,
        Refused::Files { .. } => Code::FileUnavailable,
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

/// What there is below folders.
#[derive(Clone, Copy, Debug)]
struct Disk<'a> {
    /// Files that are sent, and say of themselves which are not.
    own: Option<&'a front::Files>,
    wait: Wait,
}

impl Files for Disk<'_> {
    fn kind(&self, folder: &Path, path: &str) -> Result<Option<Kind>, Unseen> {
        // As a file that is sent would be found: what is named here and sent there is the same.
        match there_is(folder, self.own, path, self.wait).ok_or(Unseen::Yet)? {
            Ok(There::File) => Ok(Some(Kind::File)),
            Ok(There::Directory) => Ok(Some(Kind::Directory)),
            Ok(There::Nothing) => Ok(None),
            // In a folder that is not there is nothing either.
            Err(NotOpened::Folder(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(Unseen::Failed(why.to_string())),
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
