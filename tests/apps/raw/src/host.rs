//! The host's functions as methods, and what they take.
//!
//! In: safe values. Out: the codes, untouched. Never: checks whether a call makes sense; that is the host's task here.
#![expect(unsafe_code, reason = "every call of the host's functions")]

use std::{
    ffi::c_void,
    marker::PhantomData,
    ptr, slice, str,
    sync::{Mutex, PoisonError},
    thread::JoinHandle,
};

use cohost_abi::{
    self as abi, Body, Bytes, Code, Frame, Header, Io, Sink, Str, Token, Waker, body_kind, code, header_id,
};

use crate::record::{GIVEN, RELEASED};

pub(crate) type OnCancel = Option<unsafe extern "C" fn(*mut c_void, Code)>;

/// The host's table: valid for as long as the process.
#[derive(Clone, Copy)]
pub(crate) struct Host(*const abi::Host);

// SAFETY: its functions can be called from any thread, and nothing in it is ever written.
unsafe impl Send for Host {}

impl Host {
    pub(crate) const fn new(host: *const abi::Host) -> Self {
        Self(host)
    }

    fn table(self) -> &'static abi::Host {
        // SAFETY: valid for as long as the process.
        unsafe { &*self.0 }
    }

    pub(crate) fn token_respond(self, token: Token, response: &abi::Response) -> Code {
        // SAFETY: any token may be tried; the response lives until the call returns.
        unsafe { (self.table().token_respond)(self.0, token, response) }
    }

    pub(crate) fn token_drop(self, token: Token, why: Code) -> Code {
        // SAFETY: any token may be tried.
        unsafe { (self.table().token_drop)(self.0, token, why) }
    }

    /// Whether the token has a head.
    pub(crate) fn has_head(self, token: Token) -> bool {
        // SAFETY: any token may be tried.
        let head = unsafe { (self.table().token_head)(self.0, token) };
        !head.is_null()
    }

    pub(crate) fn token_take_body(self, token: Token) -> Body {
        // SAFETY: any token may be tried.
        unsafe { (self.table().token_take_body)(self.0, token) }
    }

    pub(crate) fn body_read_blocking(self, body: Body, into: &mut [u8], n: &mut usize) -> Code {
        // SAFETY: any body may be tried; the memory is ours until the call returns.
        unsafe { (self.table().body_read_blocking)(self.0, body, into.as_mut_ptr(), into.len(), n) }
    }

    pub(crate) fn body_read(
        self,
        body: Body,
        callback: unsafe extern "C" fn(*mut c_void, Code, *mut Frame),
        ud: *mut c_void,
    ) -> Code {
        // SAFETY: any body may be tried; whoever calls this knows that `ud` fits to `callback`.
        unsafe { (self.table().body_read)(self.0, body, Some(callback), ud) }
    }

    pub(crate) fn body_drop(self, body: Body) -> Code {
        // SAFETY: any body may be tried.
        unsafe { (self.table().body_drop)(self.0, body) }
    }

    pub(crate) fn sink_write(self, sink: Sink, mut bytes: Bytes) -> Code {
        // SAFETY: any sink may be tried; the bytes move.
        unsafe { (self.table().sink_write)(self.0, sink, &raw mut bytes) }
    }

    pub(crate) fn sink_on_writable(
        self,
        sink: Sink,
        callback: unsafe extern "C" fn(*mut c_void, Code),
        ud: *mut c_void,
    ) -> Code {
        // SAFETY: any sink may be tried; whoever calls this knows that `ud` fits to `callback`.
        unsafe { (self.table().sink_on_writable)(self.0, sink, Some(callback), ud) }
    }

    pub(crate) fn sink_write_blocking(self, sink: Sink, from: &[u8]) -> Code {
        // SAFETY: any sink may be tried; the bytes are copied before the call returns.
        unsafe { (self.table().sink_write_blocking)(self.0, sink, from.as_ptr(), from.len()) }
    }

    pub(crate) fn sink_end(self, sink: Sink, trailers: &[Header]) -> Code {
        // SAFETY: any sink may be tried; trailers are copied before the call returns.
        unsafe { (self.table().sink_end)(self.0, sink, trailers.as_ptr(), trailers.len() as u32) }
    }

    pub(crate) fn sink_abort(self, sink: Sink) -> Code {
        // SAFETY: any sink may be tried.
        unsafe { (self.table().sink_abort)(self.0, sink) }
    }

    /// A line in the host's log.
    pub(crate) fn log(self, text: &str) {
        let (target, text) = (Str::new(b"raw"), Str::new(text.as_bytes()));
        // SAFETY: both are copied before the call returns.
        unsafe { (self.table().log_text)(self.0, abi::level::INFO, 0, target, text) }
    }

    pub(crate) fn io_drop(self, io: Io) -> Code {
        // SAFETY: any io may be tried.
        unsafe { (self.table().io_drop)(self.0, io) }
    }
}

/// One call of `handle`.
pub(crate) struct Call<'a> {
    pub(crate) host: Host,
    req: *mut abi::Req,
    head: *const abi::Head,
    waker: *const Waker,
    task: *mut abi::Task,
    _call: PhantomData<&'a ()>,
}

impl Call<'_> {
    /// # Safety
    /// The pointers are those of the call of `handle` that is running, and the call ends with `'a`.
    pub(crate) const unsafe fn new(
        host: Host,
        req: *mut abi::Req,
        head: *const abi::Head,
        waker: *const Waker,
        task: *mut abi::Task,
    ) -> Self {
        Self { host, req, head, waker, task, _call: PhantomData }
    }

    /// Without the slash.
    pub(crate) fn path(&self) -> &str {
        // SAFETY: alive during the call.
        let path = unsafe { (*self.head).path };
        // SAFETY: not empty, as a path is, and alive during the call.
        let path = unsafe { slice::from_raw_parts(path.ptr, path.len) };
        str::from_utf8(path).unwrap_or_default().trim_start_matches('/')
    }

    pub(crate) fn respond(&self, response: &abi::Response) -> Code {
        self.respond_raw(response)
    }

    pub(crate) fn respond_raw(&self, response: *const abi::Response) -> Code {
        // SAFETY: the request of the running call; a response may be null, or have null in it, to be refused.
        unsafe { (self.host.table().respond)(self.req, response) }
    }

    /// Answers well.
    pub(crate) fn say(&self, text: &str) -> Code {
        let mut body = borrowed(text.as_bytes());
        self.respond(&with_bytes(&mut body))
    }

    pub(crate) fn detach(&self, on_cancel: OnCancel) -> Token {
        // SAFETY: the request of the running call; our `on_cancel`s need nothing of `ud`.
        unsafe { (self.host.table().detach)(self.req, on_cancel, ptr::null_mut()) }
    }

    pub(crate) fn take_body(&self) -> Body {
        // SAFETY: the request of the running call.
        unsafe { (self.host.table().take_body)(self.req) }
    }

    /// To be followed by `PENDING`.
    pub(crate) fn set_task(&self, task: abi::Task) {
        // SAFETY: the host's, to be written during the call.
        unsafe { self.task.write(task) };
    }

    /// The request's waker, owned.
    pub(crate) fn waker(&self) -> OwnedWaker {
        // SAFETY: that of the running call.
        unsafe { OwnedWaker::of(self.waker) }
    }
}

/// A waker that outlives the call, and, when somebody wants that, the request.
pub(crate) struct OwnedWaker(Waker);

// SAFETY: a waker's functions can be called from any thread.
unsafe impl Send for OwnedWaker {}

impl OwnedWaker {
    /// # Safety
    /// `waker` is alive.
    pub(crate) unsafe fn of(waker: *const Waker) -> Self {
        let mut owned = Waker { data: ptr::null(), meta: ptr::null(), table: ptr::null() };
        // SAFETY: the caller's promise.
        let table = unsafe { (*waker).table };
        // SAFETY: a waker's table is as valid as the waker.
        let clone = unsafe { (*table).clone };
        // SAFETY: it clones a waker of its own.
        unsafe { clone(waker, &raw mut owned) };
        Self(owned)
    }

    pub(crate) fn wake_by_ref(&self) {
        // SAFETY: ours until it is dropped, and its table with it.
        let wake = unsafe { (*self.0.table).wake_by_ref };
        // SAFETY: as above.
        unsafe { wake(&raw const self.0) };
    }
}

impl Drop for OwnedWaker {
    fn drop(&mut self) {
        // SAFETY: ours until now, and its table with it.
        let drop = unsafe { (*self.0.table).drop };
        // SAFETY: once.
        unsafe { drop(&raw mut self.0) };
    }
}

/// A response without fields and body.
pub(crate) const fn empty(status: u16) -> abi::Response {
    abi::Response {
        size: size_of::<abi::Response>(),
        status,
        flags: 0,
        n_headers: 0,
        headers: ptr::null(),
        body_kind: body_kind::EMPTY,
        reserved: 0,
        body: ptr::null_mut(),
        stream: ptr::null_mut(),
        sink: ptr::null_mut(),
        file: ptr::null(),
        upgrade: ptr::null_mut(),
    }
}

/// A response 200 with these bytes, which it borrows.
pub(crate) const fn with_bytes(body: &mut Bytes) -> abi::Response {
    abi::Response { body_kind: body_kind::BYTES, body, ..empty(200) }
}

/// A response 200 whose body is pushed to what the host writes into `sink`.
pub(crate) const fn with_sink(sink: &mut Sink) -> abi::Response {
    abi::Response { body_kind: body_kind::PUSH, sink, ..empty(200) }
}

/// The same response with these fields, which it borrows.
pub(crate) const fn with_fields(mut response: abi::Response, fields: &[Header]) -> abi::Response {
    response.n_headers = fields.len() as u32;
    response.headers = fields.as_ptr();
    response
}

pub(crate) const fn field(name: &'static str, value: &'static str) -> Header {
    Header {
        name: name.as_ptr(),
        value: value.as_ptr(),
        name_len: name.len() as u32,
        value_len: value.len() as u32,
        name_id: header_id::NONE,
        flags: 0,
        reserved: 0,
    }
}

/// Bytes that the host copies.
pub(crate) const fn borrowed(bytes: &[u8]) -> Bytes {
    let Str { ptr, len } = Str { ptr: bytes.as_ptr(), len: bytes.len() };
    Bytes { ptr, len, owner: [0; 4], release: None, flags: 0 }
}

/// Bytes that the host gives back: both ways are counted.
pub(crate) fn owned(bytes: &[u8]) -> Bytes {
    GIVEN.add();
    let bytes = Box::leak(Box::<[u8]>::from(bytes));
    Bytes { ptr: bytes.as_ptr(), len: bytes.len(), owner: [0; 4], release: Some(release), flags: 0 }
}

unsafe extern "C" fn release(bytes: *mut Bytes) {
    RELEASED.add();
    // SAFETY: the host passes what `owned` made, wherever it moved it.
    let Bytes { ptr, len, .. } = unsafe { ptr::read(bytes) };
    let whole = ptr::slice_from_raw_parts_mut(ptr.cast_mut(), len);
    // SAFETY: leaked by `owned`, and released once.
    drop(unsafe { Box::from_raw(whole) });
}

static THREADS: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Runs `work` on a thread of the application's, which `shutdown` waits for.
pub(crate) fn on_thread(work: impl FnOnce() + Send + 'static) -> Code {
    let thread = std::thread::Builder::new().name("raw-app".to_owned());
    let Ok(thread) = thread.spawn(work) else { return code::E_NOMEM };
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    threads.retain(|thread| !thread.is_finished());
    threads.push(thread);
    code::DONE
}

/// Waits for all threads of the application.
pub(crate) fn join_threads() {
    let threads = std::mem::take(&mut *THREADS.lock().unwrap_or_else(PoisonError::into_inner));
    for thread in threads {
        // One that panicked has ended, too.
        let _ = thread.join();
    }
}
