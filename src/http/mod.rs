//! From byte streams to requests, and from answers to responses: what surrounds every request.
//!
//! In: connections from `listener`. Out: requests with their [`Facts`](crate::facts::Facts), in normal form; and the
//! one place where a [`Failure`] becomes a response. Never: knows sites, or reads bodies.

#[cfg(feature = "server")]
mod ahead;
mod answer;
#[cfg(feature = "server")]
mod connection;
#[cfg(feature = "server")]
mod flood;
#[cfg(feature = "server")]
mod frames;
#[cfg(feature = "server")]
mod head_timer;
#[cfg(feature = "server")]
mod idle;
#[cfg(feature = "server")]
mod idlers;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod pace;
mod page;
#[cfg(feature = "server")]
mod progress;
#[cfg(feature = "server")]
mod quiet;
#[cfg(feature = "server")]
mod record;
#[cfg(feature = "server")]
mod requests;
#[cfg(feature = "server")]
mod socket;
#[cfg(feature = "server")]
mod stall;
#[cfg(feature = "server")]
mod streams;
#[cfg(feature = "server")]
mod target;
#[cfg(feature = "server")]
mod version;

pub use answer::{Answer, Answering, is_grpc};
#[cfg(feature = "server")]
pub(crate) use connection::{Connections, Handler};
#[cfg(feature = "server")]
pub(crate) use idlers::Idlers;
#[cfg(feature = "server")]
pub use limits::{Limits, Pace};
pub use page::{Audience, ErrorPage};
#[cfg(feature = "server")]
pub(crate) use record::Outgoing;
#[cfg(feature = "server")]
pub(crate) use requests::Around;
#[cfg(feature = "server")]
pub use target::normalise;

#[cfg(doc)]
use crate::Failure;
