//! What the door understands: paths and bodies, each a command; and what is answered.

use std::path::PathBuf;

use http::{Method, Uri};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
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
    /// A fresh one of an application, or of all. Answered with [`Changed`], once it serves.
    Recycle(Recycle),
    /// An application not served for a while. Answered with [`Changed`], once it has finished what it had.
    Offline(Offline),
    /// An application served again. Answered with [`Changed`].
    Online(Named),
    /// The generation of an application that was before this one. Answered with [`Changed`], once it serves.
    RollBack(Named),
    /// An application inside the worker. Answered with [`Changed`], once it serves there.
    Promote(Named),
    /// An application in a process of its own. Answered with [`Changed`], once it serves there.
    Demote(Named),
    /// Where it is kept what an application prints. Answered with [`Logs`].
    Logs(Named),
    /// Another program in place of this one. Answered with [`GivingWay`], just before that; what comes of it is in the
    /// [`Status`](super::Status) of the next one.
    Upgrade(Upgrade),
    /// The end. Answered with [`Stopped`], after all else.
    Stop(Stop),
}

/// What to recycle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recycle {
    /// The application's name; without one, the whole worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
}

/// What to take offline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offline {
    /// The application's name.
    pub application: String,
    /// What clients see in its place, in HTML; the host's own page if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// One application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name.
    pub application: String,
}

/// What to upgrade to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upgrade {
    /// The program, by an absolute path; without one, what stands by now where this one was started from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
}

/// How to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// Without finishing what is in flight.
    pub at_once: bool,
}

/// The next program has shown that it can take over, and does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivingWay {
    /// The version of the program that answers this.
    pub from: String,
}

/// A change is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The configuration in force now, counted from the first.
    pub edition: u64,
}

/// Where it is kept what an application prints.
// Not its text: whoever follows that would hold a connection for hours, and the host would have to read for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// The file that is written. The one before it has `.1` at the end of its name, and so on.
    pub file: PathBuf,
    /// Whether others print there, too, because nobody can tell who of those in process it was.
    pub shared: bool,
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
    pub const PATHS: &[(&str, &str)] = &[
        ("GET", "/v1/status"),
        ("POST", "/v1/reload"),
        ("POST", "/v1/recycle"),
        ("POST", "/v1/offline"),
        ("POST", "/v1/online"),
        ("POST", "/v1/rollback"),
        ("POST", "/v1/promote"),
        ("POST", "/v1/demote"),
        ("GET", "/v1/logs"),
        ("POST", "/v1/upgrade"),
        ("POST", "/v1/stop"),
    ];

    /// Understands a request.
    ///
    /// # Errors
    /// Returns what is wrong with it, and what to send instead.
    pub fn read(method: &Method, uri: &Uri, body: &[u8]) -> Result<Self, Problem> {
        let path = uri.path();
        match (method.as_str(), path) {
            ("GET", "/v1/status") => Ok(Self::Status),
            ("POST", "/v1/reload") => parse::<Nothing>(body).map(|Nothing {}| Self::Reload),
            ("POST", "/v1/recycle") => parse(body).map(Self::Recycle),
            ("POST", "/v1/offline") => parse(body).map(Self::Offline),
            ("POST", "/v1/online") => parse(body).map(Self::Online),
            ("POST", "/v1/rollback") => parse(body).map(Self::RollBack),
            ("POST", "/v1/promote") => parse(body).map(Self::Promote),
            ("POST", "/v1/demote") => parse(body).map(Self::Demote),
            ("GET", "/v1/logs") => queried(uri).map(Self::Logs),
            ("POST", "/v1/upgrade") => parse(body).map(Self::Upgrade),
            ("POST", "/v1/stop") => parse(body).map(Self::Stop),
            _ => Err(unknown(method, path)),
        }
    }

    /// As it is sent: method, path, body.
    pub(super) fn write(&self) -> (Method, String, Option<String>) {
        let (path, body) = match self {
            Self::Status => return (Method::GET, "/v1/status".to_owned(), None),
            Self::Logs(Named { application }) => {
                let name = utf8_percent_encode(application, NON_ALPHANUMERIC);
                return (Method::GET, format!("/v1/logs?application={name}"), None);
            }
            Self::Reload => ("/v1/reload", None),
            Self::Recycle(what) => ("/v1/recycle", Some(json(what))),
            Self::Offline(what) => ("/v1/offline", Some(json(what))),
            Self::Online(what) => ("/v1/online", Some(json(what))),
            Self::RollBack(what) => ("/v1/rollback", Some(json(what))),
            Self::Promote(what) => ("/v1/promote", Some(json(what))),
            Self::Demote(what) => ("/v1/demote", Some(json(what))),
            Self::Upgrade(what) => ("/v1/upgrade", Some(json(what))),
            Self::Stop(how) => ("/v1/stop", Some(json(how))),
        };
        (Method::POST, path.to_owned(), body)
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

/// What a query says: one application.
fn queried(uri: &Uri) -> Result<Named, Problem> {
    let mut pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let name = match (pairs.next().and_then(|pair| pair.strip_prefix("application=")), pairs.next()) {
        (Some(name), None) => percent_decode_str(name).decode_utf8().ok(),
        _ => None,
    };
    let application = name.map(String::from);
    let wrong = || Problem::new(Code::BadRequest, "name one application: /v1/logs?application=NAME");
    application.map(|application| Named { application }).ok_or_else(wrong)
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
