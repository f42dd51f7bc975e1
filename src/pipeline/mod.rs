//! What happens to every request of an application before it gets there: one effect a file, each a tower service
//! around the next. None of them knows how the application is hosted.

#[cfg(feature = "front")]
mod asked;
#[cfg(feature = "front")]
mod auth;
mod body_limit;
#[cfg(feature = "front")]
pub mod check;
#[cfg(feature = "front")]
mod clients;
#[cfg(feature = "front")]
mod coding;
#[cfg(feature = "front")]
mod compression;
mod concurrency;
#[cfg(feature = "front")]
mod cors;
#[cfg(feature = "front")]
mod counters;
mod deadline;
#[cfg(feature = "front")]
mod decompression;
#[cfg(feature = "front")]
mod files;
#[cfg(feature = "front")]
mod filter;
#[cfg(feature = "front")]
mod front;
#[cfg(feature = "front")]
mod headers;
#[cfg(feature = "front")]
mod https;
#[cfg(feature = "front")]
mod ip;
#[cfg(feature = "front")]
mod kept;
#[cfg(feature = "front")]
mod limit;
#[cfg(feature = "front")]
mod rewrite;

pub use body_limit::{BodyLimit, Limiting};
#[cfg(feature = "front")]
pub use compression::{Compressing, Compression};
pub use concurrency::{Admitting, Concurrency};
pub use deadline::{Deadline, Timing};
#[cfg(feature = "front")]
pub use decompression::{Decompression, Unpacking};
#[cfg(feature = "front")]
pub use files::Files;
#[cfg(feature = "front")]
pub use front::around;
#[cfg(feature = "front")]
pub use kept::Kept;
#[cfg(feature = "front")]
pub use rewrite::fired;
