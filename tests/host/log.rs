//! The host's log, line by line, as it is written.

use std::{
    io::{BufRead as _, BufReader},
    process::ChildStderr,
    sync::{Arc, Mutex},
};

use tokio::sync::watch;

use super::PATIENCE;

/// What the host has logged so far.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    changed: watch::Receiver<()>,
    start: std::sync::mpsc::Sender<()>,
}

impl Log {
    /// Reads from the beginning, but not before it is told to.
    pub fn of_process(stderr: ChildStderr) -> Self {
        let (start, started) = std::sync::mpsc::channel();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (change, changed) = watch::channel(());
        std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || {
                // Who is gone will not tell.
                let _go = started.recv();
                for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                    lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                    change.send_replace(());
                }
            }
        });
        Self { lines, changed, start }
    }

    /// Begins to read.
    pub fn read(&self) {
        let _reads_already = self.start.send(());
    }

    pub fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// All lines that are JSON.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Those with this message.
    pub fn of(&self, message: &str) -> Vec<serde_json::Value> {
        self.events().into_iter().filter(|event| event["message"] == message).collect()
    }

    /// Waits for an event.
    pub async fn wait(&self, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        self.until(|events| events.iter().find(|event| wanted(event)).cloned()).await
    }

    /// Waits for that many events with this message; none of them is one too many.
    pub async fn times(&self, message: &str, times: usize) {
        self.at_least(message, times).await;
        assert_eq!(self.of(message).len(), times, "{message:?} in\n{}", self.text());
    }

    /// Waits for that many events with this message, or more.
    pub async fn at_least(&self, message: &str, times: usize) {
        let count =
            |events: &[serde_json::Value]| events.iter().filter(|event| event["message"] == message).count();
        self.until(|events| (count(events) >= times).then_some(())).await;
    }

    /// Waits until `found` finds something in all that was said.
    async fn until<T>(&self, found: impl Fn(&[serde_json::Value]) -> Option<T>) -> T {
        let mut changed = self.changed.clone();
        let finding = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = found(&self.events()) {
                    return found;
                }
                if changed.changed().await.is_err() {
                    panic!("the host ended without the event\n{}", self.text());
                }
            }
        };
        match tokio::time::timeout(PATIENCE / 2, finding).await {
            Ok(found) => found,
            Err(_) => panic!("no such event in\n{}", self.text()),
        }
    }

    /// Waits for an event with this message.
    pub async fn message(&self, message: &str) -> serde_json::Value {
        self.wait(|event| event["message"] == message).await
    }
}
