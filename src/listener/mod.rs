//! Sockets that accept.
//!
//! In: addresses. Out: byte streams with the two ends' addresses. Never: knows HTTP, or fails to accept: what can go
//! wrong with one connection, or with too many, does not end the listening.

mod bound;
pub mod preamble;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

#[cfg(feature = "tls")]
use self::tls::Secured;
pub use self::{bound::Bound, stream::Stream};
use crate::{
    facts::{End, Scheme},
    sys::listening::{self, Ours},
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket. One that is left over is replaced if nobody listens on it.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named(Scheme::Http))
    }
}

impl Address {
    /// What it is called where clients speak `scheme`: `https://127.0.0.1:8443`.
    #[must_use]
    pub fn named(&self, scheme: Scheme) -> String {
        match self {
            Self::Tcp(address) => format!("{}://{address}", scheme.as_str()),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Our end of every connection that comes in here; `None` where that differs.
    fn of_all(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) if !address.ip().is_unspecified() => Some(*address),
            _ => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{hint}", hint = hint(source))]
pub struct ListenError {
    /// The address.
    pub address: Address,
    /// What the system says.
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop what listens there, or choose another address",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE, sockets a writable directory"
        }
        _ => "",
    }
}

/// A socket that accepts.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
    #[cfg(feature = "tls")]
    secured: Secured,
    proxied: Proxied,
    _ours: Ours,
}

/// Who connects to a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proxied {
    /// Clients, or proxies that say so in their requests.
    #[default]
    No,
    /// Proxies that are trusted, which say for whom before anything else ([`preamble`]). Nobody else is served.
    Yes,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Listener {
    /// Listens on `address`. Port 0 becomes a free one, which [`address`](Self::address) tells.
    ///
    /// # Errors
    /// Returns what the system says, and the address.
    pub fn bind(address: Address) -> Result<Self, ListenError> {
        Self::new(Bound::to(address)?)
    }

    /// Accepts on a socket that listens already.
    ///
    /// # Errors
    /// Returns what the system says, and the address.
    pub fn new(bound: Bound) -> Result<Self, ListenError> {
        let (socket, address) = bound.into_parts();
        let opened = listening::ours(|| match &address {
            Address::Tcp(_) => TcpListener::from_std(socket.into()).map(Socket::Tcp),
            Address::Unix(_) => UnixListener::from_std(socket.into()).map(Socket::Unix),
        });
        match opened {
            Ok((socket, ours)) => Ok(Self {
                socket,
                address,
                #[cfg(feature = "tls")]
                secured: Secured::default(),
                proxied: Proxied::No,
                _ours: ours,
            }),
            Err(source) => Err(ListenError { address, source }),
        }
    }

    /// Listens on a socket that somebody else has bound.
    ///
    /// # Errors
    /// Returns what the system says.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        Self::new(Bound::inherited(socket)?).map_err(|error| error.source)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Says who connects here.
    #[must_use]
    pub fn proxied(self, proxied: Proxied) -> Self {
        Self { proxied, ..self }
    }

    /// Who connects here.
    #[must_use]
    pub fn is_proxied(&self) -> Proxied {
        self.proxied
    }

    /// How connections that come in here are secured; to be changed also while it accepts. To begin with they are not.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn secured(&self) -> &Secured {
        &self.secured
    }

    /// Stops listening. Gives those who have connected and wait: the system would reset them, requests and all.
    #[must_use]
    pub fn close(self) -> Vec<Accepted> {
        let local = self.address.of_all();
        match self.socket {
            Socket::Tcp(socket) => socket.into_std().map(|socket| {
                waiting(|| {
                    let (stream, peer) = socket.accept()?;
                    stream.set_nonblocking(true)?;
                    Accepted::tcp(TcpStream::from_std(stream)?, peer, local)
                })
            }),
            Socket::Unix(socket) => socket.into_std().map(|socket| {
                waiting(|| {
                    let (stream, _) = socket.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(Accepted::unix(UnixStream::from_std(stream)?))
                })
            }),
        }
        .unwrap_or_default()
    }

    /// The next connection. Waits through errors: most are of one connection, and want of descriptors passes.
    pub async fn accept(&self) -> Accepted {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(socket) => {
                    let local = self.address.of_all();
                    socket.accept().await.and_then(|(stream, peer)| Accepted::tcp(stream, peer, local))
                }
                Socket::Unix(socket) => socket.accept().await.map(|(stream, _)| Accepted::unix(stream)),
            };
            match accepted {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "cannot accept connections; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// All that can be accepted without waiting.
fn waiting(mut accept: impl FnMut() -> io::Result<Accepted>) -> Vec<Accepted> {
    let mut all = Vec::new();
    // No more than can have queued: who comes meanwhile must not keep it going.
    for _ in 0..BACKLOG {
        match accept() {
            Ok(accepted) => all.push(accepted),
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => break,
        }
    }
    all
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
    )
}

/// A connection.
#[derive(Debug)]
pub struct Accepted {
    /// Its bytes.
    pub stream: Stream,
    /// The client's end.
    pub peer: End,
    /// Our end.
    pub local: End,
}

impl Accepted {
    /// `local` saves asking, where it is known.
    fn tcp(stream: TcpStream, peer: SocketAddr, local: Option<SocketAddr>) -> io::Result<Self> {
        let local = local.map_or_else(|| stream.local_addr(), Ok)?;
        Ok(Self { stream: Stream::Tcp(stream), peer: End::Ip(peer), local: End::Ip(local) })
    }

    fn unix(stream: UnixStream) -> Self {
        Self { stream: Stream::Unix(stream), peer: End::Unix, local: End::Unix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn accepted(listen: &str) -> (Accepted, SocketAddr) {
        let listener = Listener::bind(Address::Tcp(listen.parse().unwrap())).unwrap();
        let Address::Tcp(address) = listener.address() else { panic!("{listener:?}") };
        let client = TcpStream::connect(("127.0.0.1", address.port())).await.unwrap();
        (listener.accept().await, client.peer_addr().unwrap())
    }

    #[tokio::test]
    async fn accepted_connections_send_without_delay() {
        for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
            let (Accepted { stream: Stream::Tcp(stream), .. }, _) = accepted(listen).await else {
                panic!("not TCP")
            };
            assert!(stream.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn our_end_is_the_one_that_the_client_connected_to() {
        for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
            let (accepted, asked) = accepted(listen).await;
            assert_eq!(accepted.local, End::Ip(asked));
        }
    }
}
