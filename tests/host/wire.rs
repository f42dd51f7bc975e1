//! A connection of bytes: what is sent and what comes back, exactly.

use std::fmt;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Host, PATIENCE};

/// One connection to the host.
pub struct Wire {
    pub stream: TcpStream,
    received: Vec<u8>,
}

/// One response as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status line and fields, to the empty line.
    pub head: Vec<u8>,
    /// Without the framing of chunks.
    pub body: Vec<u8>,
    /// What came behind the last chunk.
    pub trailers: Vec<u8>,
}

impl Wire {
    pub async fn connect(host: &Host) -> Self {
        Self { stream: host.raw().await, received: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One chunk of a chunked body.
    pub async fn send_chunk(&mut self, bytes: &[u8]) {
        let size = format!("{:x}\r\n", bytes.len());
        self.send([size.as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    /// Reads to the end of the next `end`, which is part of what is returned.
    pub async fn until(&mut self, end: impl AsRef<[u8]>) -> Vec<u8> {
        let end = end.as_ref();
        loop {
            if let Some(at) = self.received.windows(end.len()).position(|window| window == end) {
                return self.received.drain(..at + end.len()).collect();
            }
            let read = self.read().await;
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&self.received));
        }
    }

    /// Reads exactly this many bytes.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            let read = self.read().await;
            assert_ne!(read, 0, "closed after {} of {length} bytes", self.received.len());
        }
        self.received.drain(..length).collect()
    }

    /// The head of the next response, informational or not.
    pub async fn head(&mut self) -> String {
        String::from_utf8_lossy(&self.until(b"\r\n\r\n").await).into_owned()
    }

    /// The next response, informational or not, to anything but HEAD.
    pub async fn reply(&mut self) -> Reply {
        let head = self.until(b"\r\n\r\n").await;
        let mut reply = Reply { head, body: Vec::new(), trailers: Vec::new() };
        if reply.field("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                reply.body.extend(chunk);
            }
            reply.trailers = self.trailers().await;
        } else if let Some(length) = reply.field("content-length") {
            reply.body = self.exactly(length.parse().unwrap()).await;
        } else if !matches!(reply.status(), 100..200 | 204 | 304) {
            reply.body = self.until_closed().await;
        }
        reply
    }

    /// The next chunk; `None` is the last.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until(b"\r\n").await;
        let size = std::str::from_utf8(&line).unwrap().trim();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|error| panic!("{error}: {size:?}"));
        if size == 0 {
            return None;
        }
        let mut chunk = self.exactly(size + 2).await;
        assert_eq!(chunk.split_off(size), b"\r\n");
        Some(chunk)
    }

    /// What follows the last chunk, to the empty line.
    pub async fn trailers(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        loop {
            let line = self.until(b"\r\n").await;
            if line == b"\r\n" {
                return lines;
            }
            lines.extend(line);
        }
    }

    /// Everything until the host closes the connection, or breaks it off.
    pub async fn rest(mut self) -> String {
        String::from_utf8_lossy(&self.until_closed().await).into_owned()
    }

    async fn until_closed(&mut self) -> Vec<u8> {
        while self.read().await > 0 {}
        std::mem::take(&mut self.received)
    }

    /// How many bytes came; none when the connection is closed or broken off.
    async fn read(&mut self) -> usize {
        match tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await {
            Ok(read) => read.unwrap_or(0),
            Err(_) => panic!("silence after {:?}", String::from_utf8_lossy(&self.received)),
        }
    }
}

impl Reply {
    pub fn status(&self) -> u16 {
        let line = String::from_utf8_lossy(&self.head);
        line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The first value of a field that is text.
    pub fn field(&self, name: &str) -> Option<&str> {
        let value = self.values(name).next()?;
        std::str::from_utf8(value).ok()
    }

    /// All values of a field, in order.
    pub fn values<'a, 'b>(&'a self, name: &'b str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'b> {
        let lines = self.head.split(|byte| *byte == b'\n').skip(1);
        lines.filter_map(move |line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (is, value) = (&line[..colon], &line[colon + 1..]);
            is.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
        })
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = [&self.head[..], &self.body, &self.trailers].concat();
        write!(f, "{:?}", String::from_utf8_lossy(&text))
    }
}
