//! The byte stream of an upgraded connection, as tokio sees it.
//!
//! In: the host's stream. Out: [`AsyncRead`] and [`AsyncWrite`].
//! Never: buffers; what is written is the host's at once.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll},
};

use cohost_abi::{Code, code};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ffi::{HostIo, describe};

/// The raw stream of a connection whose protocol was changed. Dropping it closes the connection.
pub struct Io(HostIo);

impl Io {
    pub(crate) const fn new(io: HostIo) -> Self {
        Self(io)
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read_buf(cx, buf).map_err(failed)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, buf).map_err(failed)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx).map_err(failed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx).map_err(failed)
    }
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}

fn failed(code: Code) -> io::Error {
    let kind = match code {
        code::E_GONE => ErrorKind::ConnectionReset,
        code::E_TIMEOUT => ErrorKind::TimedOut,
        code::E_DRAINING => ErrorKind::ConnectionAborted,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, describe(code))
}
