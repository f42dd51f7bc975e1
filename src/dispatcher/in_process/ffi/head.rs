//! The head of a request as the contract shows it: pointers into what the host holds anyway.
#![expect(unsafe_code, reason = "the seam")]

use std::{borrow::Cow, ptr};

use cohost_abi as abi;
use http::{HeaderValue, Method, Version, request::Parts};
use http_body::Body as _;
use smallvec::SmallVec;

use super::{answer::Asked, names};
use crate::{
    Body,
    facts::{Base, End, Facts},
};

/// What a head points at and what the request does not hold in that form already.
///
/// It must not move while the [`abi::Head`] made from it is in use.
pub(super) struct Space {
    headers: SmallVec<[abi::Header; 24]>,
    conn: abi::Conn,
    tls: Option<abi::Tls>,
    certificates: Vec<abi::Str>,
    path_query: Vec<u8>,
    decoded: Option<Vec<u8>>,
}

// SAFETY: the pointers are to a request that travels with the space and is only read.
unsafe impl Send for Space {}
// SAFETY: as above.
unsafe impl Sync for Space {}

impl Space {
    pub(super) fn new() -> Self {
        Self {
            headers: SmallVec::new(),
            conn: abi::Conn {
                size: size_of::<abi::Conn>(),
                id: 0,
                peer: NO_ADDRESS,
                local: NO_ADDRESS,
                tls: ptr::null(),
                binding: abi::Str::EMPTY,
            },
            tls: None,
            certificates: Vec::new(),
            path_query: Vec::new(),
            decoded: None,
        }
    }

    /// Makes the head. It is good for as long as nothing of what it is made from moves or changes.
    pub(super) fn fill(
        &mut self,
        parts: &Parts,
        facts: &Facts,
        bodies: (&Body, &[u8]),
        asked: Asked,
    ) -> abi::Head {
        let (body, buffered) = bodies;
        self.fill_connection(facts);
        let Self { path_query, decoded, .. } = self;
        let path_query = after_base(raw_target(parts), facts, path_query);
        let (path, query) = split_query(path_query);
        let decoded = match decode(path) {
            Cow::Borrowed(path) => abi::Str::new(path),
            Cow::Owned(path) => abi::Str::new(decoded.insert(path)),
        };
        let mut head = abi::Head {
            size: size_of::<abi::Head>(),
            http_version: version(parts.version),
            method_id: method_id(&parts.method),
            flags: 0,
            n_headers: 0,
            reserved: 0,
            method: abi::Str::new(parts.method.as_str().as_bytes()),
            scheme: abi::Str::new(facts.scheme.as_str().as_bytes()),
            authority: parts
                .uri
                .authority()
                .map_or(abi::Str::EMPTY, |a| abi::Str::new(a.as_str().as_bytes())),
            target: abi::Str::new(facts.target.as_deref().unwrap_or_else(|| raw_target(parts))),
            path_base: abi::Str::new(facts.path_base.as_bytes()),
            path_query: abi::Str::new(path_query),
            path: abi::Str::new(path),
            path_decoded: decoded,
            query: query.map_or(abi::Str::EMPTY, abi::Str::new),
            protocol: protocol(parts),
            headers: ptr::null(),
            content_length: abi::NO_LENGTH,
            deadline_ns: facts.deadline.map_or(0, super::instance::monotonic_ns),
            request_id: facts.request_id.0,
            trace_id: [0; 16],
            parent_span_id: [0; 8],
            trace_flags: 0,
            pad: [0; 7],
            conn: &raw const self.conn,
            body: abi::Str::new(buffered),
        };
        self.fill_headers(parts, &mut head);
        fill_body(body, buffered, &mut head);
        if asked.upgrade {
            head.flags |= abi::head_flags::UPGRADE;
        }
        head
    }

    fn fill_connection(&mut self, facts: &Facts) {
        let connection = &*facts.connection;
        self.conn.id = connection.id;
        self.conn.peer = address(facts.client());
        self.conn.local = address(connection.local);
        self.conn.binding = abi::Str::new(connection.binding.as_bytes());
        let Some(tls) = &connection.tls else { return };
        self.certificates = tls.client_chain.iter().map(|certificate| abi::Str::new(certificate)).collect();
        let tls = self.tls.insert(abi::Tls {
            size: size_of::<abi::Tls>(),
            version: tls.version,
            cipher: tls.cipher,
            flags: 0,
            sni: abi::Str::new(tls.sni.as_bytes()),
            alpn: abi::Str::new(&tls.alpn),
            client_chain: self.certificates.as_ptr(),
            client_chain_len: self.certificates.len(),
        });
        self.conn.tls = tls;
    }

    fn fill_headers(&mut self, parts: &Parts, head: &mut abi::Head) {
        self.headers.reserve(parts.headers.len());
        for (name, value) in &parts.headers {
            let name = name.as_str();
            let name_id = names::id(name);
            match name_id {
                abi::header_id::HOST if head.authority.len == 0 => {
                    head.authority = abi::Str::new(value.as_bytes());
                }
                abi::header_id::EXPECT => head.flags |= abi::head_flags::EXPECT_CONTINUE,
                abi::header_id::CONTENT_LENGTH => head.content_length = length(value),
                abi::header_id::TRACEPARENT => trace(value.as_bytes(), head),
                _ => {}
            }
            self.headers.push(field(name, value, name_id));
        }
        head.headers = self.headers.as_ptr();
        head.n_headers = u32::try_from(self.headers.len()).unwrap_or(u32::MAX);
    }
}

const NO_ADDRESS: abi::Addr =
    abi::Addr { family: abi::family::NONE, pad: 0, port: 0, scope_id: 0, ip: [0; 16] };

/// One field, pointing at `name` and `value`.
pub(super) fn field(name: &str, value: &HeaderValue, name_id: u16) -> abi::Header {
    abi::Header {
        name: name.as_ptr(),
        value: value.as_bytes().as_ptr(),
        name_len: u32::try_from(name.len()).unwrap_or(u32::MAX),
        value_len: u32::try_from(value.len()).unwrap_or(u32::MAX),
        name_id,
        flags: if value.is_sensitive() { abi::header_flags::SENSITIVE } else { 0 },
        reserved: 0,
    }
}

fn raw_target(parts: &Parts) -> &[u8] {
    parts.uri.path_and_query().map_or(b"/", |target| target.as_str().as_bytes())
}

/// Path and query after the path base; never empty.
fn after_base<'a>(whole: &'a [u8], facts: &Facts, space: &'a mut Vec<u8>) -> &'a [u8] {
    if facts.base == Base::Removed {
        return whole;
    }
    match whole.strip_prefix(facts.path_base.as_bytes()) {
        Some(b"") => b"/",
        Some(rest) if rest[0] == b'?' => {
            space.push(b'/');
            space.extend_from_slice(rest);
            space
        }
        Some(rest) => rest,
        None => whole,
    }
}

fn split_query(path_query: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path_query.iter().position(|byte| *byte == b'?') {
        Some(at) => (&path_query[..at], Some(&path_query[at + 1..])),
        None => (path_query, None),
    }
}

/// Undoes percent-encoding, except of a slash: `%2F` is not a separator, and decoding it would make it one.
fn decode(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        let code = match (byte, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        match code {
            Some(byte) if byte != b'/' => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            _ => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

fn address(end: End) -> abi::Addr {
    let std::net::SocketAddr::V6(v6) = (match end {
        End::Unknown => return NO_ADDRESS,
        End::Unix => return abi::Addr { family: abi::family::UNIX, ..NO_ADDRESS },
        End::Ip(std::net::SocketAddr::V4(v4)) => {
            let mut ip = [0; 16];
            ip[..4].copy_from_slice(&v4.ip().octets());
            return abi::Addr { family: abi::family::IPV4, port: v4.port(), ip, ..NO_ADDRESS };
        }
        End::Ip(v6) => v6,
    }) else {
        return NO_ADDRESS;
    };
    abi::Addr {
        family: abi::family::IPV6,
        pad: 0,
        port: v6.port(),
        scope_id: v6.scope_id(),
        ip: v6.ip().octets(),
    }
}

fn version(version: Version) -> u16 {
    match version {
        Version::HTTP_09 => 9,
        Version::HTTP_10 => 10,
        Version::HTTP_2 => 20,
        Version::HTTP_3 => 30,
        _ => 11,
    }
}

fn method_id(method: &Method) -> u16 {
    match *method {
        Method::GET => abi::method_id::GET,
        Method::HEAD => abi::method_id::HEAD,
        Method::POST => abi::method_id::POST,
        Method::PUT => abi::method_id::PUT,
        Method::DELETE => abi::method_id::DELETE,
        Method::CONNECT => abi::method_id::CONNECT,
        Method::OPTIONS => abi::method_id::OPTIONS,
        Method::TRACE => abi::method_id::TRACE,
        Method::PATCH => abi::method_id::PATCH,
        _ => abi::method_id::OTHER,
    }
}

fn protocol(parts: &Parts) -> abi::Str {
    if parts.method != Method::CONNECT {
        return abi::Str::EMPTY;
    }
    let protocol = parts.extensions.get::<hyper::ext::Protocol>();
    protocol.map_or(abi::Str::EMPTY, |protocol| abi::Str::new(protocol.as_str().as_bytes()))
}

fn length(value: &HeaderValue) -> u64 {
    value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(abi::NO_LENGTH)
}

fn fill_body(body: &Body, buffered: &[u8], head: &mut abi::Head) {
    if !buffered.is_empty() {
        head.flags |= abi::head_flags::BODY_BUFFERED;
        head.content_length = buffered.len() as u64;
    } else if !body.is_end_stream() {
        head.flags |= abi::head_flags::HAS_BODY;
        if let Some(length) = body.size_hint().exact() {
            head.content_length = length;
        }
    }
}

/// W3C trace context, version 00: `00-<trace>-<span>-<flags>`. Anything else is as if it were not there.
fn trace(value: &[u8], head: &mut abi::Head) {
    let [b'0', b'0', b'-', rest @ ..] = value else { return };
    let (Some((trace, [b'-', rest @ ..])), true) = (rest.split_at_checked(32), rest.len() == 52) else {
        return;
    };
    let (Some((span, [b'-', flags @ ..])), true) = (rest.split_at_checked(16), rest.len() == 19) else {
        return;
    };
    let (mut trace_id, mut span_id, mut trace_flags) = ([0; 16], [0; 8], [0; 1]);
    let parsed =
        unhex(trace, &mut trace_id).and(unhex(span, &mut span_id)).and(unhex(flags, &mut trace_flags));
    if parsed.is_some() && trace_id != [0; 16] && span_id != [0; 8] {
        head.flags |= abi::head_flags::TRACE;
        head.trace_id = trace_id;
        head.parent_span_id = span_id;
        head.trace_flags = trace_flags[0];
    }
}

fn unhex(text: &[u8], into: &mut [u8]) -> Option<()> {
    for (pair, byte) in text.chunks_exact(2).zip(into) {
        if pair.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        *byte = hex(pair[0])? << 4 | hex(pair[1])?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(request: http::request::Builder, base: &str) -> (abi::Head, Box<Space>, Parts, Facts) {
        let (parts, ()) = request.body(()).expect("valid").into_parts();
        let mut facts = Facts::unknown();
        facts.path_base = base.into();
        facts.base = if base.is_empty() { Base::Removed } else { Base::InPath };
        let mut space = Box::new(Space::new());
        let head = space.fill(&parts, &facts, (&Body::empty(), &[]), Asked::default());
        (head, space, parts, facts)
    }

    fn text(part: abi::Str) -> String {
        // SAFETY: the tests keep what it points at.
        String::from_utf8_lossy(unsafe { super::super::slice(part) }).into_owned()
    }

    #[test]
    fn the_path_base_is_taken_off_and_the_rest_stays_as_sent() {
        for (target, base, path, query) in [
            ("/shop/a%2Fb//c?x=%20&y", "/shop", "/a%2Fb//c", Some("x=%20&y")),
            ("/shop", "/shop", "/", None),
            ("/shop?q", "/shop", "/", Some("q")),
            ("/?", "", "/", Some("")),
            ("/a+b", "", "/a+b", None),
        ] {
            let (head, _space, _parts, _facts) = head_of(http::Request::builder().uri(target), base);
            assert_eq!(text(head.path), path, "{target}");
            assert_eq!(head.query.ptr.is_null(), query.is_none(), "{target}");
            assert_eq!(text(head.query), query.unwrap_or_default(), "{target}");
            assert_eq!(text(head.path_base), base);
        }
    }

    #[test]
    fn a_decoded_path_keeps_an_escaped_slash() {
        assert_eq!(&*decode(b"/a%20b%2Fc%2f%C3%A4%zz%4"), "/a b%2Fc%2f\u{e4}%zz%4".as_bytes());
        assert!(matches!(decode(b"/plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_trace_context_is_read_and_a_broken_one_ignored() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (head, ..) = head_of(http::Request::builder().header("traceparent", good), "");
        assert_ne!(head.flags & abi::head_flags::TRACE, 0);
        assert_eq!(head.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(head.parent_span_id[7], 0xb7);
        assert_eq!(head.trace_flags, 1);
        for bad in [
            "",
            "00-",
            &good[..54],
            &good.to_uppercase(),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            let (head, ..) = head_of(http::Request::builder().header("traceparent", bad), "");
            assert_eq!(head.flags & abi::head_flags::TRACE, 0, "{bad}");
        }
    }

    #[test]
    fn the_authority_is_that_of_the_uri_or_the_host_field() {
        let (head, ..) = head_of(http::Request::builder().uri("/").header("host", "a:1"), "");
        assert_eq!(head.authority.len, 3);
        let (head, ..) = head_of(http::Request::builder().uri("http://bb/").header("host", "a:1"), "");
        assert_eq!(head.authority.len, 2);
    }

    #[test]
    fn repeated_fields_stay_separate_and_in_order() {
        let request = http::Request::builder().header("x-a", "1").header("cookie", "b").header("x-a", "2");
        let (head, _space, _parts, _facts) = head_of(request, "");
        // SAFETY: the space is alive.
        let fields = unsafe { super::super::fields(head.headers, head.n_headers) };
        let ids: Vec<_> = fields.iter().map(|field| field.name_id).collect();
        assert_eq!(ids.iter().filter(|id| **id == 0).count(), 2);
        assert_eq!(ids.iter().filter(|id| **id == abi::header_id::COOKIE).count(), 1);
    }
}
