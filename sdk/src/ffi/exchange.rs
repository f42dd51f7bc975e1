//! One request on its way through the application: the future, then the body of its response.
//!
//! In: polls and drops by the host. Out: an answer, given during `handle` or a later poll, and frames of its body.
//! Never: a second allocation: the response body is polled in the place where the future was.

use std::{
    collections::VecDeque,
    ffi::c_void,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use cohost_abi::{self as abi, Code, code, frame_kind, level};
use http::{HeaderMap, Response};
use http_body::Frame;

use super::{Host, guarded, owned, response, waker};
use crate::{BodyError, BoxError, instance::Shared, request::Plan, scope::Scope};

pin_project_lite::pin_project! {
    /// The state behind a task, and behind a stream.
    pub(super) struct Exchange<F, B> {
        #[pin]
        pub(super) stage: Stage<F, B>,
        // None until the call of `handle` is over: most requests end in it and leave the count alone.
        shared: Option<Arc<Shared>>,
        pub(super) plan: Plan,
        // Frames that were polled to see whether the first is the whole body.
        pub(super) ahead: VecDeque<Frame<Bytes>>,
        // In a box of their own: few responses have any, and this is moved to its box whole.
        trailers: Option<Box<Trailers>>,
        // The call or task, and the stream, if there is one: who ends last frees.
        owners: AtomicU8,
    }
}

/// Trailers, and the same as the host reads them.
struct Trailers {
    map: HeaderMap,
    fields: Vec<abi::Header>,
}

pin_project_lite::pin_project! {
    #[project = StageProjection]
    pub(super) enum Stage<F, B> {
        Call { #[pin] future: F },
        Body { #[pin] body: B },
        Over,
    }
}

impl<F, B, E> Exchange<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    /// Polls the future that `make` makes for the first time. If it is ready, the answer is given before this returns.
    ///
    /// The runtime is entered and the scope is set by the caller.
    ///
    /// # Safety
    /// The pointers are what the host passed to the call of `handle` that is running now.
    pub(super) unsafe fn start(
        shared: &Arc<Shared>,
        make: impl FnOnce() -> F,
        plan: Plan,
        req: *mut abi::Req,
        waker: *const abi::Waker,
        task: *mut abi::Task,
    ) -> Code {
        // The box comes before the future, which is large, so that it can be made in its place.
        let exchange = Box::write(
            Box::new_uninit(),
            Self {
                stage: Stage::Call { future: make() },
                shared: None,
                plan,
                ahead: VecDeque::new(),
                trailers: None,
                owners: AtomicU8::new(1),
            },
        );
        let exchange = Box::into_raw(exchange);
        // SAFETY: just made, and ours; the rest is the caller's promise.
        let code = guarded(|| unsafe { Self::advance(exchange, shared, req, waker) });
        if code == code::PENDING {
            // SAFETY: still ours alone.
            unsafe { (*exchange).shared = Some(Arc::clone(shared)) };
            let state = abi::Task {
                state: exchange.cast(),
                poll: Some(Self::poll_task),
                drop: Some(Self::drop_either),
            };
            // SAFETY: the host's, to be written when PENDING is returned.
            unsafe { task.write(state) };
        } else {
            // SAFETY: our ownership ends here. A stream, if there is one, has its own.
            guarded(|| unsafe { Self::release(exchange) });
        }
        code
    }

    /// # Safety
    /// `exchange` is alive and in nobody else's hands; the rest is what the host passed to the running call.
    unsafe fn advance(
        exchange: *mut Self,
        shared: &Arc<Shared>,
        req: *mut abi::Req,
        waker: *const abi::Waker,
    ) -> Code {
        let poll = |cx: &mut Context<'_>| {
            // SAFETY: alive, ours alone during the call, and it never moves out of its box.
            let this = unsafe { pinned(exchange) };
            let StageProjection::Call { future } = this.project().stage.project() else {
                return code::E_STATE;
            };
            match future.poll(cx) {
                Poll::Pending => code::PENDING,
                // SAFETY: the caller's promise.
                Poll::Ready(Ok(response)) => unsafe {
                    response::respond(exchange, shared, req, cx, response)
                },
                Poll::Ready(Err(error)) => {
                    // SAFETY: as above.
                    let this = unsafe { pinned(exchange) };
                    this.fail(shared.host, "the application's service failed", error.into());
                    code::E_APP
                }
            }
        };
        // SAFETY: the caller's promise.
        unsafe { waker::with_host_waker(waker, poll) }
    }

    unsafe extern "C" fn poll_task(state: *mut c_void, req: *mut abi::Req, waker: *const abi::Waker) -> Code {
        let exchange = state.cast::<Self>();
        guarded(|| {
            // SAFETY: the host polls a task between `start` and its drop, one call at a time.
            let Some(shared) = (unsafe { Self::shared(exchange) }) else { return code::E_STATE };
            // SAFETY: as above.
            let request_id = unsafe { (*exchange).plan.request_id };
            let _runtime = shared.handle.enter();
            let _scope = Scope::enter(req, request_id);
            // SAFETY: as above; `req` and `waker` are those of this call.
            unsafe { Self::advance(exchange, &shared, req, waker) }
        })
    }

    /// What the instance shares, for the length of a call.
    ///
    /// # Safety
    /// `exchange` is alive, and was given to the host.
    unsafe fn shared(exchange: *mut Self) -> Option<Arc<Shared>> {
        // SAFETY: the caller's promise; written before it was given to the host.
        unsafe { &(*exchange).shared }.clone()
    }

    /// The state of a stream, for the host. It counts as an owner from now on.
    ///
    /// # Safety
    /// `exchange` is alive.
    pub(super) unsafe fn stream(
        exchange: *mut Self,
        shared: &Arc<Shared>,
        content_length: u64,
    ) -> abi::Stream {
        // SAFETY: the caller's promise.
        unsafe { (*exchange).shared = Some(Arc::clone(shared)) };
        // SAFETY: the caller's promise; a shared borrow of one field, for the line.
        unsafe { &(*exchange).owners }.fetch_add(1, Ordering::Relaxed);
        abi::Stream {
            size: size_of::<abi::Stream>(),
            state: exchange.cast(),
            content_length,
            poll_frame: Some(Self::poll_stream),
            drop: Some(Self::drop_either),
        }
    }

    unsafe extern "C" fn poll_stream(
        state: *mut c_void,
        waker: *const abi::Waker,
        out: *mut abi::Frame,
    ) -> Code {
        let exchange = state.cast::<Self>();
        guarded(|| {
            // SAFETY: the host polls a stream between `respond` and its drop, one call at a time; the task, if there
            // was one, is over and touches nothing but `owners`.
            let Some(shared) = (unsafe { Self::shared(exchange) }) else { return code::E_STATE };
            // SAFETY: as above.
            let request_id = unsafe { (*exchange).plan.request_id };
            let _runtime = shared.handle.enter();
            let _scope = Scope::enter(std::ptr::null_mut(), request_id);
            // SAFETY: as above, and it never moves out of its box.
            let this = unsafe { pinned(exchange) };
            // SAFETY: `waker` and `out` are those of this call.
            unsafe { this.next_frame(shared.host, waker, out) }
        })
    }

    /// # Safety
    /// `waker` and `out` are what the host passed to the running call.
    unsafe fn next_frame(
        mut self: Pin<&mut Self>,
        host: Host,
        waker: *const abi::Waker,
        out: *mut abi::Frame,
    ) -> Code {
        let mut this = self.as_mut().project();
        let polled = match (this.ahead.pop_front(), this.stage.as_mut().project()) {
            (Some(frame), _) => Poll::Ready(Some(Ok(frame))),
            // SAFETY: the caller's promise.
            (None, StageProjection::Body { body }) => unsafe {
                waker::with_host_waker(waker, |cx| body.poll_frame(cx))
            },
            (None, _) => Poll::Ready(None),
        };
        match polled {
            Poll::Pending => code::PENDING,
            // SAFETY: the caller's promise.
            Poll::Ready(Some(Ok(frame))) => unsafe { self.put(frame, out) },
            Poll::Ready(None) => {
                this.stage.set(Stage::Over);
                code::EOF
            }
            Poll::Ready(Some(Err(error))) => {
                self.fail(host, "the application's response body failed", error.into());
                code::E_APP
            }
        }
    }

    /// # Safety
    /// `out` is what the host passed to the running call.
    unsafe fn put(self: Pin<&mut Self>, frame: Frame<Bytes>, out: *mut abi::Frame) -> Code {
        let this = self.project();
        let mut filled = abi::Frame {
            size: size_of::<abi::Frame>(),
            kind: frame_kind::DATA,
            n_headers: 0,
            data: owned::none(),
            headers: std::ptr::null(),
        };
        match frame.into_data() {
            Ok(data) => filled.data = owned::to_host(data),
            Err(frame) => {
                let map = frame.into_trailers().unwrap_or_default();
                let trailers = this.trailers.insert(Box::new(Trailers { map, fields: Vec::new() }));
                let fields = trailers.map.iter().map(|(name, value)| response::field(name, value));
                trailers.fields = fields.collect();
                filled.kind = frame_kind::TRAILERS;
                filled.n_headers = trailers.fields.len() as u32;
                filled.headers = trailers.fields.as_ptr();
            }
        }
        // SAFETY: the host's, to be written with DONE; in version 1.0 its frame is no smaller than ours.
        unsafe { out.write(filled) };
        code::DONE
    }

    /// Ends it, with a line in the log.
    pub(super) fn fail(self: Pin<&mut Self>, host: Host, what: &str, error: BoxError) {
        let mut this = self.project();
        let message = format!("{what}: {}", crate::chain(&*error));
        // Nothing of that is the application's fault, and it happens all the time.
        let level = if is_gone(&*error) { level::DEBUG } else { level::ERROR };
        host.log_text(level, this.plan.request_id, "cohost_app", &message);
        // The error may come from what is dropped now.
        drop(error);
        this.stage.set(Stage::Over);
    }

    unsafe extern "C" fn drop_either(state: *mut c_void) {
        let exchange = state.cast::<Self>();
        guarded(|| {
            // SAFETY: an owner lets go, and is alive until it does.
            let Some(shared) = (unsafe { Self::shared(exchange) }) else { return code::E_STATE };
            // SAFETY: as above.
            let request_id = unsafe { (*exchange).plan.request_id };
            let _runtime = shared.handle.enter();
            let _scope = Scope::enter(std::ptr::null_mut(), request_id);
            // SAFETY: the host drops a task, and a stream, once.
            unsafe { Self::release(exchange) };
            code::DONE
        });
    }

    /// # Safety
    /// The caller owned a share of `exchange`, and does not any more.
    unsafe fn release(exchange: *mut Self) -> Code {
        // SAFETY: alive as long as there is an owner; a shared borrow of one field, for the line.
        if unsafe { &(*exchange).owners }.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: made by a box, and this was the last owner.
            drop(unsafe { Box::from_raw(exchange) });
        }
        code::DONE
    }
}

/// Whether an error has come of a client that went away.
fn is_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| cause.downcast_ref::<BodyError>().is_some_and(BodyError::is_gone))
}

/// # Safety
/// `exchange` is alive and in nobody else's hands during `'a`, and never moves.
pub(super) unsafe fn pinned<'a, T>(exchange: *mut T) -> Pin<&'a mut T> {
    // SAFETY: the caller's promise.
    let exchange = unsafe { &mut *exchange };
    // SAFETY: the caller's promise.
    unsafe { Pin::new_unchecked(exchange) }
}
