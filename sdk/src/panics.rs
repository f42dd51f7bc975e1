//! Panics of the application, in the host's log.
//!
//! In: the panic hook of this library's copy of `std`. Out: a line with message, place and backtrace.
//! Never: prints what happens on threads that run the application; standard error is the host's.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    fmt,
    panic::PanicHookInfo,
    sync::{
        Once, OnceLock, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use cohost_abi::level;

use crate::{ffi::Host, scope};

/// Backtraces cost milliseconds, and whoever can make a request panic can do it often. Past these, only
/// `RUST_BACKTRACE` brings more.
const BACKTRACES: u32 = 16;

static INSTALL: Once = Once::new();
static HOST: OnceLock<RwLock<Host>> = OnceLock::new();

/// Sends panics to `host`, the latest one that loaded this copy of the library.
pub(crate) fn report_to(host: Host) {
    let latest = HOST.get_or_init(|| RwLock::new(host));
    if let Ok(mut latest) = latest.write() {
        *latest = host;
    }
    INSTALL.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            // A thread we know nothing of: in a test, it may be the test's own.
            if !scope::current().inside {
                before(panic);
            }
        }));
    });
}

/// A panic that was caught, as an error: its message.
#[derive(Debug)]
pub(crate) struct Panicked(String);

impl Panicked {
    pub(crate) fn with(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("a panic whose payload is no text").to_owned())
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Panicked {}

fn report(panic: &PanicHookInfo<'_>) {
    let Some(host) = HOST.get().and_then(|host| host.try_read().ok().map(|host| *host)) else { return };
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("a panic whose payload is no text");
    let mut text = format!("panicked at {place}: {message}");
    if let Some(backtrace) = backtrace() {
        text = format!("{text}\n{backtrace}");
    }
    let text = if scope::current().inside {
        text
    } else {
        format!("thread {} {text}", thread.name().unwrap_or("without a name"))
    };
    host.log_text(level::ERROR, scope::current().request_id, "cohost_app::panic", text.trim_end());
}

fn backtrace() -> Option<Backtrace> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let backtrace = if TAKEN.fetch_add(1, Ordering::Relaxed) < BACKTRACES {
        Backtrace::force_capture()
    } else {
        Backtrace::capture()
    };
    (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace)
}
