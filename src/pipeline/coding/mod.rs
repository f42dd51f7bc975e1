//! Bodies that become smaller, or larger, on their way.
//!
//! Built on the codecs of the async-compression project alone: its readers and tower-http's layers would hide when there
//! is nothing more for the moment, which is when an event has to leave.

mod body;
mod coder;

pub(super) use body::Coded;
pub(super) use coder::{Decoder, Encoder};
