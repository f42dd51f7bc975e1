//! What is started and never given back, in numbers.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use axum::{Router, extract::Path, routing::any};

use crate::Shared;

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/threads/{count}", any(threads)).route("/zombies/{count}", any(zombies))
}

/// Starts threads that do not end before the process.
async fn threads(Path(count): Path<usize>) -> String {
    let idle = || {
        loop {
            thread::park();
        }
    };
    let started = (0..count).take_while(|_| thread::Builder::new().spawn(idle).is_ok()).count();
    format!("{started} threads\n")
}

/// Starts children that end at once, and waits for none.
async fn zombies(Path(count): Path<usize>) -> String {
    let child = || Command::new("true").stdin(Stdio::null()).spawn();
    let started = (0..count).take_while(|_| child().is_ok()).count();
    format!("{started} zombies\n")
}
