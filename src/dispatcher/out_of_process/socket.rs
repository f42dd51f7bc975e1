//! A stream to an instance that still listens when it can no longer speak.
//!
//! In: a connected socket, in clear text or with TLS over it. Out: the bytes that are meant. Never: lets a failed write
//! hide an answer that has already arrived.
//!
//! An instance may answer early (413, 401) and close without reading the rest of the body. The next write then fails,
//! and hyper would report that failure although the answer lies in the receive buffer. So a write that fails because
//! the peer is gone counts as done; the read that follows delivers the answer, or the end of the stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

#[cfg(feature = "tls")]
use crate::outward::{Channel, NotSecured};
use crate::{
    endpoint::{Endpoint, Place},
    outward::Secured,
};

/// A connection to an instance.
pub(super) struct Socket {
    stream: Stream,
    peer_gone: bool,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Boxed, since it is large, and most connections have no use for the room.
    #[cfg(feature = "tls")]
    Tls(Box<Channel>),
}

impl Socket {
    /// Connects, and makes TLS of it where that is wanted.
    pub(super) async fn connect(place: &Place, secured: Option<&Secured>) -> io::Result<Self> {
        let stream = match place {
            Place::At(Endpoint::Tcp(address)) => Stream::Tcp(TcpStream::connect(address).await?),
            Place::At(Endpoint::Unix(path)) => Stream::Unix(UnixStream::connect(path).await?),
            Place::Named { host, port } => Stream::Tcp(named(host, *port).await?),
        };
        if let Stream::Tcp(stream) = &stream {
            stream.set_nodelay(true)?;
        }
        let stream = match secured {
            // In a box: others wait here, too, and a handshake takes up much room.
            Some(secured) => Box::pin(with_tls(stream, secured)).await?,
            None => stream,
        };
        Ok(Self { stream, peer_gone: false })
    }

    fn written(&mut self, result: io::Result<usize>, len: usize) -> io::Result<usize> {
        match result {
            Err(error) if is_gone(&error) => {
                self.peer_gone = true;
                Ok(len)
            }
            other => other,
        }
    }
}

#[cfg(feature = "tls")]
async fn with_tls(stream: Stream, secured: &Secured) -> io::Result<Stream> {
    match stream {
        Stream::Tcp(stream) => secured.secure(stream).await.map(Stream::Tls),
        // Nobody else can listen there.
        local => Ok(local),
    }
}

#[cfg(not(feature = "tls"))]
async fn with_tls(_: Stream, secured: &Secured) -> io::Result<Stream> {
    match *secured {}
}

/// Connects to one of the addresses that the system knows for a name, whichever accepts first.
///
/// One that does not answer must not use up the time for the others: a name often has addresses of both families where
/// only one works.
async fn named(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = tokio::net::lookup_host((host, port)).await?;
    let mut addresses = addresses.take(MOST_ADDRESSES);
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match addresses.next() {
            Some(address) => attempts.push(TcpStream::connect(address)),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        let is_last = addresses.size_hint() == (0, Some(0));
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            },
            // The next one has its chance beside this one.
            () = tokio::time::sleep(HEAD_START), if !is_last => {}
        }
    }
}

const MOST_ADDRESSES: usize = 8;

/// How long an address is alone before the next one is tried as well (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, into),
            #[cfg(feature = "tls")]
            // Here it is heard that the other side does not like our certificate: the handshake is over for us by then.
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, into).map_err(NotSecured::later),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.peer_gone {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = ready!(match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        });
        Poll::Ready(self.written(result, bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        if self.peer_gone {
            return Poll::Ready(Ok(len));
        }
        let result = ready!(match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        });
        Poll::Ready(self.written(result, len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "the others hold nothing back"))]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, peer_gone } = self.get_mut();
        match stream {
            // Neither has a buffer on our side.
            Stream::Tcp(_) | Stream::Unix(_) => Poll::Ready(Ok(())),
            #[cfg(feature = "tls")]
            Stream::Tls(_) if *peer_gone => Poll::Ready(Ok(())),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => match ready!(Pin::new(stream).poll_flush(cx)) {
                Err(error) if is_gone(&error) => {
                    *peer_gone = true;
                    Poll::Ready(Ok(()))
                }
                other => Poll::Ready(other),
            },
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    #[tokio::test]
    async fn a_failed_write_leaves_the_answer_readable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("instance");
        let listener = UnixListener::bind(&path).unwrap();
        let mut socket = Socket::connect(&Endpoint::Unix(path).into(), None).await.unwrap();
        let (mut instance, _) = listener.accept().await.unwrap();
        instance.write_all(b"refused").await.unwrap();
        drop(instance);

        socket.write_all(b"more of the body").await.unwrap();
        socket.write_all(b"and more").await.unwrap();

        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"refused");
    }
}
