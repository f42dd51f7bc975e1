//! What the operating system offers only through raw values, behind safe functions. Knows nothing of applications.

pub(crate) mod descriptors;
