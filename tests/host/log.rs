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
}

impl Log {
    pub fn read(stderr: ChildStderr) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (change, changed) = watch::channel(());
        std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || {
                for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                    lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                    change.send_replace(());
                }
            }
        });
        Self { lines, changed }
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
        let mut changed = self.changed.clone();
        let found = async {
            loop {
                changed.borrow_and_update();
                if let Some(event) = self.events().into_iter().find(|event| wanted(event)) {
                    return event;
                }
                if changed.changed().await.is_err() {
                    panic!("the host ended without the event\n{}", self.text());
                }
            }
        };
        match tokio::time::timeout(PATIENCE / 2, found).await {
            Ok(event) => event,
            Err(_) => panic!("no such event in\n{}", self.text()),
        }
    }

    /// Waits until this was said so often, and sees that it was not said more often.
    pub async fn times(&self, message: &str, count: usize) {
        self.wait(|_| self.of(message).len() >= count).await;
        assert_eq!(self.of(message).len(), count, "{message}\n{}", self.text());
    }

    /// Waits for an event with this message.
    pub async fn message(&self, message: &str) -> serde_json::Value {
        self.wait(|event| event["message"] == message).await
    }
}
