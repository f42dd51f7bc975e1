//! The optional table `informational.v1`: responses ahead of the answer.
#![expect(unsafe_code, reason = "the seam")]

use cohost_abi::{self as abi, Code, code};

use super::{entry, or_state, request::token};

// hyper's server (1.12) can send no 1xx but 100 and 101, neither for HTTP/1.1 nor for HTTP/2: the application is told
// so each time, and the request goes on.
pub(super) static INFORMATIONAL: abi::Informational =
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
