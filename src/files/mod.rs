//! Files as answers: which one a path names, how it is opened, how it is sent.
//!
//! Shared by the stage that serves files below a folder, and by the dispatcher, for answers of applications that are files.
//! Never: follows anything out of the folder, or blocks a thread that serves connections.

#[cfg(feature = "front")]
mod answer;
#[cfg(feature = "front")]
mod asked;
mod body;
#[cfg(feature = "front")]
mod name;
#[cfg(feature = "front")]
mod open;
#[cfg(feature = "front")]
mod range;

#[cfg(feature = "front")]
pub(crate) use answer::{Content, answer};
#[cfg(feature = "front")]
pub(crate) use asked::{Asked, Outcome, Validators};
pub(crate) use body::Piece;
#[cfg(feature = "front")]
pub(crate) use name::Name;
#[cfg(feature = "front")]
pub(crate) use open::{Found, NotOpened, Opened, open};
