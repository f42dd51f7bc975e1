//! What is known of a request beyond HTTP: the connection, its number, the path base, the deadline.
//!
//! In: places in the one buffer that a request was copied to. Out: views of them, made when asked for.
//! Never: formats or parses anything before somebody asks.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cohost_abi::{Addr, family};
use http::{HeaderMap, StatusCode, Version};

use crate::{
    ffi::{self, Host},
    inform::InformError,
};

/// Facts of one request, an extension of it.
///
/// ```
/// # fn handler(request: &http::Request<cohost_app::Body>) {
/// if let Some(facts) = request.extensions().get::<cohost_app::Facts>() {
///     let client = facts.peer();
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Facts {
    pub(crate) host: Host,
    /// The buffer that the texts below are in.
    pub(crate) text: Bytes,
    pub(crate) places: Places,
    pub(crate) version: Version,
    pub(crate) peer: Addr,
    pub(crate) local: Addr,
    pub(crate) connection_id: u64,
    pub(crate) request_id: u64,
    pub(crate) deadline_ns: u64,
    pub(crate) trace: Option<Trace>,
}

/// Where the texts are in the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) scheme: Place,
    pub(crate) authority: Place,
    pub(crate) target: Place,
    pub(crate) path_base: Place,
    pub(crate) path_decoded: Place,
    pub(crate) protocol: Place,
    pub(crate) binding: Place,
    pub(crate) tls: Option<TlsPlaces>,
}

/// A piece of the buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Place {
    pub(crate) const fn range(self) -> std::ops::Range<usize> {
        self.start as usize..(self.start as usize + self.len as usize)
    }
}

/// Where the TLS facts are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsPlaces {
    pub(crate) version: u16,
    pub(crate) cipher: u16,
    pub(crate) sni: Place,
    pub(crate) alpn: Place,
    /// Certificates, each behind its length in four little-endian bytes.
    pub(crate) chain: Place,
}

impl Facts {
    /// The client: behind a proxy that the host trusts, the one that the proxy names. `None` on a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        socket_addr(&self.peer)
    }

    /// The host's end of the connection. `None` on a Unix socket.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        socket_addr(&self.local)
    }

    /// Number of the connection, unique in the host's process.
    #[must_use]
    pub const fn connection_id(&self) -> u64 {
        self.connection_id
    }

    /// Number of the request, unique in the host's process; the host's log shows it as 16 hexadecimal digits.
    #[must_use]
    pub const fn request_id(&self) -> u64 {
        self.request_id
    }

    /// The binding the request came through, as configured.
    #[must_use]
    pub fn binding(&self) -> &str {
        self.text(self.places.binding)
    }

    /// What TLS agreed on; `None` on clear text.
    #[must_use]
    pub fn tls(&self) -> Option<Tls<'_>> {
        self.places.tls.map(|places| Tls { facts: self, places })
    }

    /// `http` or `https`, as the client sees it.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.text(self.places.scheme)
    }

    /// The host name, and port if given, that the client asked for; empty only in HTTP/1.0.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.text(self.places.authority)
    }

    /// The request target exactly as received.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.bytes(self.places.target)
    }

    /// The path prefix the application is mounted at, `""` at the root; the request's URI no longer has it.
    #[must_use]
    pub fn path_base(&self) -> &str {
        self.text(self.places.path_base)
    }

    /// The path with percent-encoding undone, except `%2F`. Not necessarily UTF-8.
    #[must_use]
    pub fn path_decoded(&self) -> &[u8] {
        self.bytes(self.places.path_decoded)
    }

    /// `:protocol` of an extended CONNECT; empty otherwise.
    #[must_use]
    pub fn protocol(&self) -> &str {
        self.text(self.places.protocol)
    }

    /// The version the client speaks.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// When the host will answer 504 itself; `None` for never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.time_left()?)
    }

    /// How long until [`deadline`](Self::deadline): zero when it is over, `None` for ever.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        (self.deadline_ns != 0).then(|| crate::clock::until(self.deadline_ns))
    }

    /// W3C trace context of the request, if it has one.
    #[must_use]
    pub const fn trace(&self) -> Option<Trace> {
        self.trace
    }

    /// Sends a 1xx response ahead of the answer: 103 Early Hints, for one.
    ///
    /// Only from inside the request's own future (not from a task it spawned). Whether it reaches the client depends
    /// on the connection.
    ///
    /// # Errors
    /// [`InformError::Unsupported`] is a normal outcome: go on with the request.
    pub fn inform(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), InformError> {
        let current = crate::scope::current();
        if current.req.is_null() || current.request_id != self.request_id {
            return Err(InformError::OutsideOfRequest);
        }
        ffi::inform(self.host, status, headers).map_err(InformError::from_code)
    }

    fn bytes(&self, place: Place) -> &[u8] {
        &self.text[place.range()]
    }

    fn text(&self, place: Place) -> &str {
        // The host sends text in these places; anything else would be of no use to who asks for text.
        std::str::from_utf8(self.bytes(place)).unwrap_or_default()
    }
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts")
            .field("request_id", &format_args!("{:016x}", self.request_id))
            .field("connection_id", &self.connection_id)
            .field("peer", &self.peer())
            .field("binding", &self.binding())
            .field("authority", &self.authority())
            .field("path_base", &self.path_base())
            .finish_non_exhaustive()
    }
}

/// What TLS agreed on.
#[derive(Clone, Copy)]
pub struct Tls<'a> {
    facts: &'a Facts,
    places: TlsPlaces,
}

impl<'a> Tls<'a> {
    /// As on the wire: 0x0303 for TLS 1.2, 0x0304 for 1.3.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.places.version
    }

    /// Cipher suite, as on the wire.
    #[must_use]
    pub const fn cipher(&self) -> u16 {
        self.places.cipher
    }

    /// Server name the client asked for; empty without SNI.
    #[must_use]
    pub fn sni(&self) -> &'a str {
        self.facts.text(self.places.sni)
    }

    /// Protocol agreed on; empty without ALPN.
    #[must_use]
    pub fn alpn(&self) -> &'a [u8] {
        self.facts.bytes(self.places.alpn)
    }

    /// The client's certificates in DER, its own first; none when it sent none.
    pub fn client_chain(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.facts.bytes(self.places.chain);
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let (certificate, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            rest = after;
            Some(certificate)
        })
    }
}

impl std::fmt::Debug for Tls<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("version", &self.version())
            .field("cipher", &self.cipher())
            .field("sni", &self.sni())
            .finish_non_exhaustive()
    }
}

/// W3C trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The caller's span.
    pub parent_span_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

fn socket_addr(addr: &Addr) -> Option<SocketAddr> {
    let ip = addr.ip;
    match addr.family {
        family::IPV4 => {
            let ip = Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]);
            Some(SocketAddr::new(IpAddr::V4(ip), addr.port))
        }
        family::IPV6 => Some(SocketAddrV6::new(Ipv6Addr::from(ip), addr.port, 0, addr.scope_id).into()),
        _ => None,
    }
}
