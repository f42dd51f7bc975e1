//! Processes: how instances are started, watched and ended, and when to try again.

mod endpoint;
pub mod life;

pub use endpoint::Endpoint;
