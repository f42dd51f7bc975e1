//! The head of a request becomes an [`http::Request`].
//!
//! In: the host's head, readable during `handle`. Out: a request that owns itself, its [`Facts`] among the extensions.
//! Never: allocates for each header field: all values and all text share one buffer.

use bytes::Bytes;
use cohost_abi::{self as abi, Code, NO_LENGTH, Str, code, head_flags, header_flags, method_id};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{Host, HostBody, fields, slice};
use crate::{
    Body, Facts,
    facts::{Place, TlsPlaces, Trace},
    instance::Shared,
    names,
    shapes::Shapes,
};

/// Fills in an empty request, where it is: moving one costs more than most of its parts.
///
/// # Safety
/// `req` and `head` are what the host passed to the call of `handle` that is running now.
pub(super) unsafe fn fill(
    request: &mut Request<Body>,
    shared: &Shared,
    req: *mut abi::Req,
    head: &abi::Head,
) -> Result<(), Code> {
    // SAFETY: a head of the host's, during `handle`.
    let (text, places) = unsafe { copy(head) };
    // SAFETY: as above.
    *request.body_mut() = unsafe { body(shared.host, req, head) };
    *request.method_mut() = places.method(head, &text)?;
    *request.version_mut() = version(head.http_version);
    *request.uri_mut() = places.uri(head, &text)?;
    // SAFETY: as above; the text was copied from it.
    *request.headers_mut() = unsafe { headers(&shared.shapes, head, &text) }?;
    // SAFETY: never null, by contract; lives as long as the head.
    let conn = unsafe { &*head.conn };
    request.extensions_mut().insert(Facts {
        host: shared.host,
        text,
        places: places.facts,
        version: version(head.http_version),
        peer: conn.peer,
        local: conn.local,
        connection_id: conn.id,
        request_id: head.request_id,
        deadline_ns: head.deadline_ns,
        trace: (head.flags & head_flags::TRACE != 0).then_some(Trace {
            trace_id: head.trace_id,
            parent_span_id: head.parent_span_id,
            flags: head.trace_flags,
        }),
    });
    Ok(())
}

/// Where the texts of a head are in the buffer that they were copied to.
struct Places {
    facts: crate::facts::Places,
    path_query: Place,
    method: Place,
}

/// Copies a head into one buffer: first the values of the fields, one after the other, then the rest.
///
/// # Safety
/// `head` is one of the host's, readable now.
unsafe fn copy(head: &abi::Head) -> (Bytes, Places) {
    // SAFETY: never null, by contract; lives as long as the head.
    let conn = unsafe { &*head.conn };
    // SAFETY: null or alive, as above.
    let tls = unsafe { conn.tls.as_ref() };
    // SAFETY: the caller's promise.
    let mut text = Text(Vec::with_capacity(unsafe { room(head, conn, tls) }));

    // SAFETY: the caller's promise.
    for header in unsafe { fields(head.headers, head.n_headers) } {
        // SAFETY: a value of the head's.
        unsafe { text.put(Str { ptr: header.value, len: header.value_len as usize }) };
    }
    // SAFETY: here and below: texts of the head and of its connection, readable as long as the head is.
    let path_query = unsafe { text.put(head.path_query) };
    let path_len = u32::try_from(head.path.len).unwrap_or(0).min(path_query.len);
    let path = Place { len: path_len, ..path_query };
    // Most often there is nothing to undo and nothing was taken off: then these are the same bytes once more.
    // SAFETY: as above.
    let path_decoded = unsafe { text.put_unless_same(head.path_decoded, head.path, path) };
    // SAFETY: as above.
    let target = unsafe { text.put_unless_same(head.target, head.path_query, path_query) };
    let method = if head.method_id == method_id::OTHER {
        // SAFETY: as above.
        unsafe { text.put(head.method) }
    } else {
        Place::default()
    };
    let facts = crate::facts::Places {
        path_decoded,
        target,
        // SAFETY: as above.
        scheme: unsafe { text.put(head.scheme) },
        // SAFETY: as above.
        authority: unsafe { text.put(head.authority) },
        // SAFETY: as above.
        path_base: unsafe { text.put(head.path_base) },
        // SAFETY: as above.
        protocol: unsafe { text.put(head.protocol) },
        // SAFETY: as above.
        binding: unsafe { text.put(conn.binding) },
        // SAFETY: as above.
        tls: tls.map(|tls| unsafe { text.put_tls(tls) }),
    };
    (Bytes::from(text.0), Places { facts, path_query, method })
}

/// Whether two texts are the same memory.
fn is_same(one: Str, other: Str) -> bool {
    one.len == other.len && one.ptr == other.ptr
}

impl Places {
    fn method(&self, head: &abi::Head, text: &Bytes) -> Result<Method, Code> {
        Ok(match head.method_id {
            method_id::GET => Method::GET,
            method_id::HEAD => Method::HEAD,
            method_id::POST => Method::POST,
            method_id::PUT => Method::PUT,
            method_id::DELETE => Method::DELETE,
            method_id::CONNECT => Method::CONNECT,
            method_id::OPTIONS => Method::OPTIONS,
            method_id::TRACE => Method::TRACE,
            method_id::PATCH => Method::PATCH,
            _ => Method::from_bytes(&text[self.method.range()]).map_err(|_| code::E_INVALID)?,
        })
    }

    /// As hyper makes it: in origin form, with scheme and authority for HTTP/2 and later.
    fn uri(&self, head: &abi::Head, text: &Bytes) -> Result<Uri, Code> {
        let authority = self.facts.authority;
        let make_authority =
            || Authority::from_maybe_shared(text.slice(authority.range())).map_err(|_| code::E_INVALID);
        if self.path_query.len == 0 && head.method_id == method_id::CONNECT {
            return Ok(Uri::from(make_authority()?));
        }
        let path = if self.path_query.len == 0 {
            PathAndQuery::from_static("/")
        } else {
            PathAndQuery::from_maybe_shared(text.slice(self.path_query.range()))
                .map_err(|_| code::E_INVALID)?
        };
        if head.http_version < 20 || authority.len == 0 {
            return Ok(Uri::from(path));
        }
        let is_https = text[self.facts.scheme.range()] == *b"https";
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if is_https { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(make_authority()?);
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|_| code::E_INVALID)
    }
}

/// # Safety
/// `head` is readable, and `text` is what [`copy`] made of it.
unsafe fn headers(shapes: &Shapes, head: &abi::Head, text: &Bytes) -> Result<HeaderMap, Code> {
    // SAFETY: the caller's promise.
    let fields = unsafe { fields(head.headers, head.n_headers) };
    // SAFETY: the caller's promise.
    let values = unsafe { values(fields, text) };
    if let Some(mut headers) = shapes.find(fields) {
        headers.values_mut().zip(values).for_each(|(place, value)| *place = value);
        return Ok(headers);
    }
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (header, value) in fields.iter().zip(values) {
        // SAFETY: a field of the head's.
        headers.append(unsafe { name(header) }?, value);
    }
    shapes.keep(fields, &headers);
    Ok(headers)
}

/// # Safety
/// `fields` are those of a head, and `text` is what [`copy`] made of it.
unsafe fn values(fields: &[abi::Header], text: &Bytes) -> impl Iterator<Item = HeaderValue> {
    let mut start = 0;
    fields.iter().map(move |header| {
        let end = start + header.value_len as usize;
        let value = text.slice(start..end);
        start = end;
        // SAFETY: the host's parser allowed it as a field value, and hands on nothing else. Debug builds check.
        let mut value = unsafe { HeaderValue::from_maybe_shared_unchecked(value) };
        value.set_sensitive(header.flags & header_flags::SENSITIVE != 0);
        value
    })
}

/// The buffer while it is filled.
struct Text(Vec<u8>);

impl Text {
    /// # Safety
    /// `text` is readable.
    unsafe fn put(&mut self, text: Str) -> Place {
        if text.len == 0 {
            return Place::default();
        }
        let start = self.0.len() as u32;
        // SAFETY: the caller's promise.
        self.0.extend_from_slice(unsafe { slice(text) });
        Place { start, len: text.len as u32 }
    }

    /// # Safety
    /// `text` is readable.
    unsafe fn put_unless_same(&mut self, text: Str, other: Str, place: Place) -> Place {
        if is_same(text, other) {
            return place;
        }
        // SAFETY: the caller's promise.
        unsafe { self.put(text) }
    }

    /// # Safety
    /// `tls` is alive, with everything it points to.
    unsafe fn put_tls(&mut self, tls: &abi::Tls) -> TlsPlaces {
        // SAFETY: the caller's promise.
        let sni = unsafe { self.put(tls.sni) };
        // SAFETY: the caller's promise.
        let alpn = unsafe { self.put(tls.alpn) };
        let start = self.0.len() as u32;
        // SAFETY: the caller's promise.
        for certificate in unsafe { chain(tls) } {
            self.0.extend_from_slice(&(certificate.len as u32).to_le_bytes());
            // SAFETY: the caller's promise.
            unsafe { self.put(*certificate) };
        }
        let chain = Place { start, len: self.0.len() as u32 - start };
        TlsPlaces { version: tls.version, cipher: tls.cipher, sni, alpn, chain }
    }
}

/// How much is to be copied, at most. Exactness saves a reallocation, nothing else.
///
/// # Safety
/// All three are alive.
unsafe fn room(head: &abi::Head, conn: &abi::Conn, tls: Option<&abi::Tls>) -> usize {
    // SAFETY: the caller's promise.
    let values: usize =
        unsafe { fields(head.headers, head.n_headers) }.iter().map(|header| header.value_len as usize).sum();
    // One more than there is: a full buffer is one that `Bytes` would take for a `Vec` until it is cloned.
    let mut room = 1
        + values
        + head.path_query.len
        + head.scheme.len
        + head.authority.len
        + head.path_base.len
        + head.protocol.len
        + conn.binding.len;
    if !is_same(head.path_decoded, head.path) {
        room += head.path_decoded.len;
    }
    if !is_same(head.target, head.path_query) {
        room += head.target.len;
    }
    if head.method_id == method_id::OTHER {
        room += head.method.len;
    }
    if let Some(tls) = tls {
        room += tls.sni.len + tls.alpn.len;
        // SAFETY: the caller's promise.
        room += unsafe { chain(tls) }.iter().map(|certificate| certificate.len + 4).sum::<usize>();
    }
    room
}

/// # Safety
/// `tls` is alive.
unsafe fn chain(tls: &abi::Tls) -> &[Str] {
    if tls.client_chain.is_null() || tls.client_chain_len == 0 {
        return &[];
    }
    // SAFETY: as many as it says, alive as long as it is.
    unsafe { std::slice::from_raw_parts(tls.client_chain, tls.client_chain_len) }
}

/// # Safety
/// `header` is one of a living head's.
unsafe fn name(header: &abi::Header) -> Result<HeaderName, Code> {
    if let Some(name) = names::by_number(header.name_id) {
        return Ok(name.clone());
    }
    let text = Str { ptr: header.name, len: header.name_len as usize };
    // SAFETY: the caller's promise.
    HeaderName::from_bytes(unsafe { slice(text) }).map_err(|_| code::E_INVALID)
}

/// # Safety
/// As for [`fill`].
unsafe fn body(host: Host, req: *mut abi::Req, head: &abi::Head) -> Body {
    if head.flags & head_flags::BODY_BUFFERED != 0 {
        // SAFETY: part of the head; copied.
        return Bytes::copy_from_slice(unsafe { slice(head.body) }).into();
    }
    if head.flags & head_flags::HAS_BODY == 0 {
        return Body::empty();
    }
    let length = (head.content_length != NO_LENGTH).then_some(head.content_length);
    // SAFETY: the caller's promise.
    let body = unsafe { HostBody::take(host, req) };
    body.map_or_else(Body::empty, |body| Body::host(body, length))
}

const fn version(number: u16) -> Version {
    match number {
        10 => Version::HTTP_10,
        20 => Version::HTTP_2,
        30 => Version::HTTP_3,
        _ => Version::HTTP_11,
    }
}
