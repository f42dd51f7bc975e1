//! Hands a routed request to its application and brings the answer back: one folder for each hosting model, and one for
//! servers that somebody else runs.

pub mod in_process;
#[cfg(feature = "out-of-process")]
pub mod out_of_process;
#[cfg(all(feature = "front", feature = "out-of-process"))]
pub mod upstreams;
