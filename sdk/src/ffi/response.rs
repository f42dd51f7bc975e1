//! A response of the application's becomes the host's.
//!
//! In: an [`http::Response`], during `handle` or a poll. Out: one call of `respond`.
//! Never: copies a body, or boxes one that is a single piece.

use std::{
    future::Future,
    os::fd::{AsRawFd, IntoRawFd},
    pin::Pin,
    ptr,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use cohost_abi::{self as abi, Code, NO_LENGTH, body_kind, code, file_flags, header_flags};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, response::Parts};
use smallvec::SmallVec;

use super::{
    Host,
    exchange::{Exchange, Stage, StageProjection, pinned},
    owned, upgrade,
};
use crate::{BoxError, File, file::Descriptor, instance::Shared, names, request::Plan, scope};

type Fields = SmallVec<[abi::Header; 24]>;

/// What there is to say of a body.
enum Look {
    Empty,
    Whole(Bytes),
    Stream(u64),
    Failed(BoxError),
}

/// Answers the request, and ends the future.
///
/// # Safety
/// `exchange` is alive and in nobody else's hands; `req` is what the host passed to the call that is running now.
pub(super) unsafe fn respond<F, B, E>(
    exchange: *mut Exchange<F, B>,
    shared: &Arc<Shared>,
    req: *mut abi::Req,
    cx: &mut Context<'_>,
    response: Response<B>,
) -> Code
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let (mut parts, body) = response.into_parts();
    // SAFETY: the caller's promise; it never moves out of its box.
    let mut this = unsafe { pinned(exchange) };
    let host = shared.host;
    this.as_mut().project().stage.set(Stage::Body { body });

    let mut fields = Fields::new();
    if let Some(mut upgrade) = upgrade::take(shared, this.as_mut().project().plan, &mut parts) {
        put(&parts.headers, Without::for_upgrade(&this.plan), &mut fields);
        let status = if this.plan.translated { StatusCode::OK } else { parts.status };
        let answer = abi::Response { upgrade: &raw mut upgrade, ..answer(status, &fields) };
        // SAFETY: everything `answer` points to lives until the call is over, and moves to the host with it.
        return unsafe { send(host, req, &answer) };
    }
    if let Some(file) = parts.extensions.remove::<File>() {
        put(&parts.headers, Without::LENGTH, &mut fields);
        let (offset, length) = (file.offset, file.length);
        // A descriptor that is shared stays open until the host has made its duplicate.
        let (fd, flags, _keep) = match file.into_descriptor() {
            Descriptor::Owned(fd) => (fd.into_raw_fd(), file_flags::CLOSE, None),
            Descriptor::Shared(fd) => (fd.as_raw_fd(), 0, Some(fd)),
        };
        let file = abi::File { size: size_of::<abi::File>(), fd, flags, offset, length };
        let answer = abi::Response {
            body_kind: body_kind::FILE,
            file: &raw const file,
            ..answer(parts.status, &fields)
        };
        // SAFETY: as above.
        return unsafe { send(host, req, &answer) };
    }
    match look(this.as_mut(), cx, &parts) {
        Look::Empty => {
            put(&parts.headers, Without::for_empty(&this.plan.method, parts.status), &mut fields);
            // SAFETY: as above.
            unsafe { send(host, req, &answer(parts.status, &fields)) }
        }
        Look::Whole(whole) => {
            put(&parts.headers, Without::LENGTH, &mut fields);
            let mut whole = owned::to_host(whole);
            let answer = abi::Response {
                body_kind: body_kind::BYTES,
                body: &raw mut whole,
                ..answer(parts.status, &fields)
            };
            // SAFETY: as above.
            unsafe { send(host, req, &answer) }
        }
        Look::Stream(length) => {
            let without = if length == NO_LENGTH { Without::NOTHING } else { Without::LENGTH };
            put(&parts.headers, without, &mut fields);
            // SAFETY: alive. From here on it is the host's too: nothing of it is touched after `send`.
            let mut stream = unsafe { Exchange::stream(exchange, shared, length) };
            let answer = abi::Response {
                body_kind: body_kind::STREAM,
                stream: &raw mut stream,
                ..answer(parts.status, &fields)
            };
            // SAFETY: as above.
            unsafe { send(host, req, &answer) }
        }
        Look::Failed(error) => {
            this.fail(host, "the application's response body failed at its start", error);
            code::E_APP
        }
    }
}

/// Looks at a body whose length is known: mostly its first frame is all of it.
fn look<F, B>(exchange: Pin<&mut Exchange<F, B>>, cx: &mut Context<'_>, head: &Parts) -> Look
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let this = exchange.project();
    let StageProjection::Body { mut body } = this.stage.project() else { return Look::Empty };
    if body.is_end_stream() {
        return Look::Empty;
    }
    let Some(length) = body.size_hint().exact().or_else(|| declared(&this.plan.method, head)) else {
        return Look::Stream(NO_LENGTH);
    };
    let first = match body.as_mut().poll_frame(cx) {
        Poll::Pending => return Look::Stream(length),
        Poll::Ready(None) if length == 0 => return Look::Empty,
        Poll::Ready(None) => return Look::Failed(format!("it ended {length} bytes early").into()),
        Poll::Ready(Some(Err(error))) => return Look::Failed(error.into()),
        Poll::Ready(Some(Ok(frame))) => frame,
    };
    if first.data_ref().is_some_and(|data| data.len() as u64 == length) {
        // There may be trailers behind it.
        match if body.is_end_stream() { Poll::Ready(None) } else { body.poll_frame(cx) } {
            Poll::Ready(None) => return Look::Whole(first.into_data().unwrap_or_default()),
            Poll::Ready(Some(Err(error))) => return Look::Failed(error.into()),
            Poll::Ready(Some(Ok(second))) => this.ahead.extend([first, second]),
            Poll::Pending => this.ahead.push_back(first),
        }
    } else {
        this.ahead.push_back(first);
    }
    Look::Stream(length)
}

/// The length that a head tells of its body, where it can be held to that.
fn declared(method: &Method, head: &Parts) -> Option<u64> {
    if *method == Method::HEAD || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status) {
        return None;
    }
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next()?.to_str().ok()?;
    // What is not a length, or several, is left for the host to refuse.
    let is_one = lengths.next().is_none() && length.bytes().all(|byte| byte.is_ascii_digit());
    length.parse().ok().filter(|_| is_one)
}

/// Fields that do not go to the host.
#[derive(Clone, Copy)]
struct Without {
    /// The host knows the body's length, and says it itself.
    length: bool,
    /// HTTP/2 has no such fields.
    connection: bool,
}

impl Without {
    const NOTHING: Self = Self { length: false, connection: false };
    const LENGTH: Self = Self { length: true, connection: false };

    const fn for_upgrade(plan: &Plan) -> Self {
        Self { length: true, connection: plan.translated }
    }

    /// An answer to HEAD, and a 304, tell the length of what they do not carry.
    fn for_empty(method: &Method, status: StatusCode) -> Self {
        Self { length: *method != Method::HEAD && status != StatusCode::NOT_MODIFIED, connection: false }
    }

    fn has(self, name: &HeaderName) -> bool {
        (self.length && *name == header::CONTENT_LENGTH)
            || (self.connection
                && [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_ACCEPT].contains(name))
    }
}

/// Puts fields where they stay, since moving that many costs more than making the usual few.
fn put(headers: &HeaderMap, without: Without, fields: &mut Fields) {
    for (name, value) in headers {
        if !without.has(name) {
            fields.push(field(name, value));
        }
    }
}

/// One field, borrowed.
pub(super) fn field(name: &HeaderName, value: &HeaderValue) -> abi::Header {
    let name_id = names::number(name);
    let name = name.as_str();
    abi::Header {
        name: name.as_ptr(),
        value: value.as_bytes().as_ptr(),
        name_len: name.len() as u32,
        value_len: value.len() as u32,
        name_id,
        flags: if value.is_sensitive() { header_flags::SENSITIVE } else { 0 },
        reserved: 0,
    }
}

/// An answer without a body.
fn answer(status: StatusCode, fields: &Fields) -> abi::Response {
    abi::Response {
        size: size_of::<abi::Response>(),
        status: status.as_u16(),
        flags: 0,
        n_headers: fields.len() as u32,
        headers: fields.as_ptr(),
        body_kind: body_kind::EMPTY,
        reserved: 0,
        body: ptr::null_mut(),
        stream: ptr::null_mut(),
        sink: ptr::null_mut(),
        file: ptr::null(),
        upgrade: ptr::null_mut(),
    }
}

/// # Safety
/// `req` is that of the running call; what `answer` points to is alive.
unsafe fn send(host: Host, req: *mut abi::Req, answer: &abi::Response) -> Code {
    // SAFETY: the caller's promise.
    unsafe { (host.table().respond)(req, answer) }
}

/// Sends a 1xx response for the request that this thread is working for.
pub(crate) fn inform(host: Host, status: StatusCode, headers: &HeaderMap) -> Result<(), Code> {
    let informational = host.informational().ok_or(code::E_UNSUPPORTED)?;
    let mut fields = Fields::new();
    put(headers, Without::NOTHING, &mut fields);
    let req = scope::current().req;
    // SAFETY: `req` is set only while the call it was passed to is running on this thread.
    let code = unsafe { (informational.inform)(req, status.as_u16(), fields.as_ptr(), fields.len() as u32) };
    if code == code::DONE { Ok(()) } else { Err(code) }
}
