//! Clients that mean harm, or are broken: what they get, and that nobody else is harmed. Under both models.

// Who sends or takes too slowly, or nothing at all.
mod slow;

use crate::host::{Host, PATIENCE};

/// Somebody else is served, and soon.
async fn canary(host: &Host) {
    let answer = tokio::time::timeout(PATIENCE / 10, host.get("/")).await.expect("an answer soon");
    assert_eq!(answer.status, 200);
}
