//! Behaviours 14, 15, 21, 27 and 30 to 32, as far as processes go: what clients notice when a worker crashes or is
//! replaced, and what is left when the supervisor is gone.

// The end of a worker that nobody wanted.
mod crashes;

// Who ended a worker.
mod attribution;
// One application in place of another, in a worker that goes on.
mod changes;

// Applications that leave the host's process, because they ended it too often.
mod demotion;

// A worker that has lost a thread.
mod hangs;

// The end of a worker that somebody wanted, while the next one serves.
mod replacement;

// What is replaced by a fresh one although nothing is wrong.
mod recycling;

// What is stopped because nobody asks it for anything.
mod idle;

// What the host does by itself when files change.
mod watching;

// A file that takes an application offline.
mod offline;

// New generations that do not start, or crash at once.
mod trials;

// All kinds of change, many times over, while clients go on.
mod everything;

// The same at one and the same moment.
mod at_once;

// What is replaced at a time of day.
mod schedule;

// What comes while something else is under way.
mod collisions;

// Another program in place of the supervisor's.
mod upgrade;

// Processes of applications, which outlive the workers that had them.
mod instances;

// The processes themselves: who is whose child, who obeys whom, and whoever started us.
mod processes;

use http::{Method, Request};
use http_body_util::Empty;

use crate::host::{Answer, Client, Host};

/// A GET that need not succeed once it is connected. Being refused a connection ends the test.
pub async fn try_get(client: &Client, path: &str) -> Option<Answer> {
    let request: Request<Empty<bytes::Bytes>> = client.request(Method::GET, path).body(Empty::new()).unwrap();
    client.send(request).await.ok()
}

/// Writes the host's configuration anew.
pub fn rewrite(host: &Host, text: &str) {
    // In one step: whoever reads it sees the old one or the new one.
    let (new, file) = (host.directory.path().join("new.toml"), host.directory.path().join("cohost.toml"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// Has the host read a configuration that only another worker can serve, though all its applications are the same.
fn replace_worker(host: &Host, round: usize) {
    let text = std::fs::read_to_string(host.directory.path().join("cohost.toml")).unwrap();
    let kept: String =
        text.split_inclusive('\n').filter(|line| !line.starts_with("max_connections")).collect();
    rewrite(host, &kept.replace("[server]\n", &format!("[server]\nmax_connections = {}\n", 1000 + round)));
    host.signal("HUP");
}

/// The number of the worker that serves as the `nth`, once it does.
pub async fn served_by(host: &Host, nth: usize) -> u32 {
    pid_in(host, "worker serves", nth).await
}

/// The number of the worker that was started as the `nth`, once it was.
async fn started(host: &Host, nth: usize) -> u32 {
    pid_in(host, "worker starts", nth).await
}

async fn pid_in(host: &Host, message: &str, nth: usize) -> u32 {
    host.log.wait(|_| host.log.of(message).len() >= nth).await;
    host.log.of(message)[nth - 1]["pid"].as_u64().unwrap().try_into().unwrap()
}
