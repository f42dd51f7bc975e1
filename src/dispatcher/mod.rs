//! Hands a routed request to its application and brings the answer back: one folder for each hosting model.

mod fields;
pub mod in_process;
#[cfg(feature = "out-of-process")]
pub mod out_of_process;
