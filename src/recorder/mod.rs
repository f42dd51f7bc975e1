//! The flight recorder: which thread is inside which application, for which request, in memory that outlives the process.
//!
//! In: entries and exits, written by the threads themselves; a crash, noted by a signal handler. Out: a [`Recording`], for
//! whoever kept the [`Recorder`]: the supervisor reads it after a worker's end. Never: a system call, a lock, or a look at
//! a clock on the way of a request.
//!
//! A process that was given no page writes into memory of its own, which its watchdog reads; so there is one way only.

mod layout;
mod page;
mod recording;
mod slot;
mod text;

pub(crate) use self::{
    page::{Registered, slots},
    slot::{About, Slot},
};
pub use self::{
    page::{note_crashes, record_into},
    recording::{Application, Inside, Note, Recorder, Recording},
    slot::Doing,
};
