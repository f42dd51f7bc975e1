//! A host that keeps what it is told.
#![expect(unsafe_code, reason = "it is the other side of a C ABI")]
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "a fake: the contract is what every block relies on"
)]

use std::{
    collections::{HashMap, VecDeque},
    ffi::{c_char, c_void},
    pin::Pin,
    ptr,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use cohost_app::abi::{self, Code, Str, code};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Longer than any wait that ends well.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Fake {
    table: abi::Host,
    pub(crate) lines: Mutex<Vec<Line>>,
    pub(crate) sites: Mutex<Vec<Site>>,
    /// Highest level that is written.
    pub(crate) level: AtomicUsize,
    pub(crate) settings: Mutex<HashMap<String, String>>,
    pub(crate) ready: Mutex<Option<bool>>,
    pub(crate) bodies: Mutex<HashMap<usize, VecDeque<Piece>>>,
    body_wakers: Mutex<HashMap<usize, Waker>>,
    ios: Mutex<HashMap<usize, DuplexStream>>,
    next: AtomicUsize,
    pub(crate) informed: Mutex<Vec<u16>>,
    pub(crate) can_inform: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Data(&'static [u8]),
    Trailer(&'static str, &'static str),
    Wait,
    Fail(Code),
}

#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) level: u32,
    pub(crate) target: String,
    pub(crate) fields: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: u32,
    pub(crate) request_id: u64,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Line {
    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str())
    }

    pub(crate) fn message(&self) -> &str {
        self.get("message").unwrap_or_default()
    }
}

// The table's pointers are constants, and `ctx` is the struct itself.
unsafe impl Sync for Fake {}
unsafe impl Send for Fake {}

impl Fake {
    pub(crate) fn new() -> &'static Self {
        Self::with_informational(false)
    }

    pub(crate) fn with_informational(can_inform: bool) -> &'static Self {
        let fake = Box::leak(Box::new(Self {
            table: table(),
            lines: Mutex::default(),
            sites: Mutex::default(),
            level: AtomicUsize::new(abi::level::INFO as usize),
            settings: Mutex::default(),
            ready: Mutex::default(),
            bodies: Mutex::default(),
            body_wakers: Mutex::default(),
            ios: Mutex::default(),
            next: AtomicUsize::new(1),
            informed: Mutex::default(),
            can_inform,
        }));
        fake.table.ctx = ptr::from_mut(fake).cast();
        fake
    }

    fn number(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Lines that contain `text` in their message.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<Line> {
        self.lines.lock().unwrap().iter().filter(|line| line.message().contains(text)).cloned().collect()
    }

    /// Starts `app`.
    pub(crate) fn start(&'static self, app: abi::App) -> Result<App, String> {
        let init = abi::Init {
            size: size_of::<abi::Init>(),
            name: Str::new(b"demo"),
            content_root: Str::new(b"/srv/demo"),
            path_base: Str::new(b"/base"),
            generation: 3,
            threads: 2,
            runtime_threads: 1,
            reserved: 0,
        };
        let mut buffer = [0_u8; 256];
        let mut error = abi::Error { buf: buffer.as_mut_ptr().cast(), cap: buffer.len(), len: 0 };
        let mut instance = ptr::null_mut();
        let code = control_thread(|| unsafe {
            let init = &raw const init;
            app.init.unwrap()(&raw const self.table, init, &raw mut error, &raw mut instance)
        });
        if code == code::DONE {
            return Ok(App { fake: self, app, instance });
        }
        Err(String::from_utf8_lossy(&buffer[..error.len]).into_owned())
    }
}

/// Starts and ends have a thread of their own, as in a host: a test's may be a runtime's.
fn control_thread<T: Send>(call: impl FnOnce() -> T) -> T {
    struct Carried<F>(F);
    // The caller waits: nothing is used by two threads at a time.
    unsafe impl<F> Send for Carried<F> {}
    impl<T, F: FnOnce() -> T> Carried<F> {
        fn call(self) -> T {
            (self.0)()
        }
    }
    let call = Carried(call);
    std::thread::scope(|scope| scope.spawn(move || call.call()).join().unwrap())
}

/// A running application. Ends with `shutdown`.
pub(crate) struct App {
    pub(crate) fake: &'static Fake,
    app: abi::App,
    instance: *mut c_void,
}

/// A request to be made.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) version: u16,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) flags: u32,
    pub(crate) protocol: &'static str,
    pub(crate) body: Option<Vec<Piece>>,
    pub(crate) content_length: u64,
    pub(crate) request_id: u64,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            method: "GET",
            version: 11,
            path: "/",
            headers: Vec::new(),
            flags: 0,
            protocol: "",
            body: None,
            content_length: abi::NO_LENGTH,
            request_id: 7,
        }
    }
}

impl Call {
    pub(crate) fn get(path: &'static str) -> Self {
        Self { path, ..Self::default() }
    }
}

/// What the fake has behind a `cohost_req`.
struct Req {
    fake: &'static Fake,
    body: usize,
    answer: Option<Answer>,
}

#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) kind: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) stream: Option<Stream>,
    pub(crate) file: Option<abi::File>,
    pub(crate) upgrade: Option<Upgrade>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }
}

pub(crate) struct Stream(abi::Stream);
// The contract: any thread, one call at a time.
unsafe impl Send for Stream {}

impl Drop for Stream {
    fn drop(&mut self) {
        unsafe { self.0.drop.unwrap()(self.0.state) }
    }
}

/// A frame of a response, or how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    Data(Vec<u8>),
    Trailers(Vec<(String, String)>),
    End,
    Failed(Code),
}

impl Stream {
    pub(crate) fn length(&self) -> u64 {
        self.0.content_length
    }

    pub(crate) fn next(&mut self) -> Pulled {
        let alarm = Arc::new(Alarm::default());
        loop {
            let mut frame = frame();
            let code = alarm
                .lend(|waker| unsafe { self.0.poll_frame.unwrap()(self.0.state, waker, &raw mut frame) });
            match code {
                code::PENDING => alarm.wait(),
                code::EOF => return Pulled::End,
                code::DONE if frame.kind == abi::frame_kind::TRAILERS => {
                    return Pulled::Trailers(fields(frame.headers, frame.n_headers));
                }
                code::DONE => return Pulled::Data(take(&mut frame.data)),
                code => return Pulled::Failed(code),
            }
        }
    }
}

pub(crate) struct Upgrade(Option<abi::Upgrade>, &'static Fake);

impl Upgrade {
    /// The 101 is on the wire: gives the application one end of a pipe, and returns the other.
    pub(crate) fn go(mut self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(1024);
        let io = self.1.number();
        self.1.ios.lock().unwrap().insert(io, theirs);
        let upgrade = self.0.take().unwrap();
        unsafe { upgrade.on_io.unwrap()(upgrade.state, abi::Io(io)) };
        ours
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        if let Some(upgrade) = &self.0 {
            unsafe { upgrade.drop.unwrap()(upgrade.state) };
        }
    }
}

/// A request in the application's hands.
pub(crate) struct Pending {
    req: Box<Req>,
    task: abi::Task,
    alarm: Arc<Alarm>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(drop) = self.task.drop {
            unsafe { drop(self.task.state) }
        }
    }
}

impl Pending {
    /// Polls once.
    pub(crate) fn poll(&mut self) -> Code {
        let req = ptr::from_mut(&mut *self.req).cast();
        self.alarm.lend(|waker| unsafe { self.task.poll.unwrap()(self.task.state, req, waker) })
    }

    /// Polls until there is an answer.
    pub(crate) fn finish(mut self) -> Result<Answer, Code> {
        loop {
            self.alarm.wait();
            match self.poll() {
                code::PENDING => {}
                code::DONE => return Ok(self.req.answer.take().unwrap()),
                code => return Err(code),
            }
        }
    }
}

pub(crate) enum Handled {
    Answered(Answer),
    Pending(Pending),
    Failed(Code),
}

impl App {
    /// Calls `handle`, and polls to the end.
    pub(crate) fn call(&self, call: Call) -> Result<Answer, Code> {
        match self.handle(call) {
            Handled::Answered(answer) => Ok(answer),
            Handled::Pending(pending) => pending.finish(),
            Handled::Failed(code) => Err(code),
        }
    }

    /// Calls `handle`.
    pub(crate) fn handle(&self, call: Call) -> Handled {
        let headers: Vec<abi::Header> = call
            .headers
            .iter()
            .map(|(name, value)| {
                let id =
                    abi::HEADER_NAMES.iter().position(|known| known == name).map_or(0, |at| at as u16 + 1);
                abi::Header {
                    name: name.as_ptr(),
                    value: value.as_ptr(),
                    name_len: name.len() as u32,
                    value_len: value.len() as u32,
                    name_id: id,
                    flags: 0,
                    reserved: 0,
                }
            })
            .collect();
        let end = |port: u16| abi::Addr {
            family: abi::family::IPV4,
            pad: 0,
            port,
            scope_id: 0,
            ip: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        let chain = [Str::new(b"first"), Str::new(b"second")];
        let tls = abi::Tls {
            size: size_of::<abi::Tls>(),
            version: 0x0304,
            cipher: 0x1301,
            flags: 0,
            sni: Str::new(b"shop.test"),
            alpn: Str::new(b"h2"),
            client_chain: chain.as_ptr(),
            client_chain_len: 2,
        };
        let conn = abi::Conn {
            size: size_of::<abi::Conn>(),
            id: 11,
            peer: end(4000),
            local: end(80),
            tls: &raw const tls,
            binding: Str::new(b"https://*:443"),
        };
        let target = format!("/base{}", call.path);
        let (path, query) =
            call.path.split_once('?').map_or((call.path, None), |(path, query)| (path, Some(query)));
        let methods = ["", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        let has_body = if call.body.is_some() { abi::head_flags::HAS_BODY } else { 0 };
        let head = abi::Head {
            size: size_of::<abi::Head>(),
            http_version: call.version,
            method_id: methods.iter().position(|method| *method == call.method).unwrap_or(0) as u16,
            flags: call.flags | has_body | abi::head_flags::TRACE,
            n_headers: headers.len() as u32,
            reserved: 0,
            method: Str::new(call.method.as_bytes()),
            scheme: Str::new(b"https"),
            authority: Str::new(b"shop.test"),
            target: Str::new(target.as_bytes()),
            path_base: Str::new(b"/base"),
            path_query: Str::new(call.path.as_bytes()),
            path: Str::new(path.as_bytes()),
            path_decoded: Str::new(path.as_bytes()),
            query: query.map_or(Str::EMPTY, |query| Str::new(query.as_bytes())),
            protocol: Str::new(call.protocol.as_bytes()),
            headers: headers.as_ptr(),
            content_length: call.content_length,
            deadline_ns: 0,
            request_id: call.request_id,
            trace_id: [1; 16],
            parent_span_id: [2; 8],
            trace_flags: 1,
            pad: [0; 7],
            conn: &raw const conn,
            body: Str::EMPTY,
        };
        let body = call.body.map_or(0, |pieces| {
            let number = self.fake.number();
            self.fake.bodies.lock().unwrap().insert(number, pieces.into());
            number
        });
        let mut req = Box::new(Req { fake: self.fake, body, answer: None });
        let mut task = abi::Task { state: ptr::null_mut(), poll: None, drop: None };
        let alarm = Arc::new(Alarm::default());
        let code = alarm.lend(|waker| unsafe {
            let req = ptr::from_mut(&mut *req).cast();
            self.app.handle.unwrap()(self.instance, req, &raw const head, waker, &raw mut task)
        });
        match code {
            code::DONE => Handled::Answered(req.answer.take().unwrap()),
            code::PENDING => Handled::Pending(Pending { req, task, alarm }),
            code => Handled::Failed(code),
        }
    }

    pub(crate) fn drain(&self) {
        unsafe { self.app.drain.unwrap()(self.instance) }
    }

    pub(crate) fn log_filter_changed(&self) {
        unsafe { self.app.event.unwrap()(self.instance, abi::event::LOG_FILTER) }
    }

    pub(crate) fn shutdown(self) -> Code {
        control_thread(|| unsafe { self.app.shutdown.unwrap()(self.instance, u64::MAX) })
    }

    /// More of a request body, for whoever waits for it.
    pub(crate) fn feed(&self, pieces: &[Piece]) {
        for body in self.fake.bodies.lock().unwrap().values_mut() {
            body.retain(|piece| !matches!(piece, Piece::Wait));
            body.extend(pieces.iter().cloned());
        }
        for (_, waker) in self.fake.body_wakers.lock().unwrap().drain() {
            waker.wake();
        }
    }
}

/// A waker of the host's: three words, the first a counted pointer.
#[derive(Default)]
pub(crate) struct Alarm {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Alarm {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.bell.notify_all();
    }

    fn wait(&self) {
        let rung = self.rung.lock().unwrap();
        let (mut rung, waited) = self.bell.wait_timeout_while(rung, PATIENCE, |rung| !*rung).unwrap();
        assert!(!waited.timed_out(), "nobody woke the host");
        *rung = false;
    }

    fn lend<T>(self: &Arc<Self>, call: impl FnOnce(*const abi::Waker) -> T) -> T {
        let waker = abi::Waker { data: Arc::as_ptr(self).cast(), meta: ptr::null(), table: &raw const ALARM };
        call(&raw const waker)
    }
}

static ALARM: abi::WakerTable = abi::WakerTable {
    size: size_of::<abi::WakerTable>(),
    clone: alarm_clone,
    wake: alarm_wake,
    wake_by_ref: alarm_wake_by_ref,
    drop: alarm_drop,
};

unsafe extern "C" fn alarm_clone(waker: *const abi::Waker, out: *mut abi::Waker) {
    unsafe {
        Arc::increment_strong_count((*waker).data.cast::<Alarm>());
        *out = *waker;
    }
}
unsafe extern "C" fn alarm_wake(waker: *mut abi::Waker) {
    unsafe { Arc::from_raw((*waker).data.cast::<Alarm>()) }.ring();
}
unsafe extern "C" fn alarm_wake_by_ref(waker: *const abi::Waker) {
    unsafe { &*(*waker).data.cast::<Alarm>() }.ring();
}
unsafe extern "C" fn alarm_drop(waker: *mut abi::Waker) {
    drop(unsafe { Arc::from_raw((*waker).data.cast::<Alarm>()) });
}

/// A waker of the application's, cloned.
struct TheirWaker(abi::Waker);
unsafe impl Send for TheirWaker {}
unsafe impl Sync for TheirWaker {}

impl TheirWaker {
    fn clone_of(waker: *const abi::Waker) -> Waker {
        let mut owned = unsafe { *waker };
        unsafe { ((*(*waker).table).clone)(waker, &raw mut owned) };
        Waker::from(Arc::new(Self(owned)))
    }
}

impl Wake for TheirWaker {
    fn wake(self: Arc<Self>) {
        unsafe { ((*self.0.table).wake_by_ref)(&raw const self.0) }
    }
}

impl Drop for TheirWaker {
    fn drop(&mut self) {
        unsafe { ((*self.0.table).drop)(&raw mut self.0) }
    }
}

fn fake<'a>(host: *const abi::Host) -> &'a Fake {
    unsafe { &*(*host).ctx.cast::<Fake>() }
}

fn bytes<'a>(text: Str) -> &'a [u8] {
    if text.len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(text.ptr, text.len) } }
}

fn string(text: Str) -> String {
    String::from_utf8_lossy(bytes(text)).into_owned()
}

fn fields(headers: *const abi::Header, n: u32) -> Vec<(String, String)> {
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
fn take(from: &mut abi::Bytes) -> Vec<u8> {
    let mut moved = Box::new(unsafe { ptr::read(from) });
    let copy = bytes(Str { ptr: moved.ptr, len: moved.len }).to_vec();
    if let Some(release) = moved.release {
        unsafe { release(&raw mut *moved) };
    }
    copy
}

fn frame() -> abi::Frame {
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

pub(crate) static RELEASED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn release(bytes: *mut abi::Bytes) {
    drop(unsafe { Box::from_raw((*bytes).owner[0] as *mut Vec<u8>) });
    RELEASED.fetch_add(1, Ordering::Relaxed);
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
    with_io(host, io, waker, |io, cx| io.poll_flush(cx)).map_or_else(|code| code, |()| code::DONE)
}

unsafe extern "C" fn io_poll_shutdown(host: *const abi::Host, io: abi::Io, waker: *const abi::Waker) -> Code {
    with_io(host, io, waker, |io, cx| io.poll_shutdown(cx)).map_or_else(|code| code, |()| code::DONE)
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
    let name = unsafe { std::ffi::CStr::from_ptr(name) };
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

fn table() -> abi::Host {
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
