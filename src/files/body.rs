//! A piece of a file as a body, read off the threads that serve connections.

use std::{
    io,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::body::BodyError;

/// A piece of a file. The next part is read once the last one is asked for: nobody reads ahead of a slow client.
///
/// A file that turns out shorter ends it with an error, so that a client cannot take it for whole.
#[derive(Debug)]
pub(crate) struct Piece {
    file: Arc<OwnedFd>,
    at: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
    /// Where it is read: who polls a body need not be in a runtime of ours.
    runtime: Handle,
}

impl Piece {
    /// `length` bytes of `file`, from `at` on.
    pub(crate) fn new(file: Arc<OwnedFd>, at: u64, length: u64, runtime: Handle) -> Self {
        Self { file, at, left: length, reading: None, runtime }
    }

    fn read(&self) -> JoinHandle<io::Result<Vec<u8>>> {
        let (file, at) = (Arc::clone(&self.file), self.at);
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(PART);
        self.runtime.spawn_blocking(move || {
            let mut part = vec![0; wanted];
            let read = rustix::io::retry_on_intr(|| rustix::io::pread(&*file, &mut part[..], at))?;
            part.truncate(read);
            Ok(part)
        })
    }
}

impl http_body::Body for Piece {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut reading = self.reading.take().unwrap_or_else(|| self.read());
        let Poll::Ready(part) = Pin::new(&mut reading).poll(cx) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        let part = match part.map_err(io::Error::other).flatten() {
            Ok(part) if part.is_empty() => Err("the file became shorter while it was sent".into()),
            other => other.map_err(BodyError::from),
        };
        if let Ok(part) = &part {
            self.at += part.len() as u64;
            self.left -= part.len() as u64;
        } else {
            self.left = 0;
        }
        Poll::Ready(Some(part.map(|part| Frame::data(part.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// How much is read at a time.
const PART: usize = 128 * 1024;
