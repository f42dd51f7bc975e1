//! Applications in processes of their own: requests go to an instance, answers come back.
//!
//! In: a routed request with its [`Facts`](crate::facts::Facts). Out: the instance's response, or a
//! [`Failure`](crate::Failure). Never: sends a request a second time once the instance may have seen a byte of it,
//! or passes on a field that only the host may set.
//!
//! ```text
//! request ─→ switch ─→ fields ─→ upload ─→ pool ══ instance ══ answer ─→ response
//! ```
//!
//! Our own runner is spoken to in HTTP/1.1, which is the cheapest, and in HTTP/2 on the same socket where HTTP/1.1
//! would lose something: trailers, streaming both ways, extended CONNECT.

mod answer;
mod certificate;
mod connection;
pub mod facts;
mod flights;
mod forwarded;
mod forwarder;
mod parcel;
mod pool;
mod socket;
mod switch;
mod target;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use flights::Flights;
pub use forwarder::Forwarder;
#[cfg(feature = "front")]
pub(crate) use parcel::Parcel;
pub(crate) use parcel::Undelivered;
#[cfg(feature = "front")]
pub(crate) use pool::Company;
pub use target::{Limits, Peer, Protocol, Target};

pub use crate::endpoint::Place;
