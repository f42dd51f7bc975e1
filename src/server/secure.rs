//! The handshake of a connection, before anything of HTTP is spoken on it.
//!
//! In: a connection as it was accepted. Out: the same, with TLS on it if the listener wants that. Never: takes longer
//! than the limit; or leaves somebody without a word who speaks HTTP where TLS is spoken.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use crate::{
    facts::{self, End},
    listener::{
        Stream,
        tls::{NotSecured, Tls},
    },
    stop::Stop,
};

/// What a handshake may cost.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// How long it may take.
    pub(super) limit: Duration,
    /// How long after a stop.
    pub(super) linger: Duration,
}

impl Patience {
    /// `stream`, with TLS on it; `None` when there is nobody to talk to.
    pub(super) async fn secure(
        &self,
        stream: Stream,
        tls: Arc<Tls>,
        peer: End,
        mut stop: watch::Receiver<Stop>,
    ) -> Option<(Stream, facts::Tls)> {
        // On a Unix socket nobody speaks it: no binding says so.
        let Stream::Tcp(tcp) = stream else { return None };
        let stopped = async {
            drop(stop.wait_for(|stop| *stop != Stop::Run).await);
            tokio::time::sleep(self.linger).await;
        };
        let secured = tokio::select! {
            secured = tokio::time::timeout(self.limit, tls.accept(tcp)) => secured,
            () = stopped => return None,
        };
        match secured {
            Ok(Ok((stream, agreed))) => return Some((Stream::Tls(stream), agreed)),
            Ok(Err(NotSecured::ClearText(stream))) => {
                tracing::debug!(client = %peer, "clear text where TLS is spoken");
                // However slowly it reads.
                let _late = tokio::time::timeout(self.linger, refuse(stream)).await;
            }
            Ok(Err(NotSecured::Validated(name))) => {
                tracing::info!(client = %peer, name, "an authority has looked whether this name is ours");
            }
            Ok(Err(error)) => tracing::debug!(client = %peer, %error, "no TLS"),
            Err(_) => tracing::debug!(client = %peer, limit = ?self.limit, "the handshake takes too long"),
        }
        None
    }
}

/// Tells a client in clear text that it would have to speak TLS.
async fn refuse(mut stream: TcpStream) {
    let told = async {
        stream.write_all(REFUSAL).await?;
        stream.shutdown().await?;
        // What was sent and not read would have the system take the answer back.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _gone = told.await;
}

const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 54\r\n\
    Connection: close\r\n\r\nThis port speaks HTTPS; ask again with https:// here.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
