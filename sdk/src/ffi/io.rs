//! The raw byte stream of an upgraded connection.
//!
//! In: the host's handle. Out: polls of bytes.
//! Never: buffers.

use std::{
    mem::MaybeUninit,
    task::{Context, Poll, ready},
};

use cohost_abi::{self as abi, Code, code};
use tokio::io::ReadBuf;

use super::{Host, waker};

/// A stream of the host's, closed when dropped.
pub(crate) struct HostIo {
    host: Host,
    io: abi::Io,
}

impl HostIo {
    /// Owns `io`.
    pub(super) const fn new(host: Host, io: abi::Io) -> Self {
        Self { host, io }
    }

    /// Reads into the free part of `into`; nothing is added at the end of the stream.
    pub(crate) fn poll_read_buf(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Code>> {
        // SAFETY: only written to, and never made uninitialised.
        let free = unsafe { into.unfilled_mut() };
        let n = ready!(self.poll_read(cx, free))?;
        // SAFETY: the host wrote the first `n` bytes.
        unsafe { into.assume_init(n) };
        into.advance(n);
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [MaybeUninit<u8>]) -> Poll<Result<usize, Code>> {
        let table = self.host.table();
        let mut n = 0;
        let code = waker::with_app_waker(cx.waker(), |waker| {
            let (ptr, len) = (into.as_mut_ptr().cast(), into.len());
            // SAFETY: `into` is writable for the whole call, the waker is borrowed for it.
            unsafe { (table.io_poll_read)(table, self.io, waker, ptr, len, &raw mut n) }
        });
        match code {
            code::EOF => Poll::Ready(Ok(0)),
            code => done(code, n.min(into.len())),
        }
    }

    /// Writes the start of `from`: how many bytes were taken.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<Result<usize, Code>> {
        let table = self.host.table();
        let mut n = 0;
        let code = waker::with_app_waker(cx.waker(), |waker| {
            // SAFETY: `from` is readable for the whole call, the waker is borrowed for it.
            unsafe { (table.io_poll_write)(table, self.io, waker, from.as_ptr(), from.len(), &raw mut n) }
        });
        done(code, n.min(from.len()))
    }

    /// Pushes out what was written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Code>> {
        let table = self.host.table();
        let code = waker::with_app_waker(cx.waker(), |waker| {
            // SAFETY: the waker is borrowed for the call.
            unsafe { (table.io_poll_flush)(table, self.io, waker) }
        });
        done(code, ())
    }

    /// Ends the writing side.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Code>> {
        let table = self.host.table();
        let code = waker::with_app_waker(cx.waker(), |waker| {
            // SAFETY: the waker is borrowed for the call.
            unsafe { (table.io_poll_shutdown)(table, self.io, waker) }
        });
        done(code, ())
    }
}

impl Drop for HostIo {
    fn drop(&mut self) {
        let table = self.host.table();
        // SAFETY: any thread; the handle is not used afterwards.
        unsafe { (table.io_drop)(table, self.io) };
    }
}

fn done<T>(code: Code, value: T) -> Poll<Result<T, Code>> {
    match code {
        code::DONE => Poll::Ready(Ok(value)),
        code::PENDING => Poll::Pending,
        error => Poll::Ready(Err(error)),
    }
}
