//! Workers: the processes that serve, as the supervisor starts, tells, replaces and ends them.
//!
//! ```text
//! supervisor ══ lines of JSON, and descriptors, over one socket ══ worker
//! ```
//!
//! [`Plan`] decides, [`Process`] is one worker as the supervisor has it, [`Orders`] and [`Reports`] are the worker's end.
//! The program does what has to do with itself: signals, files, its own log.

mod blame;
mod conversation;
mod event;
mod message;
mod output;
mod plan;
mod process;
mod reap;
mod terms;
#[cfg(test)]
mod tests;
mod verdicts;

pub use self::{
    blame::{Blame, Culprit, Evidence, Request},
    conversation::{Orders, Reports, end_at_once, inherited},
    event::{Action, Event, Outcome, Overdue, Refusal},
    message::{Change, Failed, Order, Refuse, Report, Start, Stuck, Unwell, VERSION, Warm},
    output::Pipe,
    plan::{Plan, State, resume::Settled},
    process::{Carried, Heard, Process},
    reap::Children,
    terms::{Edition, Generation, Part, Preload, Preloaded, Standby, Terms},
    verdicts::{Held, Leniency, Refused, Stage, Trial, Verdict, Verdicts},
};

/// Whether this process was started as a worker; then [`inherited`] is the next thing to call.
#[must_use]
pub fn asked() -> bool {
    std::env::args_os().nth(1).is_some_and(|marker| marker == WORKER)
}

/// The first argument of a worker.
const WORKER: &str = "--cohost-worker";
