//! Which version of HTTP a client speaks, by the first bytes it sends.
//!
//! In: a byte stream of which nothing was read. Out: the version, and what was read to find out. Never: reads on once
//! it knows.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf};

use crate::facts::Connection;

/// What there is to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.0 or HTTP/1.1; or nothing that HTTP knows, which is refused in the words of HTTP/1.1.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
}

/// The version that a client has agreed on while it made TLS, if it did: whatever it sends, nothing else is spoken.
pub(super) fn agreed(connection: &Connection) -> Option<Version> {
    match &*connection.tls.as_ref()?.alpn {
        b"h2" => Some(Version::Http2),
        b"http/1.1" => Some(Version::Http1),
        _ => None,
    }
}

/// Reads until it is clear what the client speaks. A stream that ends before is one of HTTP/1.
///
/// Dropping the future loses what was read.
pub(super) async fn find_out<I: Read + Unpin>(io: &mut I) -> io::Result<(Version, Vec<u8>)> {
    // Mostly the whole head of a request, so that it takes one read.
    let mut first = vec![0; 2048];
    let mut length = 0;
    loop {
        let read = poll_fn(|cx| poll_read(io, cx, &mut first[length..])).await?;
        length += read;
        let Some(version) = version(&first[..length]).or((read == 0).then_some(Version::Http1)) else {
            continue;
        };
        first.truncate(length);
        return Ok((version, first));
    }
}

fn poll_read<I: Read + Unpin>(io: &mut I, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut into = ReadBuf::new(into);
    ready!(Pin::new(io).poll_read(cx, into.unfilled()))?;
    Poll::Ready(Ok(into.filled().len()))
}

/// `None` while it may be either.
fn version(first: &[u8]) -> Option<Version> {
    let length = first.len().min(PREFACE.len());
    match first[..length] == PREFACE[..length] {
        false => Some(Version::Http1),
        true if length == PREFACE.len() => Some(Version::Http2),
        true => None,
    }
}

/// What every connection of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What is found out of bytes that come one by one; they are all that it takes.
    async fn found(bytes: &[u8]) -> (Version, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(1);
        let mut server = TokioIo::new(server);
        let (found, sent) = tokio::join!(find_out(&mut server), client.write_all(bytes));
        sent.unwrap();
        found.unwrap()
    }

    #[tokio::test]
    async fn the_first_bytes_tell_the_version() {
        for (bytes, version) in [
            (PREFACE, Version::Http2),
            (b"G", Version::Http1),
            (b"PU", Version::Http1),
            (b"PRI * HTTP/1", Version::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", Version::Http1),
        ] {
            assert_eq!(found(bytes).await, (version, bytes.to_vec()));
        }
    }

    #[tokio::test]
    async fn who_sends_nothing_more_speaks_http1() {
        for bytes in [&b""[..], b"PRI"] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(bytes).await.unwrap();
            drop(client);
            let found = find_out(&mut TokioIo::new(server)).await.unwrap();
            assert_eq!(found, (Version::Http1, bytes.to_vec()));
        }
    }
}
