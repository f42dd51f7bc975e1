//! Behaviours 34 to 41: the same application file answers the same, whichever hosting model it runs under.
//!
//! Where it matters which bytes are on the wire, the tests write and read them themselves.

// 34: what an application sees of a request, and that both models show it the same.
mod facts;

// 35: targets in every form, and the authority that goes with them.
mod targets;

// 36: header fields, in both directions.
mod fields;

// 37: bodies that stream both ways at once, as fast as the slower side.
mod streaming;

// 38: interim answers.
mod interim;

// 39: trailers.
mod trailers;

// 40: connections that change their protocol.
mod upgrades;

// 41: clients that go away.
mod cancellation;

// What one connection carries: several requests, HEAD, HTTP/1.0.
mod connections;

use crate::host::{Model, library};

/// Lines for the sample application as one more of the site.
fn sample_at(path: &str, model: Model) -> String {
    let library = library("sample_app").display().to_string();
    let model = model.as_str();
    format!("[[site.application]]\nlibrary = {library:?}\npath = {path:?}\nhosting_model = {model:?}")
}
