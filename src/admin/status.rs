//! What the host tells of itself: a tree, as it is sent.
//!
//! Words of a later build are read as `unknown`, fields of a later build are skipped: a program may ask a host that is
//! newer or older than itself.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{HostingModel, application};

/// A running host, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The host itself.
    pub host: Host,
    /// What it serves, in the order of the configuration.
    pub sites: Vec<Site>,
    /// The processes that serve, or wait for it, oldest first.
    pub workers: Vec<Worker>,
}

/// The host itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Of the program.
    pub version: String,
    /// Of the supervisor.
    pub pid: u32,
    /// When it was started.
    pub since: When,
    /// What it is about.
    pub state: HostState,
    /// The file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<PathBuf>,
    /// Which configuration is in force, counted from the first.
    pub edition: u64,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// The program before this one, if it has given way to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgraded: Option<Upgraded>,
    /// The last crash of a worker of which nobody knows which application it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crashed: Option<Crashed>,
}

/// How a program followed another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// The version of that one.
    pub from: String,
    /// What became of its worker.
    pub worker: Replacement,
}

/// What became of a worker that was to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Replacement {
    /// It serves until the next one is ready.
    UnderWay,
    /// The next one serves.
    Done,
    /// The next one did not get ready; this one goes on.
    Refused,
    /// Of a later build.
    #[serde(other)]
    Unknown,
}

/// What a host is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HostState {
    /// No worker serves yet, or none again.
    Starting,
    /// A worker serves.
    Serving,
    /// It finishes what is in flight, and ends.
    Stopping,
    /// Of a later build.
    #[serde(other)]
    Unknown,
}

/// A site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// As they are written.
    pub bindings: Vec<String>,
    /// What it presents to clients that speak TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// Its applications, in the order of the configuration.
    pub applications: Vec<Application>,
}

/// A certificate that a site presents, or is to present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The host names that it is for; of one that is not there yet, those that it is ordered for.
    pub names: Vec<String>,
    /// Its file.
    pub file: PathBuf,
    /// Whether the host orders it by itself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ordered: bool,
    /// Until when it is valid; nothing if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<When>,
    /// Why it was not issued or renewed when it was last ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<NotIssued>,
}

/// Why there is no certificate from an authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotIssued {
    /// What the authority said, or what was in its way.
    pub detail: String,
    /// When.
    pub at: When,
    /// When it is tried again.
    pub retry_at: When,
}

/// An application, as the worker knows it that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its name, the one that commands take.
    pub name: String,
    /// Its path, `/` at the root.
    pub path: String,
    /// The library, the command, the folder of files, or the places of upstreams.
    pub artifact: String,
    /// Where its code runs; `static` for files, which have none, and `upstreams` for servers that run elsewhere.
    pub hosting_model: String,
    /// Where the configuration wants it to run.
    pub configured_hosting_model: String,
    /// What requests find.
    pub state: State,
    /// Which loaded copy of its library it is, counted in its worker. In process only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// Its own processes. Out of process only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pids: Vec<u32>,
    /// Whether it was gone back to this generation, and stays so until its file changes or somebody recycles it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rolled_back: bool,
    /// Requests that it has, until their answers have ended.
    #[serde(default)]
    pub in_flight: u64,
    /// Requests that came since the worker has it.
    #[serde(default)]
    pub requests: u64,
    /// Requests that wait for its start.
    #[serde(default)]
    pub waiting: u64,
    /// Its last failure to start, or unexpected end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// The last crash of a worker that it caused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crashed: Option<Crashed>,
    /// The servers that its requests are spread over, if it is upstreams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
}

/// A server that somebody else runs, as one of several that are an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Where it listens.
    pub place: String,
    /// Whether it gets requests.
    pub state: UpstreamState,
    /// Requests that it has, until their answers have ended.
    #[serde(default)]
    pub in_flight: u64,
    /// Requests that it got since the worker knows it.
    #[serde(default)]
    pub requests: u64,
    /// Those of them that failed.
    #[serde(default)]
    pub failures: u64,
    /// Until when it is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<When>,
    /// The last failure of a request, or of the question whether it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<UpstreamFailed>,
}

/// Whether an upstream gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UpstreamState {
    /// It does.
    Up,
    /// It was out, and has one request at a time until one has gone well.
    Trying,
    /// It failed too many requests, and is left alone for a while.
    Out,
    /// It does not answer as it should when it is asked how it is.
    Down,
    /// Of a later build.
    #[serde(other)]
    Unknown,
}

/// What went wrong with an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamFailed {
    /// What happened.
    pub detail: String,
    /// When.
    pub at: When,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What requests for an application find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Nothing runs; the next request starts it.
    Idle,
    /// It is being started; requests wait.
    Starting,
    /// It serves.
    Running,
    /// It failed, and will be tried again later; requests hear why.
    Failed,
    /// It was ended, and stays so.
    Stopped,
    /// Somebody has taken it offline; requests hear so.
    Offline,
    /// The worker does not say, or says what only a later build knows.
    #[serde(other)]
    Unknown,
}

/// Why an application did not start, or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The failure's code, as in docs/failures.md.
    pub code: String,
    /// What happened.
    pub detail: String,
    /// When.
    pub at: When,
    /// When it will be tried again, if it has to wait for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<When>,
}

/// A crash of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crashed {
    /// When.
    pub at: When,
    /// The signal, or the code if somebody called `exit`.
    pub exit: String,
    /// What was being executed, if that is known: `GET /path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The id of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Which applications it may have been, where it is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<String>,
    /// The end of what the worker had printed, up to 30 KB. All applications in it print there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How many of the same kind there were since the host was started, this one included.
    pub times: u64,
}

/// A worker: a process that serves, or waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Counted from the first that this host started.
    pub generation: u64,
    /// Its number.
    pub pid: u32,
    /// What it is about.
    pub state: WorkerState,
    /// Its configuration.
    pub edition: u64,
    /// When it was started.
    pub since: When,
    /// It serves only what runs in processes of its own: workers with the rest crashed.
    #[serde(default)]
    pub safe: bool,
    /// Requests that its applications have.
    #[serde(default)]
    pub in_flight: u64,
    /// Whether it answered when it was asked just now.
    pub answers: bool,
}

/// What a worker is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkerState {
    /// It reads its configuration, and starts what is preloaded.
    Starting,
    /// It could serve.
    Waiting,
    /// It serves.
    Serving,
    /// It finishes what it has, and ends.
    Draining,
    /// It was killed.
    Killed,
    /// Of a later build.
    #[serde(other)]
    Unknown,
}

impl Status {
    /// The application of this name.
    #[must_use]
    pub fn application(&self, name: &str) -> Option<&Application> {
        self.sites.iter().flat_map(|site| &site.applications).find(|application| application.name == name)
    }
}

impl Application {
    /// One of which nobody has told anything yet.
    #[must_use]
    pub fn untold(name: &str, path: &str, artifact: String, hosting_model: HostingModel) -> Self {
        Self {
            name: name.to_owned(),
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            artifact,
            hosting_model: hosting_model.to_string(),
            configured_hosting_model: hosting_model.to_string(),
            state: State::Unknown,
            generation: None,
            pids: Vec::new(),
            rolled_back: false,
            in_flight: 0,
            requests: 0,
            waiting: 0,
            failed: None,
            crashed: None,
            upstreams: Vec::new(),
        }
    }

    /// Takes over what the application itself tells.
    #[must_use]
    pub fn told(mut self, status: &application::Status) -> Self {
        self.hosting_model = status.hosting_model.to_string();
        self.state = match status.state {
            application::State::Idle => State::Idle,
            application::State::Starting => State::Starting,
            application::State::Running => State::Running,
            application::State::Failed { .. } => State::Failed,
            application::State::Stopped => State::Stopped,
        };
        self.generation = status.generation;
        self.pids = status.pid.into_iter().collect();
        self.in_flight = status.in_flight as u64;
        self.requests = status.requests;
        self.waiting = status.waiting as u64;
        let retry_at = match status.state {
            application::State::Failed { retry_at } => Some(When(retry_at)),
            _ => None,
        };
        self.failed = status.failed.as_ref().map(|failed| Failed {
            code: failed.code.to_string(),
            detail: failed.detail.clone(),
            at: When(failed.at),
            retry_at,
        });
        self
    }
}

/// A time, sent as RFC 3339 says: `2026-01-31T12:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct When(pub SystemTime);

impl When {
    /// How long ago it was at `now`; nothing if it is still to come.
    #[must_use]
    pub fn ago(self, now: SystemTime) -> Duration {
        now.duration_since(self.0).unwrap_or_default()
    }

    /// How long it takes from `now` until then; nothing if it was already.
    #[must_use]
    pub fn from(self, now: SystemTime) -> Duration {
        self.0.duration_since(now).unwrap_or_default()
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_millis(self.0))
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text).map(Self).map_err(D::Error::custom)
    }
}
