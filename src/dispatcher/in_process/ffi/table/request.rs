//! Requests and tokens: answering them, now or later.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    ffi::c_void,
    os::fd::{FromRawFd as _, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use cohost_abi::{self as abi, Code, code};

use super::{
    super::{
        Detached, Exchange, Outcome, answer, bytes as owned, instance, objects::Object,
        request_body::Callback,
    },
    entry, generation, of, or_state,
};

pub(super) unsafe extern "C" fn respond(req: *mut abi::Req, response: *const abi::Response) -> Code {
    entry(|| {
        // SAFETY: the contract has it valid during `handle` and `poll`, and called there only.
        let exchange = unsafe { req.cast::<Exchange>().as_mut() }?;
        // Read in every case: what it owns is ours.
        // SAFETY: the contract's.
        let answer = unsafe {
            answer::read(response, &exchange.lease, exchange.asked(), (&exchange.parts, &exchange.facts))
        };
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

pub(super) unsafe extern "C" fn take_body(req: *mut abi::Req) -> abi::Body {
    // SAFETY: the contract has it valid during `handle` and `poll`.
    let Some(exchange) = (unsafe { req.cast::<Exchange>().as_mut() }) else { return abi::Body::NONE };
    abi::Body(catch_unwind(AssertUnwindSafe(|| exchange.body_handle())).unwrap_or(0))
}

pub(super) unsafe extern "C" fn detach(
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

/// # Safety
/// `host` is null or a table of ours.
pub(super) unsafe fn token(host: *const abi::Host, token: abi::Token) -> Option<Arc<Detached>> {
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

pub(super) unsafe extern "C" fn token_head(host: *const abi::Host, handle: abi::Token) -> *const abi::Head {
    // SAFETY: the contract's.
    let detached = catch_unwind(|| unsafe { token(host, handle) }).ok().flatten();
    detached.map_or(std::ptr::null(), |detached| detached.head())
}

pub(super) unsafe extern "C" fn token_take_body(host: *const abi::Host, handle: abi::Token) -> abi::Body {
    // SAFETY: the contract's.
    let detached = catch_unwind(|| unsafe { token(host, handle) }).ok().flatten();
    abi::Body(detached.map_or(0, |detached| detached.body_handle()))
}

pub(super) unsafe extern "C" fn token_respond(
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
        let answer = unsafe { answer::read(response, &lease, detached.asked, detached.made_of()) };
        let code = match &answer {
            Ok(_) => code::DONE,
            Err(code) => *code,
        };
        of(detached.answer(answer.map_err(refused)).map(|()| code))
    })
}

pub(super) unsafe extern "C" fn token_drop(host: *const abi::Host, handle: abi::Token, why: Code) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let detached = or_state(unsafe { consume(host, handle) });
        of(detached.and_then(|detached| {
            detached.answer(Err(instance::failure_of(why.min(code::DONE))))?;
            Ok(code::DONE)
        }))
    })
}

/// Ends what a response owns when there is nobody to give it to.
///
/// # Safety
/// `response` is null or keeps the contract.
unsafe fn drop_unread(response: *const abi::Response) {
    // SAFETY: says the caller.
    let Some(response) = (unsafe { response.as_ref() }) else { return };
    if response.size < size_of::<abi::Response>() {
        return;
    }
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
