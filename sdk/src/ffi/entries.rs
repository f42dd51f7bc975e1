//! The descriptor, and the functions in it.
//!
//! In: the host's calls for an instance. Out: codes.
//! Never: a dynamic call on a request's way: each function is made for the application's own types.

use std::{
    ffi::{CStr, OsStr, c_char, c_void},
    future::Future,
    marker::PhantomData,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::Arc,
    task::Poll,
};

#[cfg(feature = "tracing")]
use cohost_abi::event;
use cohost_abi::{self as abi, Code, app_flags, code, head_flags};
use http::Request;

use super::{Host, exchange::Exchange, guarded, request, slice, waker};
use crate::{
    Application, Body, BoxError, Context,
    context::Place,
    instance::{Instance, Shared},
    panics,
    request::Plan,
    scope::Scope,
    translate,
};

/// What this crate is, for the host's log.
const SDK: &CStr =
    match CStr::from_bytes_with_nul(concat!("cohost-app ", env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(sdk) => sdk,
        Err(_) => panic!("it ends with its only NUL"),
    };

/// What an application says of itself in the descriptor and in the note.
pub(crate) const FLAGS: u32 =
    app_flags::RUNTIME | if cfg!(panic = "abort") { app_flags::PANIC_ABORT } else { 0 };

/// The descriptor of the application that `make` starts: what [`export!`](crate::export) exports.
///
/// `name` and `version` end with their only NUL. `make` is a function, or a closure that captures nothing: it has no
/// size, and the entries are made for its type.
///
/// When it starts, it takes over what a library has a copy of for itself: the panic hook, the global subscriber of
/// `tracing`, the logger of `log`.
pub const fn descriptor<M, Fut, S, E>(make: M, name: &'static str, version: &'static str) -> abi::App
where
    M: Fn(Context) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<S, E>>,
    S: Application,
    E: Into<BoxError>,
{
    Entries::<M, S>::descriptor::<Fut, E, false>(make, name, version)
}

/// The same for a program that the application is linked into, for tests: panic hook, subscriber and logger are the
/// program's, and stay as they are.
pub const fn linked_descriptor<M, Fut, S, E>(make: M, name: &'static str, version: &'static str) -> abi::App
where
    M: Fn(Context) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<S, E>>,
    S: Application,
    E: Into<BoxError>,
{
    Entries::<M, S>::descriptor::<Fut, E, true>(make, name, version)
}

const fn text(text: &'static str) -> *const c_char {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text.as_ptr(),
        Err(_) => panic!("a text of the descriptor ends with its only NUL"),
    }
}

struct Entries<M, S>(PhantomData<(M, S)>);

impl<M, S: Application> Entries<M, S> {
    const fn descriptor<Fut, E, const LINKED: bool>(
        make: M,
        name: &'static str,
        version: &'static str,
    ) -> abi::App
    where
        M: Fn(Context) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<S, E>>,
        E: Into<BoxError>,
    {
        const { assert!(size_of::<M>() == 0, "the constructor is a function item, not a pointer to one") };
        // There is a value of the type, so that `init` may make another of nothing.
        let _ = make;
        abi::App {
            magic: abi::MAGIC,
            size: size_of::<abi::App>(),
            major: abi::ABI_MAJOR,
            minor: abi::ABI_MINOR,
            min_host_minor: 0,
            reserved: 0,
            max_concurrency: 0,
            flags: FLAGS,
            requires_features: 0,
            name: text(name),
            version: text(version),
            sdk: SDK.as_ptr(),
            init: Some(Self::init::<Fut, E, LINKED>),
            handle: Some(handle::<S>),
            drain: Some(drain::<S>),
            shutdown: Some(shutdown::<S>),
            event: Some(on_event),
        }
    }

    unsafe extern "C" fn init<Fut, E, const LINKED: bool>(
        host: *const abi::Host,
        init: *const abi::Init,
        error: *mut abi::Error,
        out: *mut *mut c_void,
    ) -> Code
    where
        M: Fn(Context) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<S, E>>,
        E: Into<BoxError>,
    {
        guarded(|| {
            // SAFETY: what the host passed.
            let Some(host) = (unsafe { Host::new(host) }) else {
                // SAFETY: as above.
                unsafe { report(error, "the host is older than the application's SDK") };
                return code::E_ABI;
            };
            if !LINKED {
                panics::report_to(host);
            }
            // SAFETY: as above; alive until this returns.
            let init = unsafe { &*init };
            // SAFETY: `M` has no size (checked in `descriptor`) and is `Copy`; a value of it exists.
            let make = unsafe { std::ptr::NonNull::<M>::dangling().read() };
            // SAFETY: as above.
            let place = unsafe { place(init) };
            #[cfg(feature = "tracing")]
            let logs = (!LINKED).then(|| crate::logs::starting(host));
            let started = Instance::start(host, place, init.runtime_threads, make);
            #[cfg(feature = "tracing")]
            if let Some(logs) = logs {
                logs.finish();
            }
            let failure = match started {
                Ok(instance) => {
                    // SAFETY: the host's, to be written on success.
                    unsafe { out.write(Box::into_raw(Box::new(instance)).cast()) };
                    return code::DONE;
                }
                Err(failure) => failure,
            };
            // SAFETY: what the host passed.
            unsafe { report(error, &crate::chain(&*failure)) };
            if failure.is::<panics::Panicked>() { code::E_PANIC } else { code::E_APP }
        })
    }
}

/// # Safety
/// `init` is alive.
unsafe fn place(init: &abi::Init) -> Place {
    Place {
        // SAFETY: here and below: texts of `init`, alive as long as it is.
        name: String::from_utf8_lossy(unsafe { slice(init.name) }).into_owned(),
        // SAFETY: as above.
        content_root: PathBuf::from(OsStr::from_bytes(unsafe { slice(init.content_root) })),
        // SAFETY: as above.
        path_base: String::from_utf8_lossy(unsafe { slice(init.path_base) }).into_owned(),
        generation: init.generation,
        threads: init.threads,
    }
}

/// # Safety
/// `error` is what the host passed to `init`.
unsafe fn report(error: *mut abi::Error, message: &str) {
    // SAFETY: null, or the host's to be written.
    let Some(error) = (unsafe { error.as_mut() }) else { return };
    let message = &message[..message.floor_char_boundary(error.cap)];
    // SAFETY: `cap` bytes at `buf` are ours to write, and the message is no longer.
    unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), error.buf.cast(), message.len()) };
    error.len = message.len();
}

unsafe extern "C" fn handle<S: Application>(
    instance: *mut c_void,
    req: *mut abi::Req,
    head: *const abi::Head,
    waker: *const abi::Waker,
    task: *mut abi::Task,
) -> Code {
    guarded(|| {
        // SAFETY: made by `init`; alive until `shutdown`, which comes after the last request.
        let instance = unsafe { &*instance.cast::<Instance<S>>() };
        // SAFETY: alive until this returns.
        let head = unsafe { &*head };
        let shared = &instance.shared;
        let _runtime = shared.handle.enter();
        let _scope = Scope::enter(req, head.request_id);
        let mut request = Request::new(Body::empty());
        // SAFETY: those of this call.
        if let Err(code) = unsafe { request::fill(&mut request, shared, req, head) } {
            return code;
        }
        let mut plan = Plan::new(&request, head.request_id);
        if head.flags & head_flags::UPGRADE != 0 {
            translate::offer_upgrade(&mut request, &mut plan);
        }
        // SAFETY: those of this call.
        unsafe { call(shared, instance.service.clone(), request, plan, req, waker, task) }
    })
}

/// # Safety
/// The pointers are what the host passed to the call of `handle` that is running now.
unsafe fn call<S: Application>(
    shared: &Arc<Shared>,
    mut service: S,
    request: Request<Body>,
    plan: Plan,
    req: *mut abi::Req,
    waker: *const abi::Waker,
    task: *mut abi::Task,
) -> Code {
    // SAFETY: that of this call.
    match unsafe { waker::with_host_waker(waker, |cx| service.poll_ready(cx)) } {
        Poll::Ready(Ok(())) => {
            let make = || service.call(request);
            // SAFETY: those of this call.
            unsafe { Exchange::start(shared, make, plan, req, waker, task) }
        }
        // Mostly a service that is ready never comes here, and its future is kept as it is.
        ready => {
            let future = async move {
                match ready {
                    Poll::Ready(ready) => ready?,
                    Poll::Pending => std::future::poll_fn(|cx| service.poll_ready(cx)).await?,
                }
                service.call(request).await
            };
            // SAFETY: those of this call.
            unsafe { Exchange::start(shared, || future, plan, req, waker, task) }
        }
    }
}

unsafe extern "C" fn drain<S: Application>(instance: *mut c_void) {
    guarded(|| {
        // SAFETY: made by `init`; alive until `shutdown`.
        let instance = unsafe { &*instance.cast::<Instance<S>>() };
        instance.drain.send_replace(true);
        code::DONE
    });
}

unsafe extern "C" fn shutdown<S: Application>(instance: *mut c_void, deadline_ns: u64) -> Code {
    guarded(|| {
        // SAFETY: made by `init`; the host calls this once, after everything else of the instance.
        let instance = *unsafe { Box::from_raw(instance.cast::<Instance<S>>()) };
        let _scope = Scope::enter(std::ptr::null_mut(), 0);
        instance.end(deadline_ns)
    })
}

unsafe extern "C" fn on_event(_instance: *mut c_void, what: u32) {
    guarded(|| {
        #[cfg(feature = "tracing")]
        if what == event::LOG_FILTER {
            crate::logs::filter_changed();
        }
        // Other values are of newer hosts; settings are asked for each time.
        let _ = what;
        code::DONE
    });
}
