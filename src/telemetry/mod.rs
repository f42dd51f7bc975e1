//! What is said about requests and applications. A leaf: knows nothing of who says it.

pub(crate) mod foreign;
#[cfg(feature = "out-of-process")]
pub mod output;
#[cfg(feature = "out-of-process")]
pub(crate) mod relay;
