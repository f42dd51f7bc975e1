//! Files as answers: which one a path names, how it is opened, how it is sent.
//!
//! Shared by the stage that serves files below a folder, and by the dispatcher, for answers of applications that are files.
//! Never: follows anything out of the folder, or blocks a thread that serves connections.

mod answer;
mod asked;
mod body;
mod given;
mod mark;
#[cfg(feature = "front")]
mod name;
#[cfg(feature = "front")]
mod open;
mod range;

pub(crate) use answer::{Content, answer};
#[cfg(feature = "front")]
pub(crate) use asked::tags;
pub(crate) use asked::{Asked, Outcome, Validators};
pub(crate) use body::Piece;
pub(crate) use given::Given;
pub(crate) use mark::Mark;
#[cfg(feature = "front")]
pub(crate) use mark::date;
#[cfg(feature = "front")]
pub(crate) use name::Name;
#[cfg(feature = "front")]
pub(crate) use open::{Found, NotOpened, Opened, There, glance, open, there};
