//! The operator's door: a private Unix socket in the runtime directory, on which a running host is asked and told.
//!
//! In: requests of HTTP/1.1 by the user that the host runs as, or by root. Out: [`Call`]s, each a [`Command`] with a
//! [`Reply`] to give once the effect is there; answers in JSON, refusals as `application/problem+json`. Never: decides
//! anything, or lets a slow client cost more than a bounded place and a bounded time.
//!
//! ```text
//! Client ── cohost.sock ── Door ── Call { command, reply } ──→ whoever runs the host
//! ```
//!
//! `docs/admin.openapi.json` describes it, and a test holds the two together.

mod client;
mod command;
mod directory;
mod door;
mod problem;
mod status;
#[cfg(test)]
mod tests;

pub use self::{
    client::{AskError, Client},
    command::{
        Call, Changed, Command, GivingWay, Logs, Named, Offline, Recycle, Reply, Stop, Stopped, Upgrade,
    },
    directory::{Directory, DirectoryError, socket},
    door::Door,
    problem::{Code, Problem},
    status::{
        Application, Certificate, Crashed, Failed, Host, HostState, NotIssued, Replacement, Site, State,
        Status, Upgraded, Upstream, UpstreamFailed, UpstreamState, When, Worker, WorkerState,
    },
};
pub use crate::nearest::nearest;
