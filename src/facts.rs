//! What is known of a request beyond HTTP: the connection, its number, the path base, the deadline.
//!
//! `http` makes [`Facts`] and puts them into the request's extensions; `router` adds the path base; the dispatchers
//! hand them to the application. A request without facts (an embedding program's) gets [`Facts::unknown`].

use std::{
    cell::{Cell, OnceCell},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use http::Extensions;

use crate::room::Room;

/// Facts of one request.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The connection it came on.
    pub connection: Arc<Connection>,
    /// Whom it comes from, where the connection is that of a trusted proxy.
    pub forwarded: Option<Box<Forwarded>>,
    /// Its number, unique in this process.
    pub request_id: RequestId,
    /// `http` or `https`, as the client sees it.
    pub scheme: Scheme,
    /// The target exactly as received, where the request's own URI is not that any more.
    pub target: Option<Bytes>,
    /// The application's path prefix, `""` at the root.
    pub path_base: Arc<str>,
    /// Whether the request's path still begins with `path_base`.
    pub base: Base,
    /// When the host will answer 504 itself.
    pub deadline: Option<Instant>,
}

impl Facts {
    /// Puts them among a request's extensions.
    #[cfg(feature = "server")]
    pub(crate) fn put_into(self, extensions: &mut Extensions) {
        if extensions.is_empty()
            && let Some(left) = LEFT.try_with(Room::take).ok().flatten()
        {
            *extensions = left;
        }
        match extensions.get_mut::<Self>() {
            Some(resting) => *resting = self,
            None => drop(extensions.insert(self)),
        }
    }

    /// Takes them out of a request's extensions, which keep the place.
    pub(crate) fn take_from(extensions: &mut Extensions) -> Option<Self> {
        extensions.get_mut::<Self>().map(|facts| std::mem::replace(facts, Self::nobodys()))
    }

    /// Keeps extensions that the facts were taken from, for the facts of a request to come.
    pub(crate) fn leave(extensions: Extensions) {
        // With anything else in them they are not worth it.
        if extensions.len() == 1 && extensions.get::<Self>().is_some() {
            // A thread that is ending keeps nothing.
            let _ = LEFT.try_with(|left| left.keep(extensions));
        }
    }

    /// What stands where facts were.
    fn nobodys() -> Self {
        Self { request_id: RequestId(0), ..Self::of(Connection::unknown()) }
    }
}

thread_local! {
    /// Extensions with a place for facts.
    static LEFT: Room<Extensions> = const { Room::new() };
}

/// Whom a trusted proxy speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The client. Port 0 where the proxy does not say it; the proxy itself where it says nothing that can be read.
    pub client: End,
    /// The proxies between the client and the one that is connected, the client's own first.
    pub proxies: Vec<IpAddr>,
    /// The port that the client asked for, where the proxy says it.
    pub port: Option<u16>,
}

/// Where the path base is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// Taken off the path already, by whoever mounted the application.
    #[default]
    Removed,
    /// At the start of the path.
    InPath,
}

impl Facts {
    /// What can be said of a request that comes from a program of which we know nothing.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new(Connection::unknown())
    }

    /// Facts of the next request on `connection`.
    #[must_use]
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { request_id: RequestId::next(), ..Self::of(connection) }
    }

    /// The client: behind a trusted proxy, the one that the proxy names.
    #[must_use]
    pub fn client(&self) -> End {
        match &self.forwarded {
            None => self.connection.peer,
            Some(forwarded) => forwarded.client,
        }
    }

    fn of(connection: Arc<Connection>) -> Self {
        let scheme = if connection.tls.is_some() { Scheme::Https } else { Scheme::Http };
        Self {
            connection,
            forwarded: None,
            request_id: RequestId(0),
            scheme,
            target: None,
            path_base: empty_base(),
            base: Base::Removed,
            deadline: None,
        }
    }
}

/// The path base of an application at the root, shared.
#[must_use]
pub fn empty_base() -> Arc<str> {
    // Each thread has its own: they would fight for the count of one.
    thread_local! {
        static EMPTY: Arc<str> = Arc::from("");
    }
    EMPTY.try_with(Arc::clone).unwrap_or_else(|_| Arc::from(""))
}

/// The scheme a client used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Clear text.
    #[default]
    Http,
    /// TLS, here or at a trusted proxy.
    Https,
}

impl Scheme {
    /// As in a URI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a client asks for who names none.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Number of a request; shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl RequestId {
    /// A number that no other request of this process has.
    #[must_use]
    pub fn next() -> Self {
        /// Numbers that a thread takes at a time: threads that count together wait for each other.
        const BLOCK: u64 = 1024;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        thread_local! {
            static OWN: Cell<std::ops::Range<u64>> = const { Cell::new(0..0) };
        }
        let next = OWN.try_with(|own| {
            let mut left = own.take();
            let next = left.next().unwrap_or_else(|| {
                let first = NEXT.fetch_add(BLOCK, Ordering::Relaxed);
                left = first + 1..first + BLOCK;
                first
            });
            own.set(left);
            next
        });
        // A thread that is ending has no place for numbers of its own.
        Self(next.unwrap_or_else(|_| NEXT.fetch_add(BLOCK, Ordering::Relaxed)))
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Facts of one connection, the same for all its requests.
#[derive(Debug)]
pub struct Connection {
    /// Its number, unique in this process.
    pub id: u64,
    /// Who has connected: the client, or a proxy. See [`Facts::client`].
    pub peer: End,
    /// Our end.
    pub local: End,
    /// The binding, as configured.
    pub binding: Arc<str>,
    /// What TLS agreed on; `None` on clear text.
    pub tls: Option<Tls>,
    /// Whether its next answer is to be its last.
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "only our own server closes connections")
    )]
    closing: AtomicBool,
    /// How forwarders write it, made with its first request.
    #[cfg(feature = "out-of-process")]
    written: written::Written,
}

impl Connection {
    /// A connection between `peer` and `local` on `binding`.
    #[must_use]
    pub fn new(peer: End, local: End, binding: Arc<str>, tls: Option<Tls>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self::numbered(NEXT.fetch_add(1, Ordering::Relaxed), (peer, local), binding, tls)
    }

    /// One that another process has given its number.
    pub(crate) fn numbered(id: u64, (peer, local): (End, End), binding: Arc<str>, tls: Option<Tls>) -> Self {
        Self {
            id,
            peer,
            local,
            binding,
            tls,
            closing: AtomicBool::new(false),
            #[cfg(feature = "out-of-process")]
            written: written::Written::default(),
        }
    }

    /// As our own runner reads it; `write` is called once.
    #[cfg(feature = "out-of-process")]
    pub(crate) fn carried(&self, write: impl FnOnce(&Self) -> String) -> &str {
        self.written.carried.get_or_init(|| write(self).into())
    }

    /// The fields that tell foreign programs of it and its first request; `write` is called once.
    #[cfg(feature = "out-of-process")]
    pub(crate) fn forwarded(&self, write: impl FnOnce() -> http::HeaderMap) -> &http::HeaderMap {
        self.written.forwarded.get_or_init(|| Box::new(write()))
    }

    /// From now on, every answer says that it is the connection's last.
    #[cfg(feature = "server")]
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    #[cfg(feature = "server")]
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// One of which nothing is known, shared by such requests.
    #[must_use]
    pub fn unknown() -> Arc<Self> {
        let new = || Arc::new(Self::new(End::Unknown, End::Unknown, empty_base(), None));
        // Each thread has its own: they would fight for the count of one.
        thread_local! {
            static UNKNOWN: OnceCell<Arc<Connection>> = const { OnceCell::new() };
        }
        UNKNOWN.try_with(|unknown| Arc::clone(unknown.get_or_init(new))).unwrap_or_else(|_| new())
    }
}

/// What is made of a connection once, for all its requests.
#[cfg(feature = "out-of-process")]
mod written {
    use std::{fmt, sync::OnceLock};

    #[derive(Default)]
    pub(super) struct Written {
        pub(super) carried: OnceLock<Box<str>>,
        pub(super) forwarded: OnceLock<Box<http::HeaderMap>>,
    }

    // Says nothing that the connection does not say.
    impl fmt::Debug for Written {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("…")
        }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not known.
    Unknown,
    /// A Unix socket, which has no address worth naming.
    Unix,
    /// TCP.
    Ip(SocketAddr),
}

impl End {
    /// What one client has for itself: an address of IPv4, however it is written, or the 2^64 of IPv6 that begin alike.
    /// `None` for those that have none.
    #[cfg(any(feature = "front", feature = "server"))]
    pub(crate) fn network(&self) -> Option<IpAddr> {
        let Self::Ip(address) = self else { return None };
        Some(match address.ip().to_canonical() {
            IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Unix => f.write_str("unix:"),
            // A proxy tells an address without its port.
            Self::Ip(address) if address.port() == 0 => address.ip().fmt(f),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// What TLS agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// As on the wire: 0x0303 for TLS 1.2, 0x0304 for 1.3.
    pub version: u16,
    /// Cipher suite, as on the wire.
    pub cipher: u16,
    /// Server name the client asked for; empty without SNI.
    pub sni: Box<str>,
    /// Protocol agreed on; empty without ALPN.
    pub alpn: Bytes,
    /// What was asked of the client.
    pub asked: Asked,
    /// The client's certificates in DER, its own first.
    pub client_chain: Vec<Bytes>,
}

/// What is asked of clients, in the way of certificates: a site's terms, and those of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// Nothing.
    #[default]
    Nothing,
    /// A certificate, if it has one, that certain authorities vouch for. The number is different for different ones.
    Optional(u64),
    /// The same, and it has to have one.
    Required(u64),
}
