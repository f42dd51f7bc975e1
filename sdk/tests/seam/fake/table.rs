//! The functions of the host.
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "a fake: the contract is what every block relies on"
)]

use std::{
    ffi::{CStr, c_char, c_void},
    pin::Pin,
    ptr,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use cohost_app::abi::{self, Code, Str, code};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::{Answer, Fake, Line, Piece, Req, Site, Stream, Upgrade, waker::TheirWaker};

fn fake<'a>(host: *const abi::Host) -> &'a Fake {
    unsafe { &*(*host).ctx.cast::<Fake>() }
}

pub(super) fn bytes<'a>(text: Str) -> &'a [u8] {
    if text.len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(text.ptr, text.len) } }
}

pub(super) fn string(text: Str) -> String {
    String::from_utf8_lossy(bytes(text)).into_owned()
}

pub(super) fn fields(headers: *const abi::Header, n: u32) -> Vec<(String, String)> {
    (0..n as usize)
        .map(|at| {
            let header = unsafe { *headers.add(at) };
            (
                string(Str { ptr: header.name, len: header.name_len as usize }),
                string(Str { ptr: header.value, len: header.value_len as usize }),
            )
        })
        .collect()
}

/// Copies and releases, after a move to another address.
pub(super) fn take(from: &mut abi::Bytes) -> Vec<u8> {
    let mut moved = Box::new(unsafe { ptr::read(from) });
    let copy = bytes(Str { ptr: moved.ptr, len: moved.len }).to_vec();
    if let Some(release) = moved.release {
        unsafe { release(&raw mut *moved) };
    }
    copy
}

pub(super) fn frame() -> abi::Frame {
    abi::Frame {
        size: size_of::<abi::Frame>(),
        kind: 0,
        n_headers: 0,
        data: abi::Bytes { ptr: ptr::null(), len: 0, owner: [0; 4], release: None, flags: 0 },
        headers: ptr::null(),
    }
}

unsafe extern "C" fn respond(req: *mut abi::Req, response: *const abi::Response) -> Code {
    let (req, response) = unsafe { (&mut *req.cast::<Req>(), &*response) };
    let mut answer = Answer {
        status: response.status,
        headers: fields(response.headers, response.n_headers),
        kind: response.body_kind,
        ..Answer::default()
    };
    unsafe {
        match response.body_kind {
            abi::body_kind::BYTES => answer.bytes = take(&mut *response.body),
            abi::body_kind::STREAM => answer.stream = Some(Stream(ptr::read(response.stream))),
            abi::body_kind::FILE => answer.file = Some(*response.file),
            _ => {}
        }
        if !response.upgrade.is_null() {
            answer.upgrade = Some(Upgrade(Some(ptr::read(response.upgrade)), req.fake));
        }
    }
    if req.answer.is_some() {
        return code::E_STATE;
    }
    req.answer = Some(answer);
    code::DONE
}

unsafe extern "C" fn take_body(req: *mut abi::Req) -> abi::Body {
    let req = unsafe { &mut *req.cast::<Req>() };
    abi::Body(std::mem::take(&mut req.body))
}

unsafe extern "C" fn body_poll(
    host: *const abi::Host,
    body: abi::Body,
    waker: *const abi::Waker,
    out: *mut abi::Frame,
) -> Code {
    let fake = fake(host);
    let mut bodies = fake.bodies.lock().unwrap();
    let Some(pieces) = bodies.get_mut(&body.0) else { return code::E_STATE };
    match pieces.front().cloned() {
        None => code::EOF,
        Some(Piece::Wait) => {
            fake.body_wakers.lock().unwrap().insert(body.0, TheirWaker::clone_of(waker));
            code::PENDING
        }
        Some(Piece::Fail(code)) => code,
        Some(Piece::Data(data)) => {
            pieces.pop_front();
            let data = Box::leak(Box::new(data.to_vec()));
            unsafe {
                (*out).data.ptr = data.as_ptr();
                (*out).data.len = data.len();
                (*out).data.owner[0] = ptr::from_mut(data) as usize;
                (*out).data.release = Some(release);
            }
            code::DONE
        }
        Some(Piece::Trailer(name, value)) => {
            pieces.pop_front();
            let header = Box::leak(Box::new(abi::Header {
                name: name.as_ptr(),
                value: value.as_ptr(),
                name_len: name.len() as u32,
                value_len: value.len() as u32,
                name_id: 0,
                flags: 0,
                reserved: 0,
            }));
            unsafe {
                (*out).kind = abi::frame_kind::TRAILERS;
                (*out).n_headers = 1;
                (*out).headers = header;
            }
            code::DONE
        }
    }
}

unsafe extern "C" fn release(bytes: *mut abi::Bytes) {
    drop(unsafe { Box::from_raw((*bytes).owner[0] as *mut Vec<u8>) });
}

unsafe extern "C" fn body_drop(host: *const abi::Host, body: abi::Body) -> Code {
    fake(host).bodies.lock().unwrap().remove(&body.0).map_or(code::E_STATE, |_| code::DONE)
}

fn with_io<T>(
    host: *const abi::Host,
    io: abi::Io,
    waker: *const abi::Waker,
    poll: impl FnOnce(Pin<&mut DuplexStream>, &mut Context<'_>) -> Poll<std::io::Result<T>>,
) -> Result<T, Code> {
    let mut ios = fake(host).ios.lock().unwrap();
    let io = ios.get_mut(&io.0).ok_or(code::E_STATE)?;
    let waker = TheirWaker::clone_of(waker);
    match poll(Pin::new(io), &mut Context::from_waker(&waker)) {
        Poll::Pending => Err(code::PENDING),
        Poll::Ready(Err(_)) => Err(code::E_GONE),
        Poll::Ready(Ok(value)) => Ok(value),
    }
}

unsafe extern "C" fn io_poll_read(
    host: *const abi::Host,
    io: abi::Io,
    waker: *const abi::Waker,
    into: *mut u8,
    len: usize,
    n: *mut usize,
) -> Code {
    let into = unsafe { std::slice::from_raw_parts_mut(into, len) };
    let mut buffer = ReadBuf::new(into);
    match with_io(host, io, waker, |io, cx| io.poll_read(cx, &mut buffer)) {
        Ok(()) if buffer.filled().is_empty() => code::EOF,
        Ok(()) => {
            unsafe { *n = buffer.filled().len() };
            code::DONE
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn io_poll_write(
    host: *const abi::Host,
    io: abi::Io,
    waker: *const abi::Waker,
    from: *const u8,
    len: usize,
    n: *mut usize,
) -> Code {
    let from = unsafe { std::slice::from_raw_parts(from, len) };
    match with_io(host, io, waker, |io, cx| io.poll_write(cx, from)) {
        Ok(written) => {
            unsafe { *n = written };
            code::DONE
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn io_poll_flush(host: *const abi::Host, io: abi::Io, waker: *const abi::Waker) -> Code {
    with_io(host, io, waker, AsyncWrite::poll_flush).map_or_else(|code| code, |()| code::DONE)
}

unsafe extern "C" fn io_poll_shutdown(host: *const abi::Host, io: abi::Io, waker: *const abi::Waker) -> Code {
    with_io(host, io, waker, AsyncWrite::poll_shutdown).map_or_else(|code| code, |()| code::DONE)
}

unsafe extern "C" fn io_drop(host: *const abi::Host, io: abi::Io) -> Code {
    fake(host).ios.lock().unwrap().remove(&io.0).map_or(code::E_STATE, |_| code::DONE)
}

unsafe extern "C" fn config_get(host: *const abi::Host, key: Str, value: *mut Str) -> Code {
    let settings = fake(host).settings.lock().unwrap();
    let Some(text) = settings.get(&string(key)) else { return code::E_STATE };
    unsafe { *value = Str::new(text.as_bytes()) };
    code::DONE
}

unsafe extern "C" fn log_register(host: *const abi::Host, site: *const abi::Callsite, id: *mut u64) -> u32 {
    let (fake, site) = unsafe { (fake(host), &*site) };
    let fields = (0..site.n_fields).map(|at| string(unsafe { *site.fields.add(at) })).collect();
    let mut sites = fake.sites.lock().unwrap();
    unsafe { *id = sites.len() as u64 };
    sites.push(Site { level: site.level, target: string(site.target), fields });
    if site.level as usize <= fake.level.load(Ordering::Relaxed) {
        abi::interest::ALWAYS
    } else {
        abi::interest::NEVER
    }
}

unsafe extern "C" fn log_enabled(host: *const abi::Host, id: u64) -> u32 {
    let fake = fake(host);
    let level = fake.sites.lock().unwrap()[id as usize].level;
    u32::from(level as usize <= fake.level.load(Ordering::Relaxed))
}

unsafe extern "C" fn log_event(
    host: *const abi::Host,
    id: u64,
    request_id: u64,
    values: *const abi::Value,
    n: usize,
) {
    let fake = fake(host);
    let site = fake.sites.lock().unwrap()[id as usize].clone();
    let fields = (0..n)
        .map(|at| {
            let value = unsafe { *values.add(at) };
            let text = match value.kind {
                abi::value_kind::STR => string(value.s),
                abi::value_kind::U64 => value.u.to_string(),
                abi::value_kind::I64 => value.u.cast_signed().to_string(),
                abi::value_kind::BOOL => (value.u != 0).to_string(),
                _ => value.f.to_string(),
            };
            (site.fields[value.field as usize].clone(), text)
        })
        .collect();
    let line = Line { level: site.level, request_id, target: site.target, fields };
    fake.lines.lock().unwrap().push(line);
}

unsafe extern "C" fn log_text(
    host: *const abi::Host,
    level: u32,
    request_id: u64,
    target: Str,
    message: Str,
) {
    let fields = vec![("message".to_owned(), string(message))];
    let line = Line { level, request_id, target: string(target), fields };
    fake(host).lines.lock().unwrap().push(line);
}

unsafe extern "C" fn set_ready(host: *const abi::Host, ready: i32) -> Code {
    *fake(host).ready.lock().unwrap() = Some(ready != 0);
    code::DONE
}

unsafe extern "C" fn query(host: *const abi::Host, name: *const c_char) -> *const c_void {
    static INFORMATIONAL: abi::Informational =
        abi::Informational { size: size_of::<abi::Informational>(), inform, token_inform };
    let name = unsafe { CStr::from_ptr(name) };
    if fake(host).can_inform && name == c"informational.v1" {
        (&raw const INFORMATIONAL).cast()
    } else {
        ptr::null()
    }
}

unsafe extern "C" fn inform(req: *mut abi::Req, status: u16, _: *const abi::Header, _: u32) -> Code {
    unsafe { &*req.cast::<Req>() }.fake.informed.lock().unwrap().push(status);
    code::DONE
}

unsafe extern "C" fn token_inform(
    _: *const abi::Host,
    _: abi::Token,
    _: u16,
    _: *const abi::Header,
    _: u32,
) -> Code {
    code::E_UNSUPPORTED
}

/// What the SDK never calls ends the test: nothing may unwind out of it.
macro_rules! never {
    ($($name:ident($($arg:ty),*) -> $out:ty;)+) => {$(
        unsafe extern "C" fn $name($(_: $arg),*) -> $out { std::process::abort() }
    )+};
}

type Cancelled = Option<unsafe extern "C" fn(*mut c_void, Code)>;
type BodyRead = Option<unsafe extern "C" fn(*mut c_void, Code, *mut abi::Frame)>;

never! {
    detach(*mut abi::Req, Cancelled, *mut c_void) -> abi::Token;
    token_head(*const abi::Host, abi::Token) -> *const abi::Head;
    token_take_body(*const abi::Host, abi::Token) -> abi::Body;
    token_respond(*const abi::Host, abi::Token, *const abi::Response) -> Code;
    token_drop(*const abi::Host, abi::Token, Code) -> Code;
    body_read(*const abi::Host, abi::Body, BodyRead, *mut c_void) -> Code;
    body_read_blocking(*const abi::Host, abi::Body, *mut u8, usize, *mut usize) -> Code;
    sink_write(*const abi::Host, abi::Sink, *mut abi::Bytes) -> Code;
    sink_on_writable(*const abi::Host, abi::Sink, Cancelled, *mut c_void) -> Code;
    sink_write_blocking(*const abi::Host, abi::Sink, *const u8, usize) -> Code;
    sink_end(*const abi::Host, abi::Sink, *const abi::Header, u32) -> Code;
    sink_abort(*const abi::Host, abi::Sink) -> Code;
    io_read_blocking(*const abi::Host, abi::Io, *mut u8, usize, *mut usize) -> Code;
    io_write_blocking(*const abi::Host, abi::Io, *const u8, usize) -> Code;
}

pub(super) fn table() -> abi::Host {
    abi::Host {
        size: size_of::<abi::Host>(),
        major: abi::ABI_MAJOR,
        minor: abi::ABI_MINOR,
        threads: 2,
        features: 15,
        ctx: ptr::null_mut(),
        respond,
        take_body,
        detach,
        token_head,
        token_take_body,
        token_respond,
        token_drop,
        body_poll,
        body_read,
        body_read_blocking,
        body_drop,
        sink_write,
        sink_on_writable,
        sink_write_blocking,
        sink_end,
        sink_abort,
        io_poll_read,
        io_poll_write,
        io_poll_flush,
        io_poll_shutdown,
        io_read_blocking,
        io_write_blocking,
        io_drop,
        config_get,
        log_register,
        log_enabled,
        log_event,
        log_text,
        set_ready,
        query,
    }
}
