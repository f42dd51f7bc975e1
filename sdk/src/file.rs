//! A response body that is a piece of a file.
//!
//! In: an open file. Out: an extension of the response; the host sends the file itself.
//! Never: reads it.

use std::{fs, io, os::fd::OwnedFd, path::Path, sync::Arc};

use http::{Extensions, Response};

/// A piece of a file, as the body of a response.
///
/// Put it into the response's extensions: the host sends it in place of the body, without passing the bytes through
/// the application. Its length becomes `content-length`; the content type is the application's.
///
/// With status 200, to a GET or HEAD, the host sends what the client asks for of it: parts, unless `accept-ranges` is
/// `none`; or that the client has it already, by `etag` and `last-modified` of the response, or the file's own if it
/// has neither.
///
/// ```
/// async fn logo() -> std::io::Result<http::Response<String>> {
///     let file = cohost_app::File::open("logo.png").await?;
///     Ok(file.into_response())
/// }
/// ```
///
/// In axum, `axum::Extension(file)` is a part of a response.
#[derive(Clone, Debug)]
pub struct File {
    fd: Arc<OwnedFd>,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl File {
    /// The whole file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened, or is no regular file.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        let open = move || {
            let file = fs::File::open(&path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other(format!("{} is not a regular file", path.display())));
            }
            Ok(Self::from_std(file, 0, metadata.len()))
        };
        tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// `length` bytes of `file`, from `offset` on. A file that turns out shorter cuts the response visibly.
    #[must_use]
    pub fn from_std(file: fs::File, offset: u64, length: u64) -> Self {
        Self { fd: Arc::new(file.into()), offset, length }
    }

    /// Number of bytes that will be sent.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Makes it the body of the response with these extensions.
    pub fn insert_into(self, extensions: &mut Extensions) {
        extensions.insert(self);
    }

    /// A response with status 200 and this body.
    #[must_use]
    pub fn into_response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        self.insert_into(response.extensions_mut());
        response
    }

    pub(crate) fn into_descriptor(self) -> Descriptor {
        Arc::try_unwrap(self.fd).map_or_else(Descriptor::Shared, Descriptor::Owned)
    }
}

/// Who closes the file.
pub(crate) enum Descriptor {
    /// Whoever this is given to.
    Owned(OwnedFd),
    /// The application has another clone of it.
    Shared(Arc<OwnedFd>),
}
