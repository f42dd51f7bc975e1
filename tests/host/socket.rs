//! A connection without a client: what was sent is what is on the wire, and so is what came.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Host, PATIENCE};

/// Bytes to and from the host.
pub struct Socket {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Host {
    /// A connection without a client.
    pub async fn socket(&self) -> Socket {
        Socket { stream: self.raw().await, unread: Vec::new() }
    }
}

impl Socket {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One chunk of a chunked body.
    pub async fn send_chunk(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(chunk).await;
    }

    /// What comes up to `end`, with it.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = memchr::memmem::find(&self.unread, end.as_bytes()) {
                let rest = self.unread.split_off(at + end.len());
                return text(&std::mem::replace(&mut self.unread, rest));
            }
            let read = self.stream.read_buf(&mut self.unread);
            let read = tokio::time::timeout(PATIENCE, read).await;
            assert!(
                matches!(read, Ok(Ok(1..))),
                "{read:?}, and no {end:?} in {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        }
    }

    /// The head of an answer, in lower case, with the empty line at its end.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await.to_ascii_lowercase()
    }

    /// Everything until the host closes the connection, or breaks it off.
    pub async fn rest(mut self) -> String {
        let all = async { while matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..)) {} };
        tokio::time::timeout(PATIENCE, all).await.expect("closed");
        text(&self.unread)
    }

    /// The stream, for another protocol.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.unread.is_empty());
        self.stream
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
