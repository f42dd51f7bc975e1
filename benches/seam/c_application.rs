//! Applications as a C program writes them: functions over the contract's structs, and no SDK.
#![expect(unsafe_code, reason = "it is the application's side of a C ABI")]

use std::{
    ffi::c_void,
    ptr,
    sync::{OnceLock, mpsc},
    thread,
};

use cohost_app::abi::{
    self, Bytes, Code, Frame, Head, Header, Host, Init, Req, Response, Str, Stream, Task, Token, Waker,
    body_kind, bytes_flags, code, frame_kind, header_id,
};

use crate::{
    asked::{MEGABYTE, PIECE},
    rust_service::HELLO,
};

/// Answers during the call.
pub(crate) static GET: abi::App = app(get);
/// Answers with a stream that the host pulls.
pub(crate) static DOWNLOAD: abi::App = app(download);
/// Reads the body to its end during the call.
pub(crate) static UPLOAD: abi::App = app(upload);
/// Answers from a thread of its own.
pub(crate) static FROM_THREAD: abi::App = app(from_thread);

type Handle = unsafe extern "C" fn(*mut c_void, *mut Req, *const Head, *const Waker, *mut Task) -> Code;

const fn app(handle: Handle) -> abi::App {
    abi::App {
        magic: abi::MAGIC,
        size: size_of::<abi::App>(),
        major: abi::ABI_MAJOR,
        minor: abi::ABI_MINOR,
        min_host_minor: 0,
        reserved: 0,
        max_concurrency: 0,
        flags: 0,
        requires_features: 0,
        name: c"bench".as_ptr(),
        version: c"1".as_ptr(),
        sdk: c"none".as_ptr(),
        init: Some(init),
        handle: Some(handle),
        drain: None,
        shutdown: None,
        event: None,
    }
}

/// The instance is the host's table: the one thing that the handlers need.
unsafe extern "C" fn init(
    host: *const Host,
    _: *const Init,
    _: *mut abi::Error,
    instance: *mut *mut c_void,
) -> Code {
    // SAFETY: the host passes where to write it.
    unsafe { *instance = host.cast_mut().cast() };
    code::DONE
}

/// # Safety
/// `instance` is what [`init`] made.
unsafe fn host<'a>(instance: *mut c_void) -> &'a Host {
    // SAFETY: the table stays for as long as the process.
    unsafe { &*instance.cast_const().cast::<Host>() }
}

unsafe extern "C" fn get(
    instance: *mut c_void,
    req: *mut Req,
    _: *const Head,
    _: *const Waker,
    _: *mut Task,
) -> Code {
    // SAFETY: the host passes what `init` made.
    let host = unsafe { host(instance) };
    // SAFETY: `req` is the host's, in its call; the answer is as the contract says.
    answer(|response| unsafe { (host.respond)(req, response) })
}

/// Gives the short answer, in bytes that are lent.
fn answer(respond: impl FnOnce(*const Response) -> Code) -> Code {
    let mut body = Bytes { ptr: HELLO.as_ptr(), len: HELLO.len(), owner: [0; 4], release: None, flags: 0 };
    respond(&Response { body_kind: body_kind::BYTES, body: &raw mut body, ..empty(&CONTENT_TYPE.0) })
}

unsafe extern "C" fn download(
    instance: *mut c_void,
    req: *mut Req,
    _: *const Head,
    _: *const Waker,
    _: *mut Task,
) -> Code {
    // SAFETY: the host passes what `init` made.
    let host = unsafe { host(instance) };
    let mut stream = Stream {
        size: size_of::<Stream>(),
        state: Box::into_raw(Box::new(MEGABYTE)).cast(),
        content_length: MEGABYTE,
        poll_frame: Some(next_piece),
        drop: Some(drop_stream),
    };
    let response =
        Response { body_kind: body_kind::STREAM, stream: &raw mut stream, ..empty(&CONTENT_TYPE.0) };
    // SAFETY: `req` is the host's, in its call; the answer is as the contract says.
    unsafe { (host.respond)(req, &raw const response) }
}

unsafe extern "C" fn next_piece(state: *mut c_void, _: *const Waker, frame: *mut Frame) -> Code {
    // SAFETY: the state is what `download` made, and nobody else uses it during the call.
    let left = unsafe { &mut *state.cast::<u64>() };
    if *left == 0 {
        return code::EOF;
    }
    *left -= PIECE.len() as u64;
    // SAFETY: the host passes its frame.
    let frame = unsafe { &mut *frame };
    frame.kind = frame_kind::DATA;
    frame.data = Bytes {
        ptr: PIECE.as_ptr(),
        len: PIECE.len(),
        owner: [0; 4],
        release: None,
        flags: bytes_flags::STATIC,
    };
    code::DONE
}

unsafe extern "C" fn drop_stream(state: *mut c_void) {
    // SAFETY: the state is what `download` made, and this is the last call for it.
    drop(unsafe { Box::from_raw(state.cast::<u64>()) });
}

unsafe extern "C" fn upload(
    instance: *mut c_void,
    req: *mut Req,
    _: *const Head,
    waker: *const Waker,
    _: *mut Task,
) -> Code {
    // SAFETY: the host passes what `init` made.
    let host = unsafe { host(instance) };
    // SAFETY: `req` is the host's, in its call.
    let body = unsafe { (host.take_body)(req) };
    loop {
        let mut frame = Frame {
            size: size_of::<Frame>(),
            kind: frame_kind::DATA,
            n_headers: 0,
            data: Bytes { ptr: ptr::null(), len: 0, owner: [0; 4], release: None, flags: 0 },
            headers: ptr::null(),
        };
        // SAFETY: the body is ours until it is dropped, the waker the host's, and the frame large enough.
        let polled = unsafe { (host.body_poll)(host, body, waker, &raw mut frame) };
        match (polled, frame.data.release) {
            (code::EOF, _) => break,
            // SAFETY: the bytes are ours now, and are given back once.
            (code::DONE, Some(release)) => unsafe { release(&raw mut frame.data) },
            (code::DONE, None) => {}
            // The case's body is ready at once, or the case would measure something else.
            (other, _) => return if other < 0 { other } else { code::E_STATE },
        }
    }
    // SAFETY: the body is ours, and this is its end.
    unsafe { (host.body_drop)(host, body) };
    // SAFETY: `req` is the host's, in its call; the answer is as the contract says.
    answer(|response| unsafe { (host.respond)(req, response) })
}

unsafe extern "C" fn from_thread(
    instance: *mut c_void,
    req: *mut Req,
    _: *const Head,
    _: *const Waker,
    _: *mut Task,
) -> Code {
    static DETACHED: OnceLock<mpsc::Sender<Detached>> = OnceLock::new();
    // SAFETY: the host passes what `init` made.
    let host = unsafe { host(instance) };
    // SAFETY: `req` is the host's, in its call.
    let token = unsafe { (host.detach)(req, None, ptr::null_mut()) };
    match DETACHED.get_or_init(answering_thread).send(Detached { host, token }) {
        Ok(()) => code::DETACHED,
        Err(_) => code::E_STATE,
    }
}

/// A request on its way to the thread that answers it.
struct Detached {
    host: &'static Host,
    token: Token,
}

// SAFETY: the table's functions for tokens may be called on any thread.
unsafe impl Send for Detached {}

fn answering_thread() -> mpsc::Sender<Detached> {
    let (detached, taken) = mpsc::channel();
    thread::spawn(move || {
        for Detached { host, token } in taken {
            // SAFETY: the token came from `detach`, and is used once.
            answer(|response| unsafe { (host.token_respond)(host, token, response) });
        }
    });
    detached
}

/// Constants that pointers of the contract lead to.
struct Fields([Header; 1]);

// SAFETY: nobody writes to it.
unsafe impl Sync for Fields {}

static CONTENT_TYPE: Fields =
    Fields([field("content-type", "text/plain; charset=utf-8", header_id::CONTENT_TYPE)]);

const fn field(name: &'static str, value: &'static str, name_id: u16) -> Header {
    let (name, value) = (Str::new(name.as_bytes()), Str::new(value.as_bytes()));
    Header {
        name: name.ptr,
        value: value.ptr,
        name_len: name.len as u32,
        value_len: value.len as u32,
        name_id,
        flags: 0,
        reserved: 0,
    }
}

/// 200, the fields, and no body.
fn empty(fields: &[Header]) -> Response {
    Response {
        size: size_of::<Response>(),
        status: 200,
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
