//! What a [`Plan`](super::Plan) is told, and what it wants done.

use super::{
    super::Exit,
    terms::{Edition, Generation, Part, Preload, Preloaded, Terms},
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker has understood its configuration, and could serve.
    Configured(Generation),
    /// A worker has started, or tried to start, what is to be preloaded.
    Ready(Generation, Preloaded),
    /// A worker accepts, as it was told to.
    Serving(Generation),
    /// A worker has ended, and was reaped.
    Exited(Generation, Exit),
    /// A worker has ended and was reaped, and an application did it, which is dealt with by itself: workers as such may
    /// be trusted as before.
    Felled(Generation, Exit),
    /// The system refused to start a worker.
    NotStarted(Generation),
    /// A worker has closed its end of the conversation. Usually it is ending.
    Hung(Generation),
    /// A worker serves another edition now, as it was told to. With how many generations of libraries it has loaded and
    /// uses no more.
    Changed(Generation, Edition, usize),
    /// A worker goes on with the edition that it had: an application of the new one does not start.
    NotChanged(Generation, Edition, usize),
    /// There is a new edition, which another worker has to serve.
    Replace(Edition, Terms),
    /// There is a new edition, to which the worker that serves can change.
    Change(Edition, Terms),
    /// A worker has to be replaced by a fresh one, which serves before it drains.
    Recycle(Generation),
    /// Everything has to end. The second time: at once.
    Stop,
    /// Time went by, up to what [`Plan::due`](super::Plan::due) says.
    Tick,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a worker.
    Start {
        /// Under this number.
        generation: Generation,
        /// With this configuration.
        edition: Edition,
        /// For these applications.
        part: Part,
        /// Starting these before it counts as ready.
        preload: Preload,
    },
    /// Hand it the listening sockets: it accepts from now on.
    Serve(Generation),
    /// It changes to this edition while it serves; sockets that it needs for that and has not come before.
    Change(Generation, Edition),
    /// It gives up the change that it was told to make, unless that is done already.
    GiveUp(Generation),
    /// This configuration is in force: one of its workers serves. Comes before others are told to drain.
    Adopt(Edition),
    /// This configuration will not be in force.
    Refuse(Edition, Refusal),
    /// It finishes what is in flight, and ends.
    Drain(Generation),
    /// It ends at once.
    Hurry(Generation),
    /// Kill it.
    Kill(Generation, Overdue),
    /// Nothing is left.
    End(Outcome),
}

/// Why a new configuration is not put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its worker ended.
    Crashed(Exit),
    /// The system would not start a worker.
    NotStarted,
    /// Its worker was not ready in time, or did not change in time.
    TimedOut,
    /// An application that is to be preloaded does not start.
    PreloadFailed,
    /// An application that runs, or is to be preloaded, does not start anew.
    NotChanged,
    /// A newer one came.
    Superseded,
    /// Everything is ending.
    Stopping,
}

/// What a worker failed to do in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// To become ready, or to accept when it was told to.
    Start,
    /// To end.
    Stop,
    /// To end after it had closed its end of the conversation.
    Hung,
}

/// How everything ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that was in flight was finished.
    Gracefully,
    /// Something had to be cut off, or killed.
    Forced,
}
