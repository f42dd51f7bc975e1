//! Why a 1xx response was not sent.

use cohost_abi::{Code, code};

use crate::ffi::describe;

/// A 1xx response was not sent. The request goes on in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InformError {
    /// The host, or this request's protocol, cannot send any. A normal outcome.
    #[error("this connection cannot carry informational responses")]
    Unsupported,
    /// Called from somewhere else than the request's own future, or after its answer.
    #[error("informational responses can only be sent from inside the request's own future")]
    OutsideOfRequest,
    /// The client went away.
    #[error("the client went away")]
    Gone,
    /// The host refused it: a status that is no 1xx, or is 101.
    #[error("the informational response was refused: {0}")]
    Refused(&'static str),
}

impl InformError {
    pub(crate) fn from_code(code: Code) -> Self {
        match code {
            code::E_UNSUPPORTED => Self::Unsupported,
            code::E_STATE => Self::OutsideOfRequest,
            code::E_GONE => Self::Gone,
            code => Self::Refused(describe(code)),
        }
    }
}
