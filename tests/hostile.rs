//! Clients that mean harm, or are broken: what they get, and that nobody else is harmed. Under both models.

// Frames of HTTP/2 that are of no use, or none.
mod floods;

// Bytes that are no request of HTTP/1, or two.
mod malformed;

// Who sends or takes too slowly, or nothing at all.
mod slow;

use crate::host::{Host, PATIENCE};

/// Somebody else is served, and soon.
async fn canary(host: &Host) {
    let answer = tokio::time::timeout(PATIENCE / 10, host.get("/")).await.expect("an answer soon");
    assert_eq!(answer.status, 200);
}
