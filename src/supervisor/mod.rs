//! Processes: how instances are started, watched and ended, and when to try again.
//!
//! ```text
//! host ── guard (a process of our own, tiny) ── instance ── whatever it starts
//! ```
//!
//! [`Launch`] says what to start, [`Instance`] is one that runs, [`life::Life`] decides when a start is due. Between
//! host and instance stands the [`guard`], so that nothing survives the host, however it ends.

mod endpoint;
mod environment;
pub mod guard;
mod instance;
mod launch;
pub mod life;
mod runner;

pub use endpoint::Endpoint;
pub use environment::{Environment, Precedence};
pub use guard::Exit;
pub use instance::{End, Instance, StartError};
pub use launch::{Launch, Listen, Program, Ready, Shutdown};
pub use runner::{AppArguments, ArgumentError, Runner, enter_if_asked};
