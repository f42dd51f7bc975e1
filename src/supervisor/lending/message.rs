//! What supervisor and worker say to each other about instances.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::super::{Endpoint, Exit, Launch, patience::Why, wire};
use crate::failure::{Code, Failure};

/// A wish of a worker for an instance, and what became of it; counted by the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ask(pub u64);

/// A worker wants an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Which wish it is.
    pub ask: Ask,
    /// Of what.
    pub launch: Launch,
}

/// A worker has no more use for an instance, or for one that it wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The wish.
    pub ask: Ask,
    /// What shall become of it.
    pub parting: Parting,
}

/// Why a worker lets go of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parting {
    /// It shall end: the application was changed, stopped or removed.
    ForGood,
    /// The worker itself ends: whoever comes next may want it.
    Leaving,
}

/// A worker has tried an instance with requests of its own, before any client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The wish that it was lent for.
    pub ask: Ask,
    /// Why it is of no use, if it is not. Then the answer is when to try again.
    pub failed: Option<NotLent>,
}

/// A worker has an instance now.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lending {
    /// The wish.
    pub ask: Ask,
    /// The process's number.
    pub pid: u32,
    /// Where it listens.
    #[serde(with = "wire::endpoint")]
    pub endpoint: Endpoint,
    /// The pairing token.
    #[serde(with = "wire::text")]
    pub token: Arc<str>,
    /// Whether it ran already.
    pub found: Found,
}

/// Where an instance came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// It was started for the one who wanted it.
    Started,
    /// It ran already: another worker had it.
    Running,
}

/// There is no instance for a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotLent {
    /// The wish.
    pub ask: Ask,
    /// The failure's code.
    #[serde(with = "wire::written")]
    pub code: Code,
    /// What happened.
    pub detail: String,
    /// What led to it.
    pub cause: Option<String>,
    /// What it printed last.
    pub output: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// Why the application is not tried until then, whoever wants it.
    #[serde(default)]
    pub why: Option<Why>,
    /// Whether the supervisor counts that as a failure of the application; otherwise the worker does.
    #[serde(default)]
    pub counted: bool,
}

/// An instance has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The wish that it was lent for.
    pub ask: Ask,
    /// How.
    pub exit: Exit,
    /// Whether it had to be killed, because it did not stop in time.
    pub forced: bool,
    /// What it printed last.
    pub output: String,
}

/// An instance that was let go of for good goes on: another worker has it, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The wish that it was lent for.
    pub ask: Ask,
}

impl fmt::Debug for Lending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token, which is a secret.
        f.debug_struct("Lending").field("ask", &self.ask).field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl NotLent {
    pub(super) fn new(ask: Ask, failure: &Failure) -> Self {
        Self {
            ask,
            code: failure.code,
            detail: failure.detail.clone(),
            cause: failure.source.as_ref().map(ToString::to_string),
            output: failure.output.as_deref().map(str::to_owned),
            retry_after: failure.retry_after,
            why: None,
            counted: false,
        }
    }

    /// The supervisor has counted it, and does not try again for that long, if it says so.
    pub(super) fn counted(self, pause: Option<(Duration, Why)>) -> Self {
        let (retry_after, why) = pause.unzip();
        Self { retry_after, why, counted: true, ..self }
    }
}

impl From<NotLent> for Failure {
    fn from(told: NotLent) -> Self {
        Self {
            detail: told.detail,
            retry_after: told.retry_after,
            output: told.output.map(Arc::from),
            source: told.cause.map(Into::into),
            ..Self::new(told.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_arrives_as_it_was() {
        let failure = Failure {
            retry_after: Some(Duration::from_secs(2)),
            output: Some("the end".into()),
            ..Failure::new(Code::SpawnFailed).detail("cannot start x").source("not executable")
        };
        let text = serde_json::to_string(&NotLent::new(Ask(1), &failure)).unwrap();
        let arrived = Failure::from(serde_json::from_str::<NotLent>(&text).unwrap());
        assert_eq!(format!("{arrived:?}"), format!("{failure:?}"));
    }

    #[test]
    fn a_lending_arrives_as_it_was_and_does_not_show_its_token() {
        for endpoint in [Endpoint::Unix("/run/x/app".into()), Endpoint::Tcp(([127, 0, 0, 1], 1).into())] {
            let lending =
                Lending { ask: Ask(1), pid: 7, endpoint, token: "secret".into(), found: Found::Running };
            let text = serde_json::to_string(&lending).unwrap();
            assert_eq!(serde_json::from_str::<Lending>(&text).unwrap(), lending);
            assert!(!format!("{lending:?}").contains("secret"));
        }
    }
}
