//! An application behind its C ABI, driven by a host that is only a table of functions.
#![allow(clippy::unwrap_used, reason = "a test: it ends there")]

/// The host.
#[allow(dead_code, reason = "the tests of logs need more of it than these")]
mod fake;
/// How an application starts, hears of its end, and ends.
mod lifecycle;
/// Panics, wherever the application can have them.
mod panics;
/// From a head to a request, from a response to an answer.
mod requests;
/// Changes of protocol.
mod upgrades;
