//! The application itself: its constructor, its handler, its end. Safe to call; what it does is its own affair.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    ffi::c_void,
    path::Path,
    task::{Context, Poll},
    time::Instant,
};

use cohost_abi as abi;

use super::{Exchange, Outcome, detached::Detached, head::Space, waker};
use crate::{
    Failure,
    dispatcher::in_process::{generation::Generation, preflight::LoadError},
    failure,
};

/// Room for the constructor's explanation.
const MESSAGE: usize = 4096;

/// A constructed application.
pub(in crate::dispatcher::in_process) struct Instance {
    app: &'static abi::App,
    state: *mut c_void,
}

// SAFETY: the contract lets every function be called on any thread, `handle` on many at a time.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Runs the constructor.
    pub(in crate::dispatcher::in_process) fn init(
        app: &'static abi::App,
        generation: &'static Generation,
        path: &Path,
    ) -> Result<Self, LoadError> {
        let init = app.init.expect("checked when the library was loaded");
        let start = &generation.start;
        let told = abi::Init {
            size: size_of::<abi::Init>(),
            name: abi::Str::new(start.name.as_bytes()),
            content_root: abi::Str::new(start.content_root.as_os_str().as_encoded_bytes()),
            path_base: abi::Str::new(start.path_base.as_bytes()),
            generation: generation.number,
            threads: generation.host.threads,
            runtime_threads: start.runtime_threads,
            reserved: 0,
        };
        let mut message = vec![0_u8; MESSAGE];
        let mut error = abi::Error { buf: message.as_mut_ptr().cast(), cap: MESSAGE, len: 0 };
        let mut state = std::ptr::null_mut();
        // SAFETY: everything passed is valid during the call, and the table for ever.
        let code =
            unsafe { init(&raw const generation.host, &raw const told, &raw mut error, &raw mut state) };
        if code == abi::code::DONE {
            return Ok(Self { app, state });
        }
        let said = String::from_utf8_lossy(&message[..error.len.min(MESSAGE)]).into_owned();
        let path = path.to_owned();
        Err(match code {
            abi::code::E_PANIC => LoadError::InitPanicked { path, message: said },
            abi::code::E_ABI => LoadError::InitAbi { path, message: said },
            _ if said.is_empty() => {
                LoadError::InitFailed { path, message: format!("its constructor returned {code}") }
            }
            _ => LoadError::InitFailed { path, message: said },
        })
    }

    /// Hands it a request.
    pub(in crate::dispatcher::in_process) fn handle(
        &self,
        exchange: &mut Exchange,
        cx: &Context<'_>,
    ) -> Handled {
        let handle = self.app.handle.expect("checked when the library was loaded");
        let mut space = Space::new();
        let head = space.fill(
            &exchange.parts,
            &exchange.facts,
            (&exchange.body, &exchange.buffered),
            exchange.asked(),
        );
        let waker = waker::lend(cx.waker());
        let mut task = abi::Task { state: std::ptr::null_mut(), poll: None, drop: None };
        let request = std::ptr::from_mut(exchange).cast();
        // SAFETY: everything passed is valid during the call; the exchange is reached through `request` alone.
        let code = unsafe { handle(self.state, request, &raw const head, &raw const waker, &raw mut task) };
        match code {
            abi::code::PENDING if task.poll.is_some() => Handled::Pending(Task(task)),
            code => Handled::Ended(code),
        }
    }

    pub(in crate::dispatcher::in_process) fn is_blocking(&self) -> bool {
        self.app.flags & abi::app_flags::BLOCKING != 0
    }

    pub(in crate::dispatcher::in_process) fn wants_whole_bodies(&self) -> bool {
        self.app.flags & abi::app_flags::BUFFER_BODY != 0
    }

    pub(in crate::dispatcher::in_process) fn drain(&self) {
        if let Some(drain) = self.app.drain {
            // SAFETY: the instance is constructed and not shut down.
            unsafe { drain(self.state) };
        }
    }

    /// Whether it ended everything of its own.
    pub(in crate::dispatcher::in_process) fn shutdown(&self, deadline: Instant) -> bool {
        self.app.shutdown.is_none_or(|shutdown| {
            // SAFETY: once, by the owner of the generation.
            let code = unsafe { shutdown(self.state, monotonic_ns(deadline)) };
            code == abi::code::DONE
        })
    }
}

/// `instant` on `CLOCK_MONOTONIC`, in nanoseconds.
pub(super) fn monotonic_ns(instant: Instant) -> u64 {
    // `Instant` is that clock on Linux, but does not show its value.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    let left = instant.saturating_duration_since(Instant::now());
    now.saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
}

/// What `handle` returned.
pub(in crate::dispatcher::in_process) enum Handled {
    Pending(Task),
    Ended(abi::Code),
}

/// A request that goes on inside the application.
pub(in crate::dispatcher::in_process) struct Task(abi::Task);

// SAFETY: the contract lets a task be polled and dropped on any thread, one at a time.
unsafe impl Send for Task {}

impl Task {
    /// Continues it; `Ready` only once.
    pub(in crate::dispatcher::in_process) fn poll(
        &mut self,
        exchange: &mut Exchange,
        cx: &Context<'_>,
    ) -> Poll<abi::Code> {
        let poll = self.0.poll.expect("checked when it was made");
        let waker = waker::lend(cx.waker());
        let request = std::ptr::from_mut(exchange).cast();
        // SAFETY: one at a time (&mut self), and not after the end, which the caller keeps.
        match unsafe { poll(self.0.state, request, &raw const waker) } {
            abi::code::PENDING => Poll::Pending,
            code => Poll::Ready(code),
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(drop) = self.0.drop.take() {
            // SAFETY: once, because it was taken out.
            unsafe { drop(self.0.state) };
        }
    }
}

/// What to do with a request after the application returned `code`.
pub(in crate::dispatcher::in_process) enum Step {
    /// The exchange has the answer.
    Answered,
    /// The answer comes through a token.
    Wait(std::sync::Arc<Detached>),
}

impl Step {
    pub(in crate::dispatcher::in_process) fn after(
        code: abi::Code,
        exchange: &mut Exchange,
    ) -> Result<Self, Failure> {
        if code == abi::code::DONE && matches!(exchange.outcome, Outcome::Answered(_)) {
            return Ok(Self::Answered);
        }
        match (code, exchange.take_outcome()) {
            // What `respond` said of the answer, passed on: the failure says it better.
            (
                abi::code::E_INVALID | abi::code::E_UNSUPPORTED | abi::code::E_ABI,
                Outcome::Answered(Err(refused)),
            ) => Err(refused),
            (abi::code::DETACHED, Outcome::Detached(detached)) => Ok(Self::Wait(detached)),
            (code, Outcome::Detached(detached)) => {
                // It took a token and said otherwise: the token is worth nothing, the code counts.
                detached.cancel(abi::code::E_STATE);
                Err(failure_of(code))
            }
            (code, _) => Err(failure_of(code)),
        }
    }
}

/// Why there is no answer.
pub(super) fn failure_of(code: abi::Code) -> Failure {
    match code {
        abi::code::E_PANIC => Failure::new(failure::Code::ApplicationPanicked),
        abi::code::E_UNAVAILABLE | abi::code::E_BUSY => Failure::new(failure::Code::ApplicationUnavailable),
        abi::code::E_TIMEOUT => Failure::new(failure::Code::RequestTimeout),
        abi::code::E_TOO_LARGE => Failure::new(failure::Code::BodyTooLarge),
        abi::code::E_DRAINING => Failure::new(failure::Code::Draining),
        code if code >= 0 => Failure::new(failure::Code::NoResponse).detail(format!(
            "the application returned {code} without an answer (0 needs respond, 1 a task, 2 a token)"
        )),
        code => {
            Failure::new(failure::Code::ApplicationFailed).detail(format!("the application returned {code}"))
        }
    }
}
