//! What a request is: its head, and the connection it came on.

use crate::{Header, Str};

/// A length that is not known.
pub const NO_LENGTH: u64 = u64::MAX;

/// An address of one end of a connection. Frozen.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Addr {
    /// See [`family`].
    pub family: u8,
    /// 0.
    pub pad: u8,
    /// Port, in the machine's byte order.
    pub port: u16,
    /// Zone of a link-local IPv6 address.
    pub scope_id: u32,
    /// Network byte order; IPv4 in the first four.
    pub ip: [u8; 16],
}

/// Values of [`Addr::family`].
pub mod family {
    /// Not known.
    pub const NONE: u8 = 0;
    /// A Unix socket: no address.
    pub const UNIX: u8 = 1;
    /// IPv4.
    pub const IPV4: u8 = 4;
    /// IPv6.
    pub const IPV6: u8 = 6;
}

/// What TLS agreed on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tls {
    /// Size of this struct as its maker knows it.
    pub size: usize,
    /// As on the wire: 0x0303 for TLS 1.2, 0x0304 for 1.3.
    pub version: u16,
    /// Cipher suite, as on the wire.
    pub cipher: u16,
    /// 0.
    pub flags: u32,
    /// Server name the client asked for; empty without SNI.
    pub sni: Str,
    /// Protocol agreed on; empty without ALPN.
    pub alpn: Str,
    /// The client's certificates in DER, its own first; null when it sent none.
    pub client_chain: *const Str,
    /// Their number.
    pub client_chain_len: usize,
}

/// The connection a request came on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// Size of this struct as its maker knows it.
    pub size: usize,
    /// Number of the connection, unique in this host process.
    pub id: u64,
    /// The client: behind a trusted proxy, the one that the proxy names.
    pub peer: Addr,
    /// Our end.
    pub local: Addr,
    /// Null on clear text.
    pub tls: *const Tls,
    /// The binding, as configured.
    pub binding: Str,
}

/// Bits of [`Head::flags`].
pub mod head_flags {
    /// There is a request body to take (it may turn out empty).
    pub const HAS_BODY: u32 = 1;
    /// The client offered an upgrade (`Upgrade`, or `CONNECT`), and this connection can do it.
    pub const UPGRADE: u32 = 2;
    /// [`super::Head::body`] holds the whole body; there is none to take.
    pub const BODY_BUFFERED: u32 = 4;
    /// `trace_id`, `parent_span_id` and `trace_flags` are set.
    pub const TRACE: u32 = 8;
    /// The client waits for 100 Continue; the host sends it when the body is first read.
    pub const EXPECT_CONTINUE: u32 = 16;
}

/// Values of [`Head::method_id`].
pub mod method_id {
    /// None of those below.
    pub const OTHER: u16 = 0;
    /// `GET`
    pub const GET: u16 = 1;
    /// `HEAD`
    pub const HEAD: u16 = 2;
    /// `POST`
    pub const POST: u16 = 3;
    /// `PUT`
    pub const PUT: u16 = 4;
    /// `DELETE`
    pub const DELETE: u16 = 5;
    /// `CONNECT`
    pub const CONNECT: u16 = 6;
    /// `OPTIONS`
    pub const OPTIONS: u16 = 7;
    /// `TRACE`
    pub const TRACE: u16 = 8;
    /// `PATCH`
    pub const PATCH: u16 = 9;
}

/// The head of a request: valid until `handle` returns, or, for a detached one, until its token is consumed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Size of this struct as its maker knows it.
    pub size: usize,
    /// 10, 11, 20 or 30.
    pub http_version: u16,
    /// See [`method_id`].
    pub method_id: u16,
    /// See [`head_flags`].
    pub flags: u32,
    /// Number of fields at `headers`.
    pub n_headers: u32,
    /// 0.
    pub reserved: u32,
    /// The method, as sent.
    pub method: Str,
    /// `http` or `https`.
    pub scheme: Str,
    /// The host name (and port) the client asked for; empty only in HTTP/1.0.
    pub authority: Str,
    /// The request target exactly as received.
    pub target: Str,
    /// The application's path prefix, `""` at the root; already taken off the paths below.
    pub path_base: Str,
    /// Path and query after `path_base`, dot segments and needless escapes (`%61`) undone, otherwise as sent.
    pub path_query: Str,
    /// The path of that alone, percent-encoded.
    pub path: Str,
    /// The path with percent-encoding undone, except `%2F`.
    pub path_decoded: Str,
    /// Without the `?`; a null `ptr` means there was no `?`.
    pub query: Str,
    /// `:protocol` of an extended CONNECT (HTTP/2, RFC 8441); empty otherwise.
    pub protocol: Str,
    /// The header fields in order of arrival.
    pub headers: *const Header,
    /// From `Content-Length`, or [`NO_LENGTH`].
    pub content_length: u64,
    /// When the host will answer 504 itself: `CLOCK_MONOTONIC`, nanoseconds; 0 for never.
    pub deadline_ns: u64,
    /// Number of the request, unique in this host process.
    pub request_id: u64,
    /// W3C trace context: the trace.
    pub trace_id: [u8; 16],
    /// W3C trace context: the caller's span.
    pub parent_span_id: [u8; 8],
    /// W3C trace context: flags.
    pub trace_flags: u8,
    /// 0.
    pub pad: [u8; 7],
    /// Never null.
    pub conn: *const Conn,
    /// The whole body, with [`head_flags::BODY_BUFFERED`].
    pub body: Str,
}
