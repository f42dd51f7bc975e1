//! Processes: how instances are started, watched and ended.

mod endpoint;

pub use endpoint::Endpoint;
