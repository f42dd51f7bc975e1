//! Processes: how workers and instances are started, watched and ended, and when to try again.
//!
//! ```text
//! supervisor ── worker
//!            └─ guard (a process of our own, tiny) ── instance ── whatever it starts
//! ```
//!
//! [`Launch`] says what to start, [`Instance`] is one that runs, [`life::Life`] decides when a start is due. Before each
//! instance stands the [`guard`], so that nothing survives the host, however it ends. [`worker`] is the other half: how
//! the process that serves is replaced while it serves; [`lending`] has the instances stay meanwhile.

#[cfg(feature = "out-of-process")]
mod cgroup;
#[cfg(feature = "out-of-process")]
mod environment;
#[cfg(feature = "out-of-process")]
pub mod files;
#[cfg(feature = "out-of-process")]
pub mod guard;
#[cfg(feature = "out-of-process")]
mod instance;
#[cfg(feature = "out-of-process")]
mod instances;
#[cfg(feature = "out-of-process")]
mod launch;
#[cfg(feature = "out-of-process")]
pub mod lending;
pub mod life;
#[cfg(feature = "out-of-process")]
pub mod memory;
mod not_started;
mod patience;
#[cfg(feature = "out-of-process")]
pub mod recycling;
#[cfg(feature = "out-of-process")]
mod runner;
#[cfg(feature = "out-of-process")]
mod stamp;
#[cfg(feature = "out-of-process")]
mod wire;
#[cfg(feature = "out-of-process")]
pub mod worker;

#[cfg(feature = "out-of-process")]
pub use environment::{Environment, Precedence};
#[cfg(feature = "out-of-process")]
pub use guard::Exit;
#[cfg(feature = "out-of-process")]
pub(crate) use instance::DRAIN_FIELD;
#[cfg(feature = "out-of-process")]
pub use instance::{End, Instance, StartError, look_up};
#[cfg(feature = "out-of-process")]
pub(crate) use instances::Held;
#[cfg(feature = "out-of-process")]
pub use instances::Instances;
#[cfg(feature = "out-of-process")]
pub use launch::{Launch, Listen, Program, Ready, Shutdown};
pub(crate) use not_started::{Count, NotStarted};
#[cfg(feature = "out-of-process")]
pub(crate) use runner::exit_of;
#[cfg(feature = "out-of-process")]
pub use runner::{AppArguments, ArgumentError, Role, Runner};
#[cfg(feature = "out-of-process")]
pub use stamp::Stamp;

#[cfg(feature = "out-of-process")]
pub use crate::endpoint::Endpoint;
