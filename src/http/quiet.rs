//! A connection of HTTP/1 whose client has been silent for a while: nothing is kept for it but its stream.
//!
//! hyper keeps what it has read into for as long as a connection lives, and a server may have very many that wait: see
//! `docs/decisions/0025-a-silent-connection-keeps-its-stream.md`.
//!
//! In: a stream of which nothing is left unread. Out: the first bytes of the next request. Never: holds room for them while
//! they do not come.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBuf, Write};

/// Mostly the whole head of a request, so that it takes one read.
const FIRST: usize = 2 * 1024;
/// How long a stream may take to say that it ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Waits for bytes; none at the end of the stream.
pub(super) async fn first<I: Read + Unpin>(stream: &mut I) -> io::Result<Vec<u8>> {
    poll_fn(|cx| {
        let mut room = [const { MaybeUninit::uninit() }; FIRST];
        let mut first = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(cx, first.unfilled()))?;
        Poll::Ready(Ok(first.filled().to_vec()))
    })
    .await
}

/// Ends the stream as its client expects.
pub(super) async fn end<I: Write + Unpin>(mut stream: I) {
    let ending = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx));
    // It is dropped either way.
    let _ = tokio::time::timeout(FAREWELL, ending).await;
}
