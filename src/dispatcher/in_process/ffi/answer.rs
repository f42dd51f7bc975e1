//! The application's answer: from the contract's form to `http`'s, everything checked and copied or moved.
#![expect(unsafe_code, reason = "the seam")]

use std::sync::{Arc, LazyLock};

use cohost_abi as abi;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};

use super::{bytes, io::Upgrade, names, objects::Object, push, stream, subject::Subject};
use crate::{
    Body,
    dispatcher::in_process::generation::Lease,
    facts::Facts,
    fields::{clean_response_trailers, ends_at_host},
    files::Given,
    room,
};

/// A response, and what is to happen once the protocol has changed.
pub(in crate::dispatcher::in_process) struct Answer {
    pub(in crate::dispatcher::in_process) response: Response<Body>,
    pub(super) upgrade: Option<Upgrade>,
}

/// What of the request decides which answers are allowed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// The connection can change its protocol.
    pub(super) upgrade: bool,
    /// Only the head is wanted: its Content-Length speaks of a body that is not there.
    pub(super) head: bool,
    /// Any 2xx says that the connection has become a tunnel.
    pub(super) connect: bool,
}

/// Reads the application's answer. What it owns is moved in every case.
///
/// # Safety
/// `theirs` is null or keeps the contract.
pub(super) unsafe fn read(
    theirs: *const abi::Response,
    lease: &Arc<Lease>,
    asked: Asked,
    request: (&Parts, &Facts),
) -> Result<Answer, abi::Code> {
    // SAFETY: null is allowed for, the rest the caller promises.
    let theirs = unsafe { theirs.as_ref() }.ok_or(abi::code::E_INVALID)?;
    if theirs.size < size_of::<abi::Response>() {
        return Err(abi::code::E_ABI);
    }
    // First what is owned, so that nothing leaks when something below is refused.
    // SAFETY: says the caller.
    let upgrade = unsafe { Upgrade::take(theirs.upgrade, lease, request) };
    // SAFETY: says the caller.
    let body = unsafe { Moved::take(theirs, lease, request) };
    if upgrade.as_ref().is_some_and(|upgrade| !upgrade.is_whole()) {
        return Err(abi::code::E_INVALID);
    }
    let status = StatusCode::from_u16(theirs.status).map_err(|_| abi::code::E_INVALID)?;
    if status.is_informational() && (status != StatusCode::SWITCHING_PROTOCOLS || upgrade.is_none()) {
        return Err(abi::code::E_INVALID);
    }
    if upgrade.is_some() && !asked.upgrade {
        return Err(abi::code::E_UNSUPPORTED);
    }
    if asked.connect && status.is_success() && upgrade.is_none() {
        return Err(abi::code::E_INVALID);
    }
    // SAFETY: says the caller.
    let (headers, length) = unsafe { fields(theirs.headers, theirs.n_headers, upgrade.is_some()) }?;
    let body = match body? {
        Moved::File(file) if upgrade.is_none() => {
            if length.is_some_and(|length| !asked.head && length != file.length()) {
                return Err(abi::code::E_INVALID);
            }
            let mut response = file.answer(request.0, status, headers);
            if is_bodyless(status) {
                *response.body_mut() = Body::empty();
            }
            return Ok(Answer { response, upgrade });
        }
        body => body,
    };
    // Last: making a sink writes a handle, which must not happen for an answer that is refused.
    let body = body.into_body(length.filter(|_| !asked.head), status, lease, request)?;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(Answer { response, upgrade })
}

/// The body, ours from here on.
enum Moved {
    Empty,
    Bytes(::bytes::Bytes),
    Stream(stream::Foreign),
    File(Given),
    Push(*mut abi::Sink),
}

impl Moved {
    /// # Safety
    /// `theirs` keeps the contract.
    unsafe fn take(
        theirs: &abi::Response,
        lease: &Arc<Lease>,
        request: (&Parts, &Facts),
    ) -> Result<Self, abi::Code> {
        match theirs.body_kind {
            abi::body_kind::EMPTY => Ok(Self::Empty),
            abi::body_kind::BYTES if !theirs.body.is_null() => {
                // SAFETY: not null; moved out, the application does not use it again.
                let body = unsafe { theirs.body.read() };
                // SAFETY: the contract's.
                unsafe { bytes::take(body, lease, request.1.request_id) }.map(Self::Bytes)
            }
            abi::body_kind::STREAM if !theirs.stream.is_null() => {
                // SAFETY: not null; moved out, the application does not use it again.
                let stream = unsafe { theirs.stream.read() };
                stream::Foreign::new(stream, lease, Subject::of(request)).map(Self::Stream)
            }
            abi::body_kind::PUSH if !theirs.sink.is_null() => Ok(Self::Push(theirs.sink)),
            abi::body_kind::FILE if !theirs.file.is_null() => {
                // SAFETY: not null, and readable during the call.
                let file = unsafe { theirs.file.read() };
                // SAFETY: the descriptor is the application's to give.
                unsafe { stream::file(&file, lease) }.map(Self::File)
            }
            _ => Err(abi::code::E_INVALID),
        }
    }

    fn into_body(
        self,
        declared: Option<u64>,
        status: StatusCode,
        lease: &Arc<Lease>,
        request: (&Parts, &Facts),
    ) -> Result<Body, abi::Code> {
        match self {
            Self::Empty => Ok(Body::empty()),
            // What the client would take for the beginning of the next answer.
            _ if is_bodyless(status) => Ok(Body::empty()),
            Self::Bytes(bytes) => match declared {
                Some(length) if length != bytes.len() as u64 => Err(abi::code::E_INVALID),
                _ => Ok(bytes.into()),
            },
            Self::Stream(stream) => Ok(Body::new(stream.declared(declared)?)),
            Self::File(file) => match declared {
                Some(length) if length != file.length() => Err(abi::code::E_INVALID),
                _ => Ok(file.whole()),
            },
            Self::Push(out) => {
                let (sink, body) = push::channel(lease, declared, request);
                let handle = lease.objects.insert(Object::Sink(sink)).ok_or(abi::code::E_NOMEM)?;
                // SAFETY: not null; the application waits for the handle there.
                unsafe { out.write(abi::Sink(handle)) };
                Ok(Body::new(body))
            }
        }
    }
}

fn is_bodyless(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// What a Content-Length says.
fn length(value: &HeaderValue) -> Result<u64, abi::Code> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(abi::code::E_INVALID)
}

/// Copies header fields; the length they declare, if they do, comes beside them.
///
/// # Safety
/// The array keeps the contract.
unsafe fn fields(
    theirs: *const abi::Header,
    n: u32,
    upgrade: bool,
) -> Result<(HeaderMap, Option<u64>), abi::Code> {
    if n > 0 && theirs.is_null() {
        return Err(abi::code::E_INVALID);
    }
    // SAFETY: says the caller.
    let theirs = unsafe { super::fields(theirs, n) };
    let mut headers = room::fields();
    let mut declared = None;
    for field in theirs {
        // SAFETY: part of the array's contract.
        let name = unsafe { name(field) }?;
        let switch = upgrade && (name == header::CONNECTION || name == header::UPGRADE);
        if !switch && ends_at_host(&name) {
            // The host frames the response; an application that says how does not know the client's protocol. And
            // from a runner, a field of the host's would be taken for the host's own word.
            continue;
        }
        // SAFETY: part of the array's contract.
        let value = unsafe { value(field) }?;
        if name == header::CONTENT_LENGTH && declared.replace(length(&value)?).is_some() {
            return Err(abi::code::E_INVALID);
        }
        // More than a map can hold are refused: `append` would panic.
        headers.try_append(name, value).map_err(|_| abi::code::E_INVALID)?;
    }
    Ok((headers, declared))
}

/// Copies trailers, without what only fields may say.
///
/// # Safety
/// The array keeps the contract.
pub(super) unsafe fn trailers(theirs: *const abi::Header, n: u32) -> Result<HeaderMap, abi::Code> {
    // SAFETY: says the caller.
    let (mut trailers, _) = unsafe { fields(theirs, n, false) }?;
    clean_response_trailers(&mut trailers);
    Ok(trailers)
}

/// # Safety
/// `field` keeps the contract.
unsafe fn name(field: &abi::Header) -> Result<HeaderName, abi::Code> {
    if let Some(name) = names::name(field.name_id) {
        return Ok(name.clone());
    }
    let text = abi::Str { ptr: field.name, len: field.name_len as usize };
    // SAFETY: says the caller.
    HeaderName::from_bytes(unsafe { super::slice(text) }).map_err(|_| abi::code::E_INVALID)
}

/// # Safety
/// `field` keeps the contract.
unsafe fn value(field: &abi::Header) -> Result<HeaderValue, abi::Code> {
    let text = abi::Str { ptr: field.value, len: field.value_len as usize };
    if field.value.is_null() && field.value_len > 0 {
        return Err(abi::code::E_INVALID);
    }
    // SAFETY: says the caller.
    let text = unsafe { super::slice(text) };
    if field.name_id == abi::header_id::CONTENT_TYPE
        && let Some(known) = KNOWN_TYPES.iter().find(|known| known.as_bytes() == text)
    {
        return Ok(known.clone());
    }
    let mut value = HeaderValue::from_bytes(text).map_err(|_| abi::code::E_INVALID)?;
    value.set_sensitive(field.flags & abi::header_flags::SENSITIVE != 0);
    Ok(value)
}

/// Values that need neither a copy nor a check: what most answers say.
static KNOWN_TYPES: LazyLock<[HeaderValue; 6]> =
    LazyLock::new(|| CONTENT_TYPES.map(HeaderValue::from_static));

const CONTENT_TYPES: [&str; 6] = [
    "text/plain",
    "text/plain; charset=utf-8",
    "application/json",
    "text/html; charset=utf-8",
    "text/html",
    "application/octet-stream",
];
