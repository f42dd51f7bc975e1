//! A host for web applications that are dynamic libraries: in process over a C ABI, or as supervised child processes.

pub mod body;
#[cfg(feature = "config")]
pub mod config;
pub mod dispatcher;
pub mod facts;
pub mod failure;
#[cfg(feature = "out-of-process")]
pub mod supervisor;
#[cfg(feature = "out-of-process")]
mod sys;

pub use body::Body;
pub use failure::Failure;
