//! A request that the application answers later, from any thread.
//!
//! Three parties meet here: the client's connection waits for the answer, the application gives it, and either may
//! give up first. Whoever comes second finds out, and nothing is touched twice.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    ffi::c_void,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    thread::ThreadId,
};

use bytes::Bytes;
use cohost_abi as abi;
use http::request::Parts;

use super::{Answer, answer::Asked, exchange::body_handle, head::Space, request_body::Callback};
use crate::{Body, Failure, dispatcher::in_process::generation::Lease, facts::Facts};

/// `void (*)(void *ud, int why)`
pub(super) type OnCancel = unsafe extern "C" fn(*mut c_void, abi::Code);

/// A request in the hands of a token.
pub(in crate::dispatcher::in_process) struct Detached {
    lease: Weak<Lease>,
    pub(super) asked: Asked,
    request: Request,
    body: Mutex<Body>,
    state: Mutex<State>,
    cancelled: Condvar,
}

/// The head, and everything that it points at; boxed, because it must not move.
struct Request {
    head: abi::Head,
    made_of: Box<((Parts, Facts, Bytes), Space)>,
}

// SAFETY: a head is only read, and what it points at is beside it.
unsafe impl Send for Request {}
// SAFETY: as above.
unsafe impl Sync for Request {}

enum State {
    /// The application has not answered; the connection's waker, and whom to tell when it gives up.
    Open {
        waiting: Option<Waker>,
        on_cancel: Option<Callback<OnCancel>>,
    },
    Answered(Result<Answer, Failure>),
    /// `on_cancel` runs on that thread.
    Cancelling(ThreadId, abi::Code),
    Cancelled(abi::Code),
    Over,
}

impl Detached {
    pub(super) fn new(
        lease: &Arc<Lease>,
        asked: Asked,
        request: (Parts, Facts, Bytes),
        body: Body,
        on_cancel: Option<Callback<OnCancel>>,
    ) -> Self {
        let mut request = Box::new((request, Space::new()));
        let ((parts, facts, buffered), space) = &mut *request;
        let head = space.fill(parts, facts, (&body, buffered), asked);
        Self {
            lease: Arc::downgrade(lease),
            asked,
            request: Request { head, made_of: request },
            body: Mutex::new(body),
            state: Mutex::new(State::Open { waiting: None, on_cancel }),
            cancelled: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head, for as long as the token is not consumed.
    pub(super) fn head(&self) -> *const abi::Head {
        &raw const self.request.head
    }

    /// The request, and what is known of it.
    pub(super) fn made_of(&self) -> (&Parts, &Facts) {
        let ((parts, facts, _), _) = &*self.request.made_of;
        (parts, facts)
    }

    /// The right to call the application, as long as somebody waits for the answer.
    pub(super) fn lease(&self) -> Option<Arc<Lease>> {
        self.lease.upgrade()
    }

    /// Makes the request body a handle; 0 when there is none, or it was taken.
    pub(super) fn body_handle(&self) -> usize {
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        self.lease().map_or(0, |lease| body_handle(&lease, &mut body, self.made_of().1.request_id))
    }

    /// Whether the answer would still be wanted; waits for an `on_cancel` that runs on another thread.
    ///
    /// # Errors
    /// Returns why it is not.
    pub(super) fn wanted(&self) -> Result<(), abi::Code> {
        let here = std::thread::current().id();
        let elsewhere = |state: &mut State| matches!(state, State::Cancelling(thread, _) if *thread != here);
        let state = self.cancelled.wait_while(self.lock(), elsewhere).unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Open { .. } => Ok(()),
            State::Cancelling(_, why) | State::Cancelled(why) => Err(why),
            State::Answered(_) | State::Over => Err(abi::code::E_STATE),
        }
    }

    /// Gives the answer to the connection.
    ///
    /// # Errors
    /// Returns why nobody wants it any more.
    pub(super) fn answer(&self, answer: Result<Answer, Failure>) -> Result<(), abi::Code> {
        loop {
            self.wanted()?;
            let mut state = self.lock();
            let State::Open { waiting, .. } = &mut *state else { continue };
            let waiting = waiting.take();
            *state = State::Answered(answer);
            drop(state);
            if let Some(waker) = waiting {
                waker.wake();
            }
            return Ok(());
        }
    }

    /// The answer, for the connection.
    pub(in crate::dispatcher::in_process) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Answer, Failure>> {
        let mut state = self.lock();
        match &mut *state {
            State::Open { waiting, .. } => {
                match waiting {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waiting = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            State::Answered(_) => match std::mem::replace(&mut *state, State::Over) {
                State::Answered(answer) => Poll::Ready(answer),
                _ => unreachable!("just matched"),
            },
            State::Cancelling(..) | State::Cancelled(_) | State::Over => Poll::Pending,
        }
    }

    /// The connection gives up; tells the application, unless it has answered.
    pub(in crate::dispatcher::in_process) fn cancel(&self, why: abi::Code) {
        let mut state = self.lock();
        let unused = match &mut *state {
            State::Open { on_cancel, .. } => {
                let on_cancel = on_cancel.take();
                *state = State::Cancelling(std::thread::current().id(), why);
                drop(state);
                if let Some(on_cancel) = on_cancel {
                    // SAFETY: once, because it was taken out, and `answer` waits until it returned.
                    unsafe { (on_cancel.call)(on_cancel.ud, why) };
                }
                *self.lock() = State::Cancelled(why);
                self.cancelled.notify_all();
                return;
            }
            State::Answered(_) => std::mem::replace(&mut *state, State::Over),
            _ => return,
        };
        drop(state);
        // An answer that nobody will read: its body ends here, outside the lock.
        drop(unused);
    }
}
