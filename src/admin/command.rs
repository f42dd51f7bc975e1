//! What the door understands: paths and bodies, each a command; and what is answered.

use http::{Method, Uri};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::problem::{Code, Problem};
use crate::nearest::nearest;

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// To know how things are. Answered with a [`Status`](super::Status).
    Status,
    /// The configuration read again, and in force. Answered with [`Changed`].
    Reload,
    /// The end. Answered with [`Stopped`], after all else.
    Stop(Stop),
}

/// How to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// Without finishing what is in flight.
    pub at_once: bool,
}

/// A change is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The configuration in force now, counted from the first.
    pub edition: u64,
}

/// The host has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Whether every request was finished; otherwise some were cut off, or a process had to be killed.
    pub gracefully: bool,
}

/// A command, and the reply that somebody waits for.
#[derive(Debug)]
pub struct Call {
    /// What is wanted.
    pub command: Command,
    /// Where to say what came of it.
    pub reply: Reply,
}

/// Whoever waits for what comes of a command. Dropping it tells them that the host is ending.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Result<serde_json::Value, Problem>>);

/// The other end of a [`Reply`].
pub(super) type Replied = oneshot::Receiver<Result<serde_json::Value, Problem>>;

impl Reply {
    pub(super) fn new() -> (Self, Replied) {
        let (sender, replied) = oneshot::channel();
        (Self(sender), replied)
    }

    /// The effect is there.
    pub fn done(self, answer: &impl Serialize) {
        let answer = serde_json::to_value(answer).expect("an answer has nothing that JSON has not");
        let _gone_away = self.0.send(Ok(answer));
    }

    /// There will be no effect.
    pub fn refuse(self, problem: Problem) {
        let _gone_away = self.0.send(Err(problem));
    }
}

impl Command {
    /// Every path, with the method that it is for.
    pub const PATHS: &[(&str, &str)] = &[("GET", "/v1/status"), ("POST", "/v1/reload"), ("POST", "/v1/stop")];

    /// Understands a request.
    ///
    /// # Errors
    /// Returns what is wrong with it, and what to send instead.
    pub fn read(method: &Method, uri: &Uri, body: &[u8]) -> Result<Self, Problem> {
        let path = uri.path();
        match (method.as_str(), path) {
            ("GET", "/v1/status") => Ok(Self::Status),
            ("POST", "/v1/reload") => parse::<Nothing>(body).map(|Nothing {}| Self::Reload),
            ("POST", "/v1/stop") => parse(body).map(Self::Stop),
            _ => Err(unknown(method, path)),
        }
    }

    /// As it is sent: method, path, body.
    pub(super) fn write(&self) -> (Method, &'static str, Option<String>) {
        match self {
            Self::Status => (Method::GET, "/v1/status", None),
            Self::Reload => (Method::POST, "/v1/reload", None),
            Self::Stop(stop) => (Method::POST, "/v1/stop", Some(json(stop))),
        }
    }
}

/// The body of commands that need nothing said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    // Nothing to say may be said by nothing.
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(Code::BadRequest, format!("the body is not as it should be: {error}")))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a command has nothing that JSON has not")
}

fn unknown(method: &Method, path: &str) -> Problem {
    if let Some((other, _)) = Command::PATHS.iter().find(|(_, known)| *known == path) {
        return Problem::new(Code::WrongMethod, format!("{path} is for {other}, and not for {method}"));
    }
    let paths: Vec<&str> = Command::PATHS.iter().map(|(_, path)| *path).collect();
    let meant = match nearest(path, &paths) {
        Some(path) => format!("did you mean {path}?"),
        None => format!("there are {}", paths.join(", ")),
    };
    Problem::new(Code::UnknownPath, format!("there is no {path}; {meant}"))
}
