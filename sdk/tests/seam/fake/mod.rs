//! A host that keeps what it is told.
#![expect(unsafe_code, reason = "it is the other side of a C ABI")]
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "a fake: the contract is what every block relies on"
)]

mod table;
mod waker;

use std::{
    collections::{HashMap, VecDeque},
    ffi::c_void,
    ptr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use cohost_app::abi::{self, Code, Str, code};
use tokio::io::DuplexStream;

use self::{
    table::{fields, frame, table, take},
    waker::Alarm,
};

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

// The contract: `handle` on any thread, as many as there are.
unsafe impl Sync for App {}
unsafe impl Send for App {}

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
