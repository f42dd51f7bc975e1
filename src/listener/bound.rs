//! Sockets that listen and that nobody accepts on.
//!
//! In: an address, or a descriptor. Out: a socket to which clients connect; they wait in the system's queue until
//! somebody accepts, in this process or in another one. Never: wakes this process when somebody connects.

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{fs::FileTypeExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
};

use rustix::{
    io::ioctl_fionbio,
    net::{
        AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with,
        sockopt::{set_socket_reuseaddr, set_tcp_nodelay, socket_acceptconn},
    },
};

use super::{Address, BACKLOG, ListenError};

/// A socket that listens and that nobody accepts on.
#[derive(Debug)]
pub struct Bound {
    socket: OwnedFd,
    address: Address,
}

impl Bound {
    /// Listens on `address`. Port 0 becomes a free one, which [`address`](Self::address) tells.
    ///
    /// # Errors
    /// Returns what the system says, and the address.
    pub fn to(address: Address) -> Result<Self, ListenError> {
        let opened = match &address {
            Address::Tcp(address) => tcp(*address),
            Address::Unix(path) => unix(path),
        };
        let bound = opened.and_then(|socket| {
            let actual = local_address(&socket)?;
            Ok(Self { socket, address: actual })
        });
        bound.map_err(|source| ListenError { address, source })
    }

    /// Takes over a socket that somebody else has bound.
    ///
    /// # Errors
    /// It is no socket that listens on TCP or on a Unix socket.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        if !socket_acceptconn(&socket)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }
        ioctl_fionbio(&socket, true)?;
        let address = local_address(&socket)?;
        if let Address::Tcp(_) = address {
            set_tcp_nodelay(&socket, true)?;
        }
        Ok(Self { socket, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn into_parts(self) -> (OwnedFd, Address) {
        (self.socket, self.address)
    }
}

impl From<Bound> for OwnedFd {
    fn from(bound: Bound) -> Self {
        bound.socket
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    // So that a restart does not wait for the last connections of its predecessor.
    set_socket_reuseaddr(&socket, true)?;
    // Accepted sockets have it from this one, so that nobody needs to set it for each.
    set_tcp_nodelay(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A socket's file without anybody behind it.
fn is_left_over(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = std::os::unix::net::UnixStream::connect(path).err();
    is_socket && refused.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn local_address(socket: &OwnedFd) -> io::Result<Address> {
    let address = getsockname(socket)?;
    if address.address_family() == AddressFamily::UNIX {
        let socket = std::os::unix::net::UnixListener::from(socket.try_clone()?);
        // One without a file has no name that could be shown.
        let path = socket.local_addr()?.as_pathname().map(PathBuf::from).unwrap_or_default();
        return Ok(Address::Unix(path));
    }
    Ok(Address::Tcp(address.try_into()?))
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpStream};

    use super::*;
    use crate::{facts::End, listener::Listener};

    fn anywhere() -> Address {
        Address::Tcp(([127, 0, 0, 1], 0).into())
    }

    #[tokio::test]
    async fn who_connects_before_anybody_accepts_is_accepted_later() {
        let bound = Bound::to(anywhere()).unwrap();
        let Address::Tcp(address) = *bound.address() else { panic!("TCP was asked for") };
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"hello").unwrap();

        let listener = Listener::new(bound).unwrap();
        let accepted = listener.accept().await;
        assert!(matches!(accepted.peer, End::Ip(peer) if peer == client.local_addr().unwrap()));
    }

    #[tokio::test]
    async fn a_copy_accepts_after_the_other_is_closed() {
        let bound = Bound::to(anywhere()).unwrap();
        let copy = Bound::inherited(bound.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(copy.address(), bound.address());
        let Address::Tcp(address) = *bound.address() else { panic!("TCP was asked for") };
        let first = Listener::new(bound).unwrap();
        assert!(first.close().is_empty());

        let client = TcpStream::connect(address).unwrap();
        let accepted = Listener::new(copy).unwrap().accept().await;
        drop((client, accepted));
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let (end, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Bound::inherited(end.into()).is_err());
        assert!(Bound::inherited(std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let bound = Bound::to(anywhere()).unwrap();
        let error = Bound::to(bound.address().clone()).unwrap_err();
        assert!(error.to_string().contains("stop what listens there"), "{error}");
    }
}
