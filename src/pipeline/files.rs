//! Files below a folder, in place of what is behind, or before it.
//!
//! In: a request. Out: the file that its path names; where there is none, the answer of what is behind. Never: shows what
//! is hidden, or lists a directory.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use tokio::runtime::Handle;
use tower_service::Service;

use crate::{
    Body, Failure,
    facts::{Base, Facts},
    failure::Code,
    files::{Found, Name, NotOpened, Opened, Piece, open},
    front,
    stage::{Answering, Stage},
};

/// Files before what is behind, or alone.
#[derive(Clone, Debug)]
pub struct Files {
    files: Arc<front::Files>,
    behind: Option<Stage>,
}

impl Files {
    /// These files, and nothing else.
    #[must_use]
    pub fn alone(files: front::Files) -> Self {
        Self { files: Arc::new(files), behind: None }
    }

    /// These files, and what is behind where there is none of them.
    #[must_use]
    pub fn before(files: front::Files, behind: Stage) -> Self {
        Self { files: Arc::new(files), behind: Some(behind) }
    }
}

impl Service<Request<Body>> for Files {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        Box::pin(answered(Arc::clone(&self.files), self.behind.clone(), request))
    }
}

async fn answered(
    files: Arc<front::Files>,
    behind: Option<Stage>,
    request: Request<Body>,
) -> Result<Response<Body>, Failure> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return match behind {
            Some(mut behind) => behind.call(request).await,
            None => Ok(not_allowed()),
        };
    }
    let found = find(files, Name::of(below(&request))).await;
    match (found, behind) {
        (Err(NotOpened::Missing), Some(mut behind)) => behind.call(request).await,
        (Err(why), _) => Err(failure(&why)),
        (Ok(Target::File(name, opened)), _) => Ok(answer(request.method(), &name, opened)),
        (Ok(Target::Directory), _) => Ok(redirect(request.uri())),
    }
}

/// What a path leads to.
enum Target {
    /// A file, and what it is called.
    File(String, Opened),
    /// A directory whose path lacks its slash.
    Directory,
}

async fn find(files: Arc<front::Files>, name: Option<Name>) -> Result<Target, NotOpened> {
    let name = name.filter(|name| !name.is_hidden()).ok_or(NotOpened::Missing)?;
    let look = move || look(&files, &name);
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| NotOpened::Failed(std::io::Error::other(error)))?
}

/// The path without that of the application whose files they are.
fn below(request: &Request<Body>) -> &str {
    let path = request.uri().path();
    match request.extensions().get::<Facts>() {
        Some(facts) if facts.base == Base::InPath => path.strip_prefix(&*facts.path_base).unwrap_or(path),
        _ => path,
    }
}

fn look(files: &front::Files, name: &Name) -> Result<Target, NotOpened> {
    if !name.is_directory() {
        return Ok(match open(&files.root, name.path())? {
            Found::File(opened) => Target::File(last(name), opened),
            Found::Directory => Target::Directory,
        });
    }
    for document in &files.default_documents {
        match open(&files.root, &name.path().join(document)) {
            Ok(Found::File(opened)) => return Ok(Target::File(document.clone(), opened)),
            Ok(Found::Directory) | Err(NotOpened::Missing | NotOpened::NoFile) => {}
            Err(why) => return Err(why),
        }
    }
    Err(NotOpened::Missing)
}

fn last(name: &Name) -> String {
    name.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn answer(method: &Method, name: &str, opened: Opened) -> Response<Body> {
    let length = u64::try_from(opened.stat.st_size).unwrap_or_default();
    let body = match *method {
        Method::HEAD => Body::empty(),
        _ => Body::new(Piece::new(Arc::new(opened.file), 0, length, Handle::current())),
    };
    let mut answer = Response::new(body);
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, content_type(name));
    fields.insert(header::CONTENT_LENGTH, length.into());
    answer
}

/// What a file of this name is, by what stands behind its last dot.
fn content_type(name: &str) -> HeaderValue {
    let guessed = mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream");
    // Without it, browsers guess, and some guess the encoding of the visitor's country.
    match guessed.starts_with("text/") {
        true => HeaderValue::try_from(format!("{guessed}; charset=utf-8")).expect("types are plain text"),
        false => HeaderValue::from_static(guessed),
    }
}

/// The path of a directory gets its slash, so that links in its page lead below it. It names no authority, and cannot be
/// taken for one: a path that begins with two slashes names no directory.
fn redirect(uri: &Uri) -> Response<Body> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(place) = HeaderValue::try_from(format!("{}/{query}", uri.path())) {
        answer.headers_mut().insert(header::LOCATION, place);
    }
    answer
}

fn not_allowed() -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

fn failure(why: &NotOpened) -> Failure {
    let code = match why {
        NotOpened::Missing | NotOpened::Outside | NotOpened::NoFile => Code::NoFile,
        NotOpened::Denied => Code::FileDenied,
        NotOpened::Folder(_) | NotOpened::Failed(_) => Code::FileUnavailable,
    };
    Failure::new(code).detail(why.to_string())
}
