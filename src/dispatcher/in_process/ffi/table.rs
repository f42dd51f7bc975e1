//! What the application calls: the functions of the host's table, in the order of the contract.
//!
//! Every one looks its handle up, does one thing, and returns a code. A panic of ours ends here too: it must not
//! unwind into the application's frames.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    ffi::{CStr, c_char, c_void},
    os::fd::{FromRawFd as _, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
};

use cohost_abi::{self as abi, Code, code};

use super::{
    Detached, Exchange, Outcome, answer, bytes as owned, instance, log,
    objects::Object,
    push,
    request_body::{Callback, OnFrame},
    slice, waker,
};
use crate::dispatcher::in_process::{generation::Generation, preflight::OFFERED_FEATURES, threads};

/// The table of a generation that is not built yet; [`place`] completes it.
pub(in crate::dispatcher::in_process) fn host() -> abi::Host {
    abi::Host {
        size: size_of::<abi::Host>(),
        major: abi::ABI_MAJOR,
        minor: abi::ABI_MINOR,
        threads: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
        features: OFFERED_FEATURES,
        ctx: std::ptr::null_mut(),
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

/// Puts a generation where it stays, and lets its table point at it.
pub(in crate::dispatcher::in_process) fn place(generation: Box<Generation>) -> &'static Generation {
    let place = Box::into_raw(generation);
    // SAFETY: just made from a box, and nobody else has it.
    unsafe { (*place).host.ctx = place.cast() };
    // SAFETY: never freed, and from here on only shared.
    unsafe { &*place }
}

// SAFETY: the one pointer in a host's table is to the generation it lies in, which is shared anyway.
unsafe impl Send for Generation {}
// SAFETY: as above; everything else in a generation is Sync by itself.
unsafe impl Sync for Generation {}

/// The generation whose table the application was given.
///
/// # Safety
/// `host` is null or such a table.
unsafe fn generation(host: *const abi::Host) -> Option<&'static Generation> {
    // SAFETY: says the caller.
    let host = unsafe { host.as_ref() }?;
    let generation = host.ctx.cast::<Generation>();
    // SAFETY: `ctx` is null or was set by `place`, to what is never freed.
    unsafe { generation.as_ref() }
}

/// Runs a function of the table; null pointers and panics become codes.
fn entry(call: impl FnOnce() -> Option<Code>) -> Code {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Some(code::E_NOMEM)).unwrap_or(code::E_INVALID)
}

fn or_state<T>(found: Option<T>) -> Result<T, Code> {
    found.ok_or(code::E_STATE)
}

/// For functions whose lookups end early with a code.
fn of(result: Result<Code, Code>) -> Option<Code> {
    Some(result.unwrap_or_else(|code| code))
}

// ---- request

unsafe extern "C" fn respond(req: *mut abi::Req, response: *const abi::Response) -> Code {
    entry(|| {
        // SAFETY: the contract has it valid during `handle` and `poll`, and called there only.
        let exchange = unsafe { req.cast::<Exchange>().as_mut() }?;
        // Read in every case: what it owns is ours.
        // SAFETY: the contract's.
        let answer = unsafe { answer::read(response, &exchange.lease, exchange.asked()) };
        if !exchange.is_open() {
            tracing::warn!(application = %exchange.lease.name(), request_id = %exchange.facts.request_id,
                "application answered a request twice; the second answer is dropped");
            return Some(code::E_STATE);
        }
        let code = answer.as_ref().map_or_else(|code| *code, |_| code::DONE);
        // One that was refused is kept as well, in case that no better one follows.
        exchange.outcome = Outcome::Answered(answer.map_err(refused));
        Some(code)
    })
}

/// Why an answer cannot be given.
fn refused(code: Code) -> crate::Failure {
    crate::Failure::new(crate::failure::Code::InvalidResponse).detail(match code {
        code::E_INVALID => {
            "the application's answer is not HTTP: its status, a field or its length".to_owned()
        }
        code::E_UNSUPPORTED => "the application changes the protocol, which this request cannot".to_owned(),
        code => format!("the application's answer was refused with {code}"),
    })
}

unsafe extern "C" fn take_body(req: *mut abi::Req) -> abi::Body {
    // SAFETY: the contract has it valid during `handle` and `poll`.
    let Some(exchange) = (unsafe { req.cast::<Exchange>().as_mut() }) else { return abi::Body::NONE };
    abi::Body(catch_unwind(AssertUnwindSafe(|| exchange.body_handle())).unwrap_or(0))
}

unsafe extern "C" fn detach(
    req: *mut abi::Req,
    on_cancel: Option<unsafe extern "C" fn(*mut c_void, Code)>,
    ud: *mut c_void,
) -> abi::Token {
    // SAFETY: the contract has it valid during `handle` and `poll`.
    let Some(exchange) = (unsafe { req.cast::<Exchange>().as_mut() }) else { return abi::Token::NONE };
    if !exchange.is_open() {
        return abi::Token::NONE;
    }
    let on_cancel = on_cancel.map(|call| Callback { call, ud });
    let token = catch_unwind(AssertUnwindSafe(|| {
        let detached = Arc::new(exchange.detach(on_cancel));
        let handle = exchange.lease.objects.insert(Object::Token(Arc::clone(&detached)))?;
        exchange.outcome = Outcome::Detached(detached);
        Some(handle)
    }));
    abi::Token(token.ok().flatten().unwrap_or(0))
}

// ---- token

/// # Safety
/// `host` is null or a table of ours.
unsafe fn token(host: *const abi::Host, token: abi::Token) -> Option<Arc<Detached>> {
    // SAFETY: says the caller.
    let generation = unsafe { generation(host) }?;
    generation.objects.token(token.0)
}

/// Consumes a token; `None` when it was not (any more) one, which is logged.
///
/// # Safety
/// `host` is null or a table of ours.
unsafe fn consume(host: *const abi::Host, token: abi::Token) -> Option<Arc<Detached>> {
    // SAFETY: says the caller.
    let generation = unsafe { generation(host) }?;
    let detached = generation.objects.token(token.0).filter(|_| generation.objects.remove(token.0));
    if detached.is_none() {
        tracing::warn!(application = %generation.name(), token = token.0,
            "application completed a request with a token that is not (any more) one; nothing was done");
    }
    detached
}

unsafe extern "C" fn token_head(host: *const abi::Host, handle: abi::Token) -> *const abi::Head {
    // SAFETY: the contract's.
    let detached = catch_unwind(|| unsafe { token(host, handle) }).ok().flatten();
    detached.map_or(std::ptr::null(), |detached| detached.head())
}

unsafe extern "C" fn token_take_body(host: *const abi::Host, handle: abi::Token) -> abi::Body {
    // SAFETY: the contract's.
    let detached = catch_unwind(|| unsafe { token(host, handle) }).ok().flatten();
    abi::Body(detached.map_or(0, |detached| detached.body_handle()))
}

unsafe extern "C" fn token_respond(
    host: *const abi::Host,
    handle: abi::Token,
    response: *const abi::Response,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let detached = unsafe { consume(host, handle) };
        let lease = detached.as_ref().and_then(|detached| detached.lease());
        let (Some(detached), Some(lease)) = (detached.as_ref(), lease) else {
            // SAFETY: the contract's; moved in every case.
            unsafe { drop_unread(response) };
            return of(
                detached.map_or(Err(code::E_STATE), |detached| detached.wanted().map(|()| code::E_STATE))
            );
        };
        // SAFETY: the contract's.
        let answer = unsafe { answer::read(response, &lease, detached.asked) };
        let code = match &answer {
            Ok(_) => code::DONE,
            Err(code) => *code,
        };
        of(detached.answer(answer.map_err(refused)).map(|()| code))
    })
}

/// Ends what a response owns when there is nobody to give it to.
///
/// # Safety
/// `response` is null or keeps the contract.
unsafe fn drop_unread(response: *const abi::Response) {
    // SAFETY: says the caller.
    let Some(response) = (unsafe { response.as_ref() }) else { return };
    if response.body_kind == abi::body_kind::BYTES && !response.body.is_null() {
        // SAFETY: not null, moved out.
        let body = unsafe { response.body.read() };
        // SAFETY: the contract's.
        unsafe { owned::refuse(body) };
    }
    if response.body_kind == abi::body_kind::STREAM && !response.stream.is_null() {
        // SAFETY: not null, moved out.
        let stream = unsafe { response.stream.read() };
        if let Some(drop) = stream.drop {
            // SAFETY: once.
            unsafe { drop(stream.state) };
        }
    }
    if response.body_kind == abi::body_kind::FILE && !response.file.is_null() {
        // SAFETY: not null.
        let file = unsafe { response.file.read() };
        if file.flags & abi::file_flags::CLOSE != 0 && file.fd >= 0 {
            // SAFETY: given to us to close.
            drop(unsafe { OwnedFd::from_raw_fd(file.fd) });
        }
    }
    if !response.upgrade.is_null() {
        // SAFETY: not null, moved out.
        let upgrade = unsafe { response.upgrade.read() };
        if let Some(drop) = upgrade.drop {
            // SAFETY: once.
            unsafe { drop(upgrade.state) };
        }
    }
}

unsafe extern "C" fn token_drop(host: *const abi::Host, handle: abi::Token, why: Code) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let detached = or_state(unsafe { consume(host, handle) });
        of(detached.and_then(|detached| {
            detached.answer(Err(instance::failure_of(why.min(code::DONE))))?;
            Ok(code::DONE)
        }))
    })
}

// ---- request body

unsafe extern "C" fn body_poll(
    host: *const abi::Host,
    body: abi::Body,
    waker: *const abi::Waker,
    out: *mut abi::Frame,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        // SAFETY: the contract's.
        let waker = unsafe { waker::borrow(waker) }?;
        // SAFETY: the contract's: room for a frame, `size` set.
        let out = unsafe { out.as_mut() }?;
        if out.size < size_of::<abi::Frame>() {
            return Some(code::E_ABI);
        }
        let body = or_state(generation.objects.body(body.0));
        of(body.map(|body| body.poll(&mut Context::from_waker(&waker), out)))
    })
}

unsafe extern "C" fn body_read(
    host: *const abi::Host,
    body: abi::Body,
    cb: Option<OnFrame>,
    ud: *mut c_void,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        let callback = Callback { call: cb?, ud };
        of(or_state(generation.objects.body(body.0)).map(|body| {
            generation.runtime.spawn(callback.read(body));
            code::DONE
        }))
    })
}

unsafe extern "C" fn body_read_blocking(
    host: *const abi::Host,
    body: abi::Body,
    buf: *mut u8,
    cap: usize,
    n: *mut usize,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        // SAFETY: the contract's.
        let (into, n) = unsafe { room(buf, cap, n) }?;
        of(or_state(generation.objects.body(body.0))
            .and_then(|body| wait(|cx| body.poll_into(cx, into)))
            .map(|read| filled(n, read)))
    })
}

unsafe extern "C" fn body_drop(host: *const abi::Host, body: abi::Body) -> Code {
    // SAFETY: the contract's.
    entry(|| unsafe { end(host, body.0, |objects, handle| objects.body(handle).is_some()) })
}

/// Consumes a handle of the right kind.
///
/// # Safety
/// `host` is null or a table of ours.
unsafe fn end(
    host: *const abi::Host,
    handle: usize,
    is_of_kind: impl FnOnce(&super::Objects, usize) -> bool,
) -> Option<Code> {
    // SAFETY: says the caller.
    let generation = unsafe { generation(host) }?;
    let ended = is_of_kind(&generation.objects, handle) && generation.objects.remove(handle);
    Some(if ended { code::DONE } else { code::E_STATE })
}

// ---- response body

/// # Safety
/// `host` is null or a table of ours.
unsafe fn sink(host: *const abi::Host, sink: abi::Sink) -> Option<Result<Arc<push::Push>, Code>> {
    // SAFETY: says the caller.
    let generation = unsafe { generation(host) }?;
    Some(or_state(generation.objects.sink(sink.0)))
}

unsafe extern "C" fn sink_write(host: *const abi::Host, handle: abi::Sink, bytes: *mut abi::Bytes) -> Code {
    entry(|| {
        if bytes.is_null() {
            return None;
        }
        // SAFETY: not null; moved out in every case.
        let bytes = unsafe { bytes.read() };
        // SAFETY: the contract's.
        let sink = unsafe { sink(host, handle) }.unwrap_or(Err(code::E_INVALID));
        let taken = sink.and_then(|sink| sink.lease().map(|lease| (sink, lease)));
        let (sink, lease) = match taken {
            Ok(both) => both,
            Err(code) => {
                // SAFETY: the contract's.
                unsafe { owned::refuse(bytes) };
                return Some(code);
            }
        };
        // SAFETY: the contract's.
        of(unsafe { owned::take(bytes, &lease) }.map(|bytes| sink.write(bytes)))
    })
}

unsafe extern "C" fn sink_on_writable(
    host: *const abi::Host,
    handle: abi::Sink,
    cb: Option<push::OnWritable>,
    ud: *mut c_void,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        let callback = Callback { call: cb?, ud };
        of(or_state(generation.objects.sink(handle.0)).and_then(|sink| match sink.on_writable(callback) {
            Ok(()) => Ok(code::DONE),
            Err((_, busy @ (code::E_BUSY | code::E_STATE))) => Err(busy),
            Err((callback, now)) => {
                generation.runtime.spawn(async move { push::call(Some(callback), now) });
                Ok(code::DONE)
            }
        }))
    })
}

unsafe extern "C" fn sink_write_blocking(
    host: *const abi::Host,
    handle: abi::Sink,
    bytes: *const u8,
    n: usize,
) -> Code {
    entry(|| {
        if threads::is_inside() {
            return Some(code::E_STATE);
        }
        // SAFETY: the contract's.
        let sink = unsafe { sink(host, handle) }?;
        // SAFETY: the contract's.
        let bytes = unsafe { slice(abi::Str { ptr: bytes, len: n }) };
        of(sink.map(|sink| sink.write_blocking(bytes)))
    })
}

unsafe extern "C" fn sink_end(
    host: *const abi::Host,
    handle: abi::Sink,
    trailers: *const abi::Header,
    n: u32,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        let found = generation.objects.sink(handle.0).filter(|_| generation.objects.remove(handle.0));
        // SAFETY: the contract's.
        let trailers = unsafe { answer::trailers(trailers, n) };
        of(or_state(found).and_then(|sink| match trailers {
            Ok(trailers) => Ok(sink.end(Some(trailers).filter(|trailers| !trailers.is_empty()))),
            Err(code) => {
                sink.abort();
                Err(code)
            }
        }))
    })
}

unsafe extern "C" fn sink_abort(host: *const abi::Host, handle: abi::Sink) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        let found = generation.objects.sink(handle.0).filter(|_| generation.objects.remove(handle.0));
        of(or_state(found).map(|sink| {
            sink.abort();
            code::DONE
        }))
    })
}

// ---- upgraded stream

/// # Safety
/// `host` is null or a table of ours.
unsafe fn io(host: *const abi::Host, io: abi::Io) -> Option<Result<Arc<super::io::Stream>, Code>> {
    // SAFETY: says the caller.
    let generation = unsafe { generation(host) }?;
    Some(or_state(generation.objects.io(io.0)))
}

unsafe extern "C" fn io_poll_read(
    host: *const abi::Host,
    handle: abi::Io,
    waker: *const abi::Waker,
    buf: *mut u8,
    cap: usize,
    n: *mut usize,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let waker = unsafe { waker::borrow(waker) }?;
        // SAFETY: the contract's.
        let (into, n) = unsafe { room(buf, cap, n) }?;
        // SAFETY: the contract's.
        let io = unsafe { io(host, handle) }?;
        of(io
            .and_then(|io| polled(io.poll_read(&mut Context::from_waker(&waker), into)))
            .map(|read| read.map_or(code::PENDING, |read| end_of_stream(n, read))))
    })
}

unsafe extern "C" fn io_poll_write(
    host: *const abi::Host,
    handle: abi::Io,
    waker: *const abi::Waker,
    buf: *const u8,
    len: usize,
    n: *mut usize,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let waker = unsafe { waker::borrow(waker) }?;
        // SAFETY: the contract's.
        let from = unsafe { slice(abi::Str { ptr: buf, len }) };
        // SAFETY: the contract's.
        let n = unsafe { n.as_mut() }?;
        // SAFETY: the contract's.
        let io = unsafe { io(host, handle) }?;
        of(io
            .and_then(|io| polled(io.poll_write(&mut Context::from_waker(&waker), from)))
            .map(|written| written.map_or(code::PENDING, |written| filled(n, written))))
    })
}

unsafe extern "C" fn io_poll_flush(
    host: *const abi::Host,
    handle: abi::Io,
    waker: *const abi::Waker,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let waker = unsafe { waker::borrow(waker) }?;
        // SAFETY: the contract's.
        let io = unsafe { io(host, handle) }?;
        of(io
            .and_then(|io| polled(io.poll_flush(&mut Context::from_waker(&waker))))
            .map(|done| done.map_or(code::PENDING, |()| code::DONE)))
    })
}

unsafe extern "C" fn io_poll_shutdown(
    host: *const abi::Host,
    handle: abi::Io,
    waker: *const abi::Waker,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let waker = unsafe { waker::borrow(waker) }?;
        // SAFETY: the contract's.
        let io = unsafe { io(host, handle) }?;
        of(io
            .and_then(|io| polled(io.poll_shutdown(&mut Context::from_waker(&waker))))
            .map(|done| done.map_or(code::PENDING, |()| code::DONE)))
    })
}

unsafe extern "C" fn io_read_blocking(
    host: *const abi::Host,
    handle: abi::Io,
    buf: *mut u8,
    cap: usize,
    n: *mut usize,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let (into, n) = unsafe { room(buf, cap, n) }?;
        // SAFETY: the contract's.
        let io = unsafe { io(host, handle) }?;
        of(io.and_then(|io| wait(|cx| io.poll_read(cx, into))).map(|read| end_of_stream(n, read)))
    })
}

unsafe extern "C" fn io_write_blocking(
    host: *const abi::Host,
    handle: abi::Io,
    buf: *const u8,
    len: usize,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let mut left = unsafe { slice(abi::Str { ptr: buf, len }) };
        // SAFETY: the contract's.
        let io = unsafe { io(host, handle) }?;
        of(io.and_then(|io| {
            while !left.is_empty() {
                match wait(|cx| io.poll_write(cx, left))? {
                    0 => return Err(code::E_GONE),
                    written => left = &left[written..],
                }
            }
            wait(|cx| io.poll_flush(cx)).map(|()| code::DONE)
        }))
    })
}

unsafe extern "C" fn io_drop(host: *const abi::Host, handle: abi::Io) -> Code {
    // SAFETY: the contract's.
    entry(|| unsafe { end(host, handle.0, |objects, handle| objects.io(handle).is_some()) })
}

fn polled<T>(poll: Poll<Result<T, Code>>) -> Result<Option<T>, Code> {
    match poll {
        Poll::Pending => Ok(None),
        Poll::Ready(result) => result.map(Some),
    }
}

/// The application's memory to write to.
///
/// # Safety
/// `cap` bytes at `buf` are writable, and so is `n`; or they are null.
unsafe fn room<'a>(buf: *mut u8, cap: usize, n: *mut usize) -> Option<(&'a mut [u8], &'a mut usize)> {
    if buf.is_null() || cap == 0 || cap > isize::MAX as usize {
        return None;
    }
    // SAFETY: says the caller.
    let n = unsafe { n.as_mut() }?;
    // SAFETY: says the caller.
    Some((unsafe { std::slice::from_raw_parts_mut(buf, cap) }, n))
}

fn filled(n: &mut usize, count: usize) -> Code {
    *n = count;
    code::DONE
}

fn end_of_stream(n: &mut usize, count: usize) -> Code {
    *n = count;
    if count == 0 { code::EOF } else { code::DONE }
}

/// Waits on this thread, which must not be one that serves connections.
fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Code>>) -> Result<T, Code> {
    if threads::is_inside() {
        return Err(code::E_STATE);
    }
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        match poll(&mut cx) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}

// ---- context

unsafe extern "C" fn config_get(host: *const abi::Host, key: abi::Str, value: *mut abi::Str) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        // SAFETY: the contract's.
        let value = unsafe { value.as_mut() }?;
        // SAFETY: the contract's.
        let key = std::str::from_utf8(unsafe { slice(key) }).ok()?;
        let settings = &generation.settings;
        let found = if key.is_empty() { Some(&settings.json) } else { settings.values.get(key) };
        *value = found.map_or(abi::Str::EMPTY, |found| abi::Str::new(found.as_bytes()));
        Some(if found.is_some() { code::DONE } else { code::EOF })
    })
}

unsafe extern "C" fn log_register(_: *const abi::Host, site: *const abi::Callsite, id: *mut u64) -> u32 {
    // SAFETY: the contract's.
    catch_unwind(|| unsafe { log::register(site, id) }).unwrap_or(abi::interest::NEVER)
}

unsafe extern "C" fn log_enabled(_: *const abi::Host, id: u64) -> u32 {
    catch_unwind(|| log::enabled(id)).unwrap_or(abi::interest::NEVER)
}

unsafe extern "C" fn log_event(
    host: *const abi::Host,
    id: u64,
    request: u64,
    values: *const abi::Value,
    n: usize,
) {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        // SAFETY: the contract's.
        unsafe { log::event(generation, id, request, values, n) };
        Some(code::DONE)
    });
}

unsafe extern "C" fn log_text(
    host: *const abi::Host,
    level: u32,
    request: u64,
    target: abi::Str,
    message: abi::Str,
) {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        // SAFETY: the contract's.
        let target = String::from_utf8_lossy(unsafe { slice(target) });
        // SAFETY: the contract's.
        let message = String::from_utf8_lossy(unsafe { slice(message) });
        log::text(generation, level, request, &target, &message);
        Some(code::DONE)
    });
}

unsafe extern "C" fn set_ready(host: *const abi::Host, ready: i32) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        generation.set_ready(ready != 0);
        Some(code::DONE)
    })
}

unsafe extern "C" fn query(_: *const abi::Host, name: *const c_char) -> *const c_void {
    if name.is_null() {
        return std::ptr::null();
    }
    // SAFETY: not null, and NUL-terminated as the contract has it.
    let name = unsafe { CStr::from_ptr(name) };
    if name == c"informational.v1" { (&raw const INFORMATIONAL).cast() } else { std::ptr::null() }
}

// hyper's server (1.12) can send no 1xx but 100 and 101, neither for HTTP/1.1 nor for HTTP/2: the application is told
// so each time, and the request goes on.
static INFORMATIONAL: abi::Informational =
    abi::Informational { size: size_of::<abi::Informational>(), inform, token_inform };

unsafe extern "C" fn inform(req: *mut abi::Req, status: u16, _: *const abi::Header, _: u32) -> Code {
    if req.is_null() || !(102..200).contains(&status) { code::E_INVALID } else { code::E_UNSUPPORTED }
}

unsafe extern "C" fn token_inform(
    host: *const abi::Host,
    handle: abi::Token,
    status: u16,
    _: *const abi::Header,
    _: u32,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        or_state(unsafe { token(host, handle) }).map_or_else(Some, |_| {
            Some(if (102..200).contains(&status) { code::E_UNSUPPORTED } else { code::E_INVALID })
        })
    })
}
