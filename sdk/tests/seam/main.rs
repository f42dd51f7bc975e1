//! An application behind its C ABI, driven by a host that is only a table of functions.

/// The host.
mod fake;
/// How an application starts, hears of its end, and ends.
mod lifecycle;
/// What becomes of events and panics.
mod logs;
/// From a head to a request, from a response to an answer.
mod requests;
/// Changes of protocol.
mod upgrades;
