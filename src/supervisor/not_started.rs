//! A start that failed, and who counts that: each failure is counted in one place.

use std::time::Instant;

use super::patience::Why;
use crate::{Failure, failure::Code};

/// A start that failed.
#[derive(Debug)]
pub(crate) struct NotStarted {
    /// Why.
    pub(crate) failure: Failure,
    pub(crate) count: Count,
}

/// Who counts a failed start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// The one who hears of it.
    Here,
    /// Whoever tells of it, who also says until when there is no other, and why; if there is anything to wait for.
    #[cfg_attr(not(feature = "out-of-process"), expect(dead_code, reason = "only the supervisor does"))]
    There(Option<(Instant, Why)>),
}

impl From<Failure> for NotStarted {
    fn from(failure: Failure) -> Self {
        Self { failure, count: Count::Here }
    }
}

impl From<Code> for NotStarted {
    fn from(code: Code) -> Self {
        Failure::from(code).into()
    }
}
