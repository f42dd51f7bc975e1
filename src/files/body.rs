//! A piece of a file as a body. What the kernel holds in memory is read where it is asked for; what has to come from the
//! disk, off the threads that serve connections.

use std::{
    io::{self, IoSliceMut},
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};
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

    /// The next part, if there is no need to wait for a disk. A file system that cannot tell always has it waited for.
    fn in_memory(&self) -> Option<Vec<u8>> {
        read(self.wanted(), |part| {
            let mut part = [IoSliceMut::new(part)];
            rustix::io::preadv2(&*self.file, &mut part, self.at, ReadWriteFlags::NOWAIT)
        })
        .ok()
    }

    fn on_disk(&self) -> JoinHandle<io::Result<Vec<u8>>> {
        let (file, at, wanted) = (Arc::clone(&self.file), self.at, self.wanted());
        self.runtime.spawn_blocking(move || read(wanted, |part| rustix::io::pread(&*file, part, at)))
    }

    fn wanted(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX).min(PART)
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => match self.in_memory() {
                Some(part) => return Poll::Ready(Ok(part)),
                None => self.on_disk(),
            },
        };
        match Pin::new(&mut reading).poll(cx) {
            Poll::Ready(part) => Poll::Ready(part.map_err(io::Error::other).flatten()),
            Poll::Pending => {
                self.reading = Some(reading);
                Poll::Pending
            }
        }
    }
}

fn read(wanted: usize, call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> io::Result<Vec<u8>> {
    let mut part = vec![0; wanted];
    let read = rustix::io::retry_on_intr(|| call(&mut part))?;
    part.truncate(read);
    Ok(part)
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
        let Poll::Ready(part) = self.poll_part(cx) else { return Poll::Pending };
        let part = match part {
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;

    use super::*;

    fn piece(content: &[u8], at: u64, length: u64, runtime: Handle) -> Piece {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Piece::new(Arc::new(file.into()), at, length, runtime)
    }

    #[tokio::test]
    async fn the_same_comes_from_memory_and_from_the_disk() {
        let content: Vec<u8> = (0..3 * PART).map(|at| (at % 251) as u8).collect();
        let wanted = &content[5..content.len() - 7];
        let piece = || piece(&content, 5, wanted.len() as u64, Handle::current());
        assert!(piece().collect().await.unwrap().to_bytes() == wanted);

        let mut piece = piece();
        let mut read = Vec::new();
        while piece.left > 0 {
            piece.reading = Some(piece.on_disk());
            read.extend(piece.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        assert!(read == wanted);
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error() {
        let mut piece = piece(b"short", 0, 10, Handle::current());
        assert_eq!(piece.frame().await.unwrap().unwrap().into_data().unwrap(), "short");
        assert!(piece.frame().await.unwrap().unwrap_err().to_string().contains("became shorter"));
        assert!(piece.frame().await.is_none());
    }
}
