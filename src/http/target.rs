//! What hyper's parser lets pass and a host must not, and the one spelling of a path that all later stages see.
//!
//! Dot segments are removed, plain and escaped, and escapes undone that need not be: `%61` is `a`, so that nobody gets past
//! what is there for `/admin` as `/%61dmin`. Everything else stays as the client sent it: `%2F` is not a slash, `//` is
//! not `/`. The target as received is kept in the facts.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version, header,
    uri::{PathAndQuery, Scheme},
};

use crate::{Body, Failure, facts::Facts, failure::Code, path};

/// Refuses a request that has no meaning, and brings the path of any other into normal form.
///
/// # Errors
/// Returns why it has none.
pub fn normalise(request: &mut Request<Body>) -> Result<(), Failure> {
    check(request)
        .and_then(|()| coding(request))
        .and_then(|()| normalise_path(request))
        .map_err(|why| Failure::new(Code::BadRequest).detail(why))
}

/// Refuses a request with more than `most` fields. HTTP/1.1 is counted while it is read; HTTP/2 divides cookies.
pub(super) fn count_fields(fields: &HeaderMap, most: usize) -> Result<(), Failure> {
    if fields.len() <= most {
        return Ok(());
    }
    let cookies = fields.get_all(header::COOKIE).into_iter().count();
    let count = fields.len() - cookies.saturating_sub(1);
    let failure =
        || Failure::new(Code::TooManyFields).detail(format!("{count} fields; max_header_fields is {most}"));
    if count <= most { Ok(()) } else { Err(failure()) }
}

/// What is wrong with the request as a whole.
fn check<B>(request: &Request<B>) -> Result<(), &'static str> {
    let (uri, headers) = (request.uri(), request.headers());
    match (request.method(), request.version()) {
        (&Method::CONNECT, Version::HTTP_2) if uri.path_and_query().is_some() => {}
        (&Method::CONNECT, _) => return Err("this host is no proxy: CONNECT is refused"),
        _ => {}
    }
    if uri.path() == "*" && request.method() != Method::OPTIONS {
        return Err("the target `*` goes with OPTIONS only");
    }
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err("this host is no gateway to what is not HTTP");
    }
    if uri.scheme().is_none() && uri.authority().is_some() {
        return Err("a target without a path goes with CONNECT only");
    }
    authority(uri, headers, request.version())
}

/// A body in HTTP/1.1 comes in chunks, or with its length. hyper looks at the last coding only; those before it would be
/// lost, and what they have made of the body taken for the body.
fn coding(request: &Request<Body>) -> Result<(), &'static str> {
    if http_body::Body::is_end_stream(request.body()) {
        return Ok(());
    }
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).into_iter();
    let plain = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let only = codings.next().is_none();
    if plain && only { Ok(()) } else { Err("Transfer-Encoding is something else than `chunked`") }
}

/// There is one authority, and it is one.
fn authority(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<(), &'static str> {
    // In a line: a request has few fields, and looking a name up costs more than passing them all.
    let mut hosts = headers.iter().filter(|(name, _)| **name == header::HOST).map(|(_, value)| value);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("there is more than one Host field");
    }
    match (host, uri.authority()) {
        (Some(host), None) => host_value(host.as_bytes()),
        (Some(host), Some(authority))
            if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            host_value(host.as_bytes())
        }
        (Some(_), Some(_)) => Err("the Host field differs from the target's authority"),
        // It becomes a Host field, and is looked at as one.
        (None, Some(authority)) => host_value(authority.as_str().as_bytes()),
        (None, None) if version == Version::HTTP_11 => Err("there is no Host field"),
        (None, None) if version == Version::HTTP_2 => Err("there is no authority"),
        (None, None) => Ok(()),
    }
}

/// The bytes of hosts and ports, by what has to be looked at.
const IN_HOSTS: [u8; 256] = {
    let mut kinds = [OTHER; 256];
    let mut byte = 0;
    while byte < 128 {
        let it = byte as u8;
        if it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_' | b'~' | b'%' | b'!') {
            kinds[byte] = IN_NAME;
        }
        byte += 1;
    }
    kinds[b':' as usize] = COLON;
    kinds
};

/// Part of a name.
const IN_NAME: u8 = 1;
/// What separates a name from its port.
const COLON: u8 = 2;
/// Only in an address of IPv6, or wrong.
const OTHER: u8 = 4;

/// RFC 9110, section 7.2: a host and perhaps a port, nothing else.
fn host_value(value: &[u8]) -> Result<(), &'static str> {
    // Without a branch a byte: every request's host comes by here.
    let kinds = value.iter().fold(0, |kinds, byte| kinds | IN_HOSTS[usize::from(*byte)]);
    let right = match kinds {
        IN_NAME => true,
        0..OTHER => {
            let colon = value.iter().position(|byte| *byte == b':').unwrap_or_default();
            colon > 0 && is_port(&value[colon + 1..])
        }
        _ => is_v6(value),
    };
    if right { Ok(()) } else { Err("the host is not a host name") }
}

/// An address of IPv6 in brackets, and perhaps a port.
fn is_v6(value: &[u8]) -> bool {
    let [b'[', rest @ ..] = value else { return false };
    let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
    let (inside, port) = (&rest[..end], &rest[end + 1..]);
    let port = match port {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    };
    port && !inside.is_empty() && inside.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
}

/// The digits of a port, of which there may be none.
fn is_port(digits: &[u8]) -> bool {
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10 && number <= 6_553).then(|| number * 10 + u32::from(digit))
    });
    number.is_some_and(|number| u16::try_from(number).is_ok())
}

/// Gives a request that names its authority in the target alone (HTTP/1.0 may) the field where all look for it.
fn name_host(request: &mut Request<Body>) {
    if request.version() > Version::HTTP_11 {
        return;
    }
    let Some(authority) = request.uri().authority() else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
}

/// The bytes of targets, by what has to be looked at.
const IN_TARGETS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            0..=b' ' | 0x7f.. => FORBIDDEN,
            b'%' | b'.' => HIDING,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

/// Not allowed in a target.
const FORBIDDEN: u8 = 1;
/// The beginning of a dot segment or of an escaped byte, perhaps.
const HIDING: u8 = 2;

/// Brings the path into normal form, and keeps the target as received if that changed it.
fn normalise_path(request: &mut Request<Body>) -> Result<(), &'static str> {
    name_host(request);
    let Some(target) = request.uri().path_and_query() else { return Ok(()) };
    let bytes = target.as_str().as_bytes();
    // Without a branch a byte: every request's target comes by here.
    let kinds = bytes.iter().fold(0, |kinds, byte| kinds | IN_TARGETS[usize::from(*byte)]);
    if kinds & FORBIDDEN != 0 {
        return Err("the target has bytes that must be percent-encoded");
    }
    // Most targets are plain; only these can hide a control character or a dot segment.
    if kinds & HIDING == 0 {
        return Ok(());
    }
    if path::has_controls(target.path()) {
        return Err("the path has control characters");
    }
    let undone = path::undone(target.path());
    let mut normal = match (path::without_dots(&undone), &undone) {
        (Cow::Owned(normal), _) => normal,
        (Cow::Borrowed(_), Cow::Owned(undone)) => undone.clone(),
        (Cow::Borrowed(_), Cow::Borrowed(_)) => return Ok(()),
    };
    let before = Bytes::copy_from_slice(bytes);
    if let Some(query) = target.query() {
        normal.push('?');
        normal.push_str(query);
    }
    let normal = PathAndQuery::from_maybe_shared(Bytes::from(normal)).map_err(|_| "the path is malformed")?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.path_and_query = Some(normal);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| "the target is malformed")?;
    if let Some(facts) = request.extensions_mut().get_mut::<Facts>() {
        facts.target = Some(before);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: http::request::Builder) -> bool {
        let mut request = request.body(Body::empty()).expect("http lets it pass");
        normalise(&mut request).is_err()
    }

    #[test]
    fn host_fields_that_are_none_are_refused() {
        for host in ["", "a, b", "u@a", "a/b", "a:99999", "[::1", "a b", "a\tb", "[]", ":80", "a:b", "[::1]x"]
        {
            assert!(refused(Request::builder().uri("/").header("host", host)), "{host}");
        }
        for host in ["a", "a:80", "[::1]", "[::1]:80", "127.0.0.1:8080", "xn--bcher-kva.example", "a_b", "a:"]
        {
            assert!(!refused(Request::builder().uri("/").header("host", host)), "{host}");
        }
        let absolute = |authority: &str| {
            let target = format!("http://{authority}/");
            refused(Request::builder().version(Version::HTTP_2).uri(target))
        };
        for authority in
            ["evil.org,a.example.com", "a;b", "*.a", "a(b)", "a:99999", "u@a", "a:b", "a&b", "a'"]
        {
            assert!(absolute(authority), "{authority}");
        }
        for authority in ["a", "a:80", "[::1]:80", "a."] {
            assert!(!absolute(authority), "{authority}");
        }
        assert!(refused(Request::builder().uri("/")));
        assert!(refused(Request::builder().uri("/").header("host", "a").header("host", "a")));
        assert!(refused(Request::builder().uri("http://b/").header("host", "a")));
        assert!(!refused(Request::builder().uri("http://A/").header("host", "a")));
        assert!(!refused(Request::builder().uri("/").version(Version::HTTP_10)));
    }

    #[test]
    fn targets_without_a_meaning_are_refused() {
        for (method, target) in
            [("GET", "*"), ("CONNECT", "a:443"), ("GET", "a:80"), ("GET", "/%00"), ("GET", "/a%0d%0ab")]
        {
            assert!(refused(Request::builder().method(method).uri(target).header("host", "a")), "{target}");
        }
        assert!(!refused(Request::builder().method("OPTIONS").uri("*").header("host", "a")));
        assert!(!refused(Request::builder().uri("/a?x=%0a%00").header("host", "a")));
    }
}
