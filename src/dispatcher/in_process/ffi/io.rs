//! Upgraded connections: the raw byte stream in the application's hands.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, TryLockError},
    task::{Context, Poll},
};

use cohost_abi as abi;
use http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf, ReadHalf, WriteHalf};

use super::{
    objects::Object,
    subject::{Owner, Subject},
};
use crate::dispatcher::in_process::{generation::Lease, threads};
use crate::facts::{Facts, RequestId};

/// A raw stream; its two sides may be used by two threads.
pub(super) struct Stream {
    read: Mutex<ReadHalf<TokioIo<Upgraded>>>,
    write: Mutex<WriteHalf<TokioIo<Upgraded>>>,
    /// A drain waits for upgraded connections too.
    lease: Arc<Lease>,
    request: RequestId,
}

impl Stream {
    /// Who has it, and through which request.
    pub(super) fn owner(&self) -> Owner {
        Owner::of(&self.lease, self.request)
    }

    pub(super) fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, abi::Code>> {
        with(&self.read, |mut half| {
            let mut buffer = ReadBuf::new(into);
            let read = Pin::new(&mut *half).poll_read(cx, &mut buffer);
            read.map_ok(|()| buffer.filled().len())
        })
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, from: &[u8]) -> Poll<Result<usize, abi::Code>> {
        with(&self.write, |mut half| Pin::new(&mut *half).poll_write(cx, from))
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), abi::Code>> {
        with(&self.write, |mut half| Pin::new(&mut *half).poll_flush(cx))
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<Result<(), abi::Code>> {
        with(&self.write, |mut half| Pin::new(&mut *half).poll_shutdown(cx))
    }
}

fn with<H, T>(
    half: &Mutex<H>,
    poll: impl FnOnce(std::sync::MutexGuard<'_, H>) -> Poll<io::Result<T>>,
) -> Poll<Result<T, abi::Code>> {
    let half = match half.try_lock() {
        Ok(half) => half,
        Err(TryLockError::WouldBlock) => return Poll::Ready(Err(abi::code::E_BUSY)),
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
    };
    poll(half).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::UnexpectedEof => abi::code::E_GONE,
        _ => abi::code::E_IO,
    })
}

/// What the application does once the protocol has changed.
pub(super) struct Upgrade {
    theirs: abi::Upgrade,
    lease: Arc<Lease>,
    // On the heap, because an upgrade is rare, and lies in every answer.
    request: Box<Subject>,
}

// SAFETY: the contract has both functions called on any thread of the host's.
unsafe impl Send for Upgrade {}

impl Upgrade {
    /// # Safety
    /// `theirs` is null or keeps the contract; it is moved out.
    pub(super) unsafe fn take(
        theirs: *mut abi::Upgrade,
        lease: &Arc<Lease>,
        request: (&Parts, &Facts),
    ) -> Option<Self> {
        if theirs.is_null() {
            return None;
        }
        // SAFETY: not null; the application does not use it again.
        let theirs = unsafe { theirs.read() };
        Some(Self { theirs, lease: Arc::clone(lease), request: Box::new(Subject::of(request)) })
    }

    /// Whether it has what the contract asks for.
    pub(super) fn is_whole(&self) -> bool {
        self.theirs.size >= size_of::<abi::Upgrade>() && self.theirs.on_io.is_some()
    }

    /// Waits until the response is on the wire, then hands the stream over.
    pub(super) async fn wait(mut self, on_upgrade: OnUpgrade) {
        let request = self.request.request;
        let upgraded = match on_upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(request_id = %request, %error, "the connection ended before it was upgraded");
                return;
            }
        };
        let (read, write) = tokio::io::split(TokioIo::new(upgraded));
        let lease = Arc::clone(&self.lease);
        let (read, write) = (Mutex::new(read), Mutex::new(write));
        let stream = Stream { read, write, lease: Arc::clone(&lease), request };
        let Some(handle) = lease.objects.insert(Object::Io(Arc::new(stream))) else {
            tracing::error!(request_id = %request, "no handle left for an upgraded connection");
            return;
        };
        let Some(on_io) = self.theirs.on_io.take() else { return };
        // Not `drop` from here on: one of the two is called.
        self.theirs.drop = None;
        let _inside = threads::enter(lease.watch, &*self.request);
        // SAFETY: once, because it was taken out.
        unsafe { on_io(self.theirs.state, abi::Io(handle)) };
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        if let Some(drop) = self.theirs.drop.take() {
            let _inside = threads::enter(self.lease.watch, &*self.request);
            // SAFETY: once, because it was taken out, and not after `on_io`.
            unsafe { drop(self.theirs.state) };
        }
    }
}
