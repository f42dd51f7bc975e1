//! Which sockets of this process accept connections, and which of them the host itself has opened.
//!
//! In: nothing but the process's own descriptors. Out: the sockets that listen. Never: keeps a descriptor, or changes
//! anything about one.
#![expect(unsafe_code, reason = "the process's descriptors are listed by their numbers alone")]

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::fstat,
    net::{getsockname, sockopt::socket_acceptconn},
};

/// What a socket is known by for as long as it is open, under whatever descriptors.
type Inode = u64;

/// Those that the host has opened.
static OURS: Mutex<Option<HashSet<Inode>>> = Mutex::new(None);

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) inode: Inode,
    /// Where, as the system writes it.
    pub(crate) address: String,
}

/// Says for as long as it lives that a listening socket is the host's.
#[derive(Debug)]
pub(crate) struct Ours(Inode);

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(ours) = &mut *lock() {
            ours.remove(&self.0);
        }
    }
}

/// Opens a listening socket as the host's own.
#[cfg_attr(not(any(feature = "server", test)), expect(dead_code, reason = "only a server opens sockets"))]
pub(crate) fn ours<S: AsFd>(open: impl FnOnce() -> io::Result<S>) -> io::Result<(S, Ours)> {
    // Held meanwhile: nobody sees the socket before it is known.
    let mut known = lock();
    let socket = open()?;
    let inode = fstat(&socket)?.st_ino;
    known.get_or_insert_default().insert(inode);
    Ok((socket, Ours(inode)))
}

/// The listening sockets that the host has not opened; `None` if it has opened none, because whoever embeds it listens
/// by other means.
pub(crate) fn foreign() -> Option<Vec<Listening>> {
    let ours = lock();
    let ours = ours.as_ref().filter(|ours| !ours.is_empty())?;
    Some(all().into_iter().filter(|socket| !ours.contains(&socket.inode)).collect())
}

/// All listening sockets of this process. Takes about a millisecond for some thousand descriptors.
pub(crate) fn all() -> Vec<Listening> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(listening).collect()
}

fn listening(number: i32) -> Option<Listening> {
    // SAFETY: not negative, since it was listed. Should it be closed meanwhile, or be another one, the system says so,
    // or speaks of that one: it is only asked.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    if !socket_acceptconn(descriptor).ok()? {
        return None;
    }
    let address = getsockname(descriptor).ok()?;
    let address = std::net::SocketAddr::try_from(address.clone())
        .map_or_else(|_| format!("{address:?}"), |address| address.to_string());
    Some(Listening { inode: fstat(descriptor).ok()?.st_ino, address })
}

fn lock() -> MutexGuard<'static, Option<HashSet<Inode>>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_socket_that_listens_is_seen_for_as_long_as_it_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(all().iter().filter(|socket| socket.address == address).count(), 1);
        drop((listener, connected));
        assert!(all().iter().all(|socket| socket.address != address));
    }

    #[test]
    fn the_hosts_own_sockets_are_not_foreign() {
        let (socket, ours) = ours(|| TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let seen = |address: &str| foreign().unwrap().iter().any(|socket| socket.address == address);
        assert!(!seen(&address));
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(seen(&stranger.local_addr().unwrap().to_string()));
        drop((socket, ours));
    }
}
