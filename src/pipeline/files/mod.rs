//! Files below a folder, in place of what is behind, or before it.
//!
//! In: a request. Out: the file that its path names; where there is none, the answer of what is behind. Never: shows what
//! is hidden, or lists a directory where that is not wanted.

mod kept;
mod list;
mod look;
mod page;
mod private;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use tokio::runtime::Handle;

pub(super) use self::look::{Wait, there_is};
use self::{
    kept::{Kept, Memory},
    list::Listing,
    look::{Codings, Read, Target},
    page::Form,
};
use crate::{
    Body, Failure,
    facts::{Base, Facts},
    failure::Code,
    files::{Asked, Content, Name, NotOpened, Validators, answer},
    front::{self, Order},
    stage::{Answering, Serve, Stage},
};

/// Files before what is behind, or alone. Clones share what is in memory.
#[derive(Clone, Debug)]
pub struct Files {
    shelf: Arc<Shelf>,
    behind: Option<Stage>,
}

/// The files, and what of them is in memory.
///
/// What is not there is not remembered: the kernel knows that by heart, and is asked without waiting. So a file that comes
/// is seen at once, and who asks for one path after another fills nobody's memory.
#[derive(Debug)]
struct Shelf {
    files: front::Files,
    memory: Option<Memory>,
    /// Whether what is not there is seen before anything else is done.
    is_asked_first: bool,
}

impl Files {
    /// These files, and nothing else.
    #[must_use]
    pub fn alone(files: front::Files) -> Self {
        Self { shelf: Arc::new(Shelf::new(files, None)), behind: None }
    }

    /// These files, and what is behind where there is none of them.
    #[must_use]
    pub fn before(files: front::Files, behind: Stage) -> Self {
        Self { shelf: Arc::new(Shelf::new(files, Some(&behind))), behind: Some(behind) }
    }

    /// The same, with what of them is `kept` in memory at `place`.
    pub(super) fn kept(files: &front::Files, place: &str, kept: &super::Kept, behind: Stage) -> Self {
        let shelf = kept.at(place, files, || Shelf::new(files.clone(), Some(&behind)));
        Self { shelf, behind: Some(behind) }
    }
}

impl Serve for Files {
    fn serve(&self, request: Request<Body>) -> Answering {
        match &self.behind {
            // Before an application most requests are for that, and it should not cost them much.
            Some(behind) if self.shelf.has_nothing_for(&request) => behind.serve(request),
            behind => Box::pin(answered(Arc::clone(&self.shelf), behind.clone(), request)),
        }
    }
}

async fn answered(
    shelf: Arc<Shelf>,
    behind: Option<Stage>,
    request: Request<Body>,
) -> Result<Response<Body>, Failure> {
    if !is_read(&request) {
        return match behind {
            Some(behind) => behind.serve(request).await,
            None => Ok(not_allowed()),
        };
    }
    let wish = Wish::of(&request, &shelf.files);
    let found = match (shelf.files.order, behind) {
        (Order::Files, Some(behind)) => match shelf.find(&wish).await {
            Err(why) if is_nothing(&why) => behind.serve(request).await,
            // What is behind may have a page for that path.
            Ok(Target::Listing) => match behind.serve(request).await {
                other if is_missing(&other) => shelf.answer(&wish, Ok(Target::Listing)).await,
                other => return other,
            },
            found => shelf.answer(&wish, found).await,
        },
        (Order::Application, Some(behind)) => {
            let other = behind.serve(request).await;
            if !is_missing(&other) {
                return other;
            }
            match shelf.find(&wish).await {
                Err(why) if is_nothing(&why) => other,
                found => shelf.answer(&wish, found).await,
            }
        }
        (_, None) => shelf.answer(&wish, shelf.find(&wish).await).await,
    };
    match &shelf.files.fallback {
        Some(page) if wish.is_for_a_page && is_missing(&found) => {
            match shelf.find(&Wish { path: page.clone(), ..wish.clone() }).await {
                Ok(Target::File(page)) => Ok(wish.file(&page)),
                // A directory is no page: its slash would be put behind a path that is another one's.
                Ok(Target::Directory | Target::Listing) | Err(_) => found,
            }
        }
        _ => found,
    }
}

/// What is kept of a request, whoever answers it.
#[derive(Clone, Debug)]
struct Wish {
    /// What it names, without the path of the application whose files they are.
    path: String,
    uri: Uri,
    /// What was taken off the path before it came here.
    base: Arc<str>,
    asked: Asked,
    codings: Codings,
    /// How a list would be read.
    form: Form,
    /// Somebody wants to see something, rather than a script its parts.
    is_for_a_page: bool,
}

impl Wish {
    fn of(request: &Request<Body>, files: &front::Files) -> Self {
        let facts = request.extensions().get::<Facts>();
        let base = match facts {
            Some(facts) if facts.base == Base::Removed => Arc::clone(&facts.path_base),
            _ => "".into(),
        };
        let (path, fields) = (path(request), request.headers());
        let accepts = fields.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        Self {
            path: path.to_owned(),
            uri: request.uri().clone(),
            base,
            asked: Asked::of(request.method(), fields),
            codings: Codings::of(fields),
            form: if files.browse { Form::of(fields) } else { Form::default() },
            is_for_a_page: !last.contains('.') || accepts.contains("text/html"),
        }
    }

    fn file(&self, file: &Kept) -> Response<Body> {
        let Kept { content, length, validators, fields, .. } = file;
        let all = (content, 0, *length);
        answer(&self.asked, all, validators, HeaderMap::clone(fields), &Handle::current())
    }

    /// The path as its client has it.
    fn path_outside(&self) -> String {
        format!("{}{}", self.base, self.uri.path())
    }

    fn listing(&self, listing: &Listing) -> Response<Body> {
        let (fields, text) = self.form.answer(&self.path_outside(), self.path != "/", listing);
        let (length, asked) = (text.len() as u64, self.asked.clone().without_range());
        let all = (&Content::Memory(text.into()), 0, length);
        answer(&asked, all, &Validators::default(), fields, &Handle::current())
    }

    /// The path of a directory gets its slash, so that links in its page lead below it. It cannot be taken for an
    /// authority, since the directory is that of this path: one that begins with two slashes names none.
    fn redirect(&self) -> Response<Body> {
        let query = self.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let place = format!("{}/{query}", self.path_outside());
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
        if let Ok(place) = HeaderValue::try_from(place) {
            answer.headers_mut().insert(header::LOCATION, place);
        }
        answer
    }
}

impl Shelf {
    fn new(files: front::Files, behind: Option<&Stage>) -> Self {
        let memory = (files.memory > 0).then(|| Memory::new(files.memory));
        let is_asked_first = behind.is_some() && files.order == Order::Files && files.fallback.is_none();
        Self { files, memory, is_asked_first }
    }

    /// Whether a request is for what is behind, as far as that is known without waiting for a disk.
    fn has_nothing_for(&self, request: &Request<Body>) -> bool {
        if !self.is_asked_first || !is_read(request) {
            return !is_read(request);
        }
        let path = path(request);
        self.known(path, || Codings::of(request.headers())).is_none()
            && Name::of(path).is_none_or(|name| look::is_missing(&self.files, &name))
    }

    fn known(&self, path: &str, codings: impl FnOnce() -> Codings) -> Option<Arc<Kept>> {
        let memory = self.memory.as_ref()?;
        memory.get(path, if self.files.precompressed { codings() } else { Codings::default() })
    }

    async fn find(self: &Arc<Self>, wish: &Wish) -> Result<Target, NotOpened> {
        let codings = if self.files.precompressed { wish.codings } else { Codings::default() };
        let known = self.known(&wish.path, || codings);
        if let Some(known) = known.as_ref().filter(|known| !known.is_due()) {
            return Ok(Target::File(Arc::clone(known)));
        }
        let Some(name) = Name::of(&wish.path) else { return Err(NotOpened::Missing) };
        if !self.is_asked_first && known.is_none() && look::is_missing(&self.files, &name) {
            return Err(NotOpened::Missing);
        }
        // Who may have the file already, or wants a part of it, has no use for all of it.
        let read = match self.memory.is_some() || (wish.asked.is_plain() && !wish.asked.is_head()) {
            true => Read::Now,
            false => Read::Later,
        };
        let (shelf, path) = (Arc::clone(self), wish.path.clone());
        let look = move || shelf.look(&name, (&path, codings), known, read);
        off_the_threads_that_serve(look).await
    }

    async fn answer(
        self: &Arc<Self>,
        wish: &Wish,
        found: Result<Target, NotOpened>,
    ) -> Result<Response<Body>, Failure> {
        match found {
            Ok(Target::File(file)) => Ok(wish.file(&file)),
            Ok(Target::Directory) => Ok(wish.redirect()),
            Ok(Target::Listing) => self.list(wish).await.map_err(|why| failure(&why)),
            Err(why) => Err(failure(&why)),
        }
    }

    async fn list(self: &Arc<Self>, wish: &Wish) -> Result<Response<Body>, NotOpened> {
        let (shelf, wish) = (Arc::clone(self), wish.clone());
        off_the_threads_that_serve(move || {
            let name = Name::of(&wish.path).ok_or(NotOpened::Missing)?;
            Ok(wish.listing(&Listing::of(&shelf.files, &name)?))
        })
        .await
    }

    /// Looks at the disk, and keeps what is there if it is small.
    fn look(
        &self,
        name: &Name,
        (path, codings): (&str, Codings),
        known: Option<Arc<Kept>>,
        read: Read,
    ) -> Result<Target, NotOpened> {
        let found = look::look(&self.files, name, (path, codings), known, read);
        if let Some(memory) = &self.memory {
            match &found {
                Ok(Target::File(file)) if file.is_in_memory() => memory.keep(path, codings, file),
                _ => memory.forget(path, codings),
            }
        }
        found
    }
}

/// Does what waits for a disk.
async fn off_the_threads_that_serve<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NotOpened> + Send + 'static,
) -> Result<T, NotOpened> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| NotOpened::Failed(std::io::Error::other(error)))?
}

/// The path that is asked for, without what it begins with that is not its own here.
fn path(request: &Request<Body>) -> &str {
    let path = request.uri().path();
    match request.extensions().get::<Facts>() {
        Some(facts) if facts.base == Base::InPath => path.strip_prefix(&*facts.path_base).unwrap_or(path),
        _ => path,
    }
}

fn is_read(request: &Request<Body>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// Whether somebody else may have something at that path.
fn is_nothing(why: &NotOpened) -> bool {
    matches!(why, NotOpened::Missing | NotOpened::Outside | NotOpened::NoFile)
}

/// Whether an answer says that there is nothing.
fn is_missing(answer: &Result<Response<Body>, Failure>) -> bool {
    let status = match answer {
        Ok(answer) => answer.status(),
        Err(failure) => failure.code.status(),
    };
    status == StatusCode::NOT_FOUND
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
