//! `cohost status --watch`: goes on as long as somebody looks and there is something to see.

use std::{os::unix::process::ExitStatusExt as _, process::Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::host::{Host, Model, PATIENCE, Setup, kill, program};

/// The command at work, and what it prints.
struct Watching {
    command: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(host: &Host) -> Self {
        // Whoever runs the tests in the background of a script has them ignore it, and with them all that they start.
        let mut command = Command::new("env");
        command
            .arg("--default-signal=INT")
            .arg(program())
            .args(["status", "--json", "--watch", "--runtime-dir"])
            .arg(host.runtime_dir());
        let mut command = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(command.stdout.take().unwrap()).lines();
        Self { command, lines }
    }

    /// The next that it prints.
    async fn next(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(PATIENCE / 2, self.lines.next_line()).await.expect("a line in time");
        line.unwrap().map(|line| serde_json::from_str(&line).unwrap())
    }

    /// Waits until it prints that the application is so.
    async fn until(&mut self, state: &str) {
        while self.next().await.expect("it goes on")["sites"][0]["applications"][0]["state"] != state {}
    }

    /// Waits until it prints no more.
    async fn until_silent(&mut self) {
        let silent = async { while self.next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, silent).await.expect("it stops in time");
    }

    /// Reads no more, and waits for its end.
    async fn ended(self) -> std::process::ExitStatus {
        let Self { mut command, lines } = self;
        drop(lines);
        tokio::time::timeout(PATIENCE / 2, command.wait()).await.expect("it ends in time").unwrap()
    }
}

#[tokio::test]
async fn what_changes_is_seen_until_somebody_interrupts_it() {
    let host = Setup::sample(Model::InProcess).start().await;
    let mut watching = Watching::start(&host);
    watching.until("idle").await;
    host.get("/plaintext").await;
    watching.until("running").await;
    kill(watching.command.id().unwrap(), Signal::INT);
    // Nothing but whole lines to its end.
    watching.until_silent().await;
    // As shells want it, so that a script that is interrupted ends as a whole.
    assert_eq!(watching.ended().await.signal(), Some(Signal::INT.as_raw()));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn it_ends_when_nobody_reads_any_more() {
    let host = Setup::sample(Model::InProcess).start().await;
    let mut watching = Watching::start(&host);
    watching.until("idle").await;
    // As `head` does when it has its lines.
    assert_eq!(watching.ended().await.code(), Some(0));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn it_goes_on_through_an_upgrade() {
    let host = Setup::sample(Model::InProcess).start().await;
    let mut watching = Watching::start(&host);
    watching.until("idle").await;
    assert_eq!(host.operator(&["upgrade"]).await.code, 0);
    while watching.next().await.expect("it goes on")["host"]["upgraded"].is_null() {}
    assert_eq!(watching.ended().await.code(), Some(0));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn it_ends_with_the_host_and_says_so() {
    let host = Setup::sample(Model::InProcess).start().await;
    let mut watching = Watching::start(&host);
    watching.until("idle").await;
    assert!(host.stop().await.success());
    watching.until_silent().await;
    assert_eq!(watching.ended().await.code(), Some(6));
}
