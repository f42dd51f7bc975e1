//! What a name leads to on the disk, and what is said of it.
//!
//! In: a name below a folder. Out: an open file, or its bytes if they are few, with the head of its answer. It blocks
//! for as long as the file system does, so it is called where that is allowed.

use std::{
    borrow::Cow,
    ffi::OsStr,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use rustix::fs::fstat;

use super::{kept::Kept, private};
use crate::{
    files::{Content, Found, Mark, Name, NotOpened, Opened, There, Validators, date, glance, open, there},
    front::{Algorithm, Files, accepted},
};

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Target {
    /// A file.
    File(Arc<Kept>),
    /// A directory whose path lacks its slash.
    Directory,
    /// A directory without a document, which may be listed.
    Listing,
}

/// What `name` leads to, which was asked for as `path`. `known` is what it was before.
pub(super) fn look(
    files: &Files,
    name: &Name,
    (path, codings): (&str, Codings),
    known: Option<Arc<Kept>>,
    read: Read,
) -> Result<Target, NotOpened> {
    if !may_be_asked_for(files, name) {
        return Err(NotOpened::Missing);
    }
    let (place, opened) = match name.is_directory() {
        true => match default_document(files, name) {
            Err(NotOpened::Missing) if files.browse => return listing(files, name),
            document => document?,
        },
        false => match open(&files.root, name.path())? {
            Found::File(opened) => (name.path().to_owned(), opened),
            Found::Directory(_) => return Ok(Target::Directory),
        },
    };
    if !may_be_sent(files, &place) || private::is(files, &place, &opened) {
        return Err(NotOpened::Missing);
    }
    let (coding, opened) = match files.precompressed {
        true => compressed(files, &place, opened, codings),
        false => (None, opened),
    };
    let mark = Mark::of(&opened.stat);
    let now = SystemTime::now();
    let is_the_same =
        |known: &Arc<Kept>| known.mark == mark && known.validators.modified == mark.modified(now);
    if let Some(known) = known.filter(is_the_same) {
        known.looked();
        return Ok(Target::File(known));
    }
    let validators = mark.validators(now);
    let fields = fields(files, &place, path, coding, &validators);
    // What is read is what it was before and after; otherwise somebody writes it, and nothing can be said of it for long.
    let content = match read == Read::Now && mark.length <= SMALL {
        true => match whole(&opened.file, mark.length).filter(|_| still(&opened.file, mark)) {
            Some(bytes) => Content::Memory(bytes),
            None => Content::File(Arc::new(opened.file)),
        },
        false => Content::File(Arc::new(opened.file)),
    };
    Ok(Target::File(Arc::new(Kept::new((content, mark.length), validators, fields, mark))))
}

/// Whether what has this name is shown to anybody.
pub(super) fn may_be_asked_for(files: &Files, name: &Name) -> bool {
    (files.hidden || !name.is_hidden()) && may_be_sent(files, name.path())
}

fn may_be_sent(files: &Files, name: &Path) -> bool {
    !private::is_named(files, name) && !is_reserved(name)
}

fn is_reserved(name: &Path) -> bool {
    let is_one = |part: &OsStr| RESERVED.iter().any(|it| part.eq_ignore_ascii_case(it));
    name.components().any(|part| is_one(part.as_os_str()))
}

/// Whether `name` leads to nothing, as far as that is known without waiting for a disk.
pub(super) fn is_missing(files: &Files, name: &Name) -> bool {
    let is_nothing = |place: &Path| glance(&files.root, place) == Some(There::Nothing);
    let has_no_document =
        || files.default_documents.iter().all(|document| is_nothing(&name.path().join(document)));
    !may_be_asked_for(files, name)
        || is_nothing(name.path())
        || (name.is_directory() && !files.browse && has_no_document())
}

/// What `path` leads to below `root`, where `own` are the files that are sent, perhaps from there. What nobody is sent is
/// not there. `None` where that is not known without waiting, and `wait` says not to.
pub(in crate::pipeline) fn there_is(
    root: &Path,
    own: Option<&Files>,
    path: &str,
    wait: Wait,
) -> Option<Result<There, NotOpened>> {
    let rooted = if path.starts_with('/') { Cow::from(path) } else { format!("/{path}").into() };
    let shown = |name: &Name| match own.filter(|files| files.root == root) {
        Some(files) => may_be_asked_for(files, name),
        None => !name.is_hidden() && !is_reserved(name.path()),
    };
    let Some(name) = Name::of(&rooted).filter(shown) else { return Some(Ok(There::Nothing)) };
    let found = match wait {
        Wait::Never => Ok(glance(root, name.path())?),
        Wait::ForDisk => there(root, name.path()),
    };
    Some(found.map(|there| match there {
        There::File if name.is_directory() => There::Nothing,
        there => there,
    }))
}

/// When the bytes of a small file are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// With all else that is found out about it.
    Now,
    /// When they are sent, if they are.
    Later,
}

/// Whether somebody may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Wait {
    /// He may.
    ForDisk,
    /// Others would wait, too.
    Never,
}

fn listing(files: &Files, name: &Name) -> Result<Target, NotOpened> {
    match open(&files.root, name.path())? {
        Found::Directory(_) => Ok(Target::Listing),
        Found::File(_) => Err(NotOpened::Missing),
    }
}

fn default_document(files: &Files, name: &Name) -> Result<(PathBuf, Opened), NotOpened> {
    for document in &files.default_documents {
        let place = name.path().join(document);
        match open(&files.root, &place) {
            Ok(Found::File(opened)) => return Ok((place, opened)),
            Ok(Found::Directory(_)) | Err(NotOpened::Missing | NotOpened::NoFile) => {}
            Err(why) => return Err(why),
        }
    }
    Err(NotOpened::Missing)
}

/// The file that holds the same in fewer bytes, if the client understands it. One that is older is of what was before.
fn compressed(
    files: &Files,
    place: &Path,
    opened: Opened,
    codings: Codings,
) -> (Option<&'static str>, Opened) {
    for algorithm in codings.0.into_iter().flatten() {
        let mut sibling = place.as_os_str().to_owned();
        sibling.push(extension(algorithm));
        let sibling = Path::new(&sibling);
        if let Ok(Found::File(found)) = open(&files.root, sibling)
            && found.stat.st_mtime >= opened.stat.st_mtime
            && !private::is_named(files, sibling)
            && !private::is(files, sibling, &found)
        {
            return (Some(algorithm.as_str()), found);
        }
    }
    (None, opened)
}

fn fields(
    files: &Files,
    place: &Path,
    path: &str,
    coding: Option<&'static str>,
    validators: &Validators,
) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, content_type(files, place));
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let Validators { etag, modified } = validators;
    fields.extend(etag.clone().map(|etag| (header::ETAG, etag)));
    fields.extend(modified.and_then(date).map(|modified| (header::LAST_MODIFIED, modified)));
    if files.precompressed {
        // Also where there is no other form of it: there may be one tomorrow.
        fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Some(coding) = coding {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    if let Some((_, value)) = files.cache_control.iter().find(|(pattern, _)| pattern.fits(path)) {
        fields.insert(header::CACHE_CONTROL, value.clone());
    }
    fields
}

/// What a file of this name is, by what stands behind its last dot.
fn content_type(files: &Files, place: &Path) -> HeaderValue {
    let extension = place.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    if let Some(own) = extension.and_then(|extension| files.types.get(&extension)) {
        return own.clone();
    }
    let guessed = mime_guess::from_path(place).first_raw().unwrap_or("application/octet-stream");
    // Without it, browsers guess, and some guess the encoding of the visitor's country.
    match guessed.starts_with("text/") {
        true => HeaderValue::try_from(format!("{guessed}; charset=utf-8")).expect("types are plain text"),
        false => HeaderValue::from_static(guessed),
    }
}

/// All of it; `None` if there is less than that by now.
fn whole(file: &OwnedFd, length: u64) -> Option<Bytes> {
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    let mut done = 0;
    while done < bytes.len() {
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut bytes[done..], done as u64));
        match read.map_err(io::Error::from) {
            Ok(0) | Err(_) => return None,
            Ok(more) => done += more,
        }
    }
    Some(bytes.into())
}

fn still(file: &OwnedFd, mark: Mark) -> bool {
    fstat(file).is_ok_and(|stat| Mark::of(&stat) == mark)
}

/// Which compressed forms a client wants, what it likes best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Codings([Option<Algorithm>; ORDER.len()]);

impl Codings {
    /// Those that `Accept-Encoding` says.
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let fields = fields.get_all(header::ACCEPT_ENCODING);
        Self(accepted(fields.iter().map(HeaderValue::as_bytes), &ORDER))
    }
}

/// What the name of a file ends in that holds another one in this form.
fn extension(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Brotli => ".br",
        Algorithm::Zstd => ".zst",
        Algorithm::Gzip => ".gz",
    }
}

/// The name of the file that `name` is a compressed form of, going by how it ends.
pub(super) fn uncompressed(name: &[u8]) -> Option<&[u8]> {
    ORDER.into_iter().find_map(|algorithm| name.strip_suffix(extension(algorithm).as_bytes()))
}

/// For who likes them alike: the smallest first, as somebody has taken his time to make it.
const ORDER: [Algorithm; 3] = [Algorithm::Brotli, Algorithm::Zstd, Algorithm::Gzip];

/// Files up to this size are read at once, and may be kept.
const SMALL: u64 = 128 * 1024;

/// What belongs to the host, or to the one whose files these were before.
const RESERVED: [&str; 3] = ["app_offline.htm", "cohost.toml", "web.config"];
