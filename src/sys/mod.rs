//! What the operating system offers only through raw values, behind safe functions. Knows nothing of applications.

#[cfg(feature = "out-of-process")]
pub(crate) mod descriptors;
pub(crate) mod listening;
