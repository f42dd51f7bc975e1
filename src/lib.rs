//! A host for web applications that are dynamic libraries: in process over a C ABI, or as supervised child processes.

pub mod body;
#[cfg(feature = "config")]
pub mod config;
pub mod dispatcher;
pub mod facts;
pub mod failure;
pub mod http;
#[cfg(feature = "server")]
pub mod listener;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "out-of-process")]
pub mod supervisor;

pub use body::Body;
pub use failure::Failure;
#[cfg(feature = "server")]
pub use server::Server;
