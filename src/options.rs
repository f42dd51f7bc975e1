//! What can be set for each application, however it is hosted, and the defaults.
//!
//! A leaf: the configuration file fills these in, and so does a program that embeds the library without one.

use std::{collections::BTreeMap, fmt, num::NonZeroU16, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Limits of one application, in either hosting model.
///
/// Fields are added as the host learns more, so write `Options { preload: true, ..Options::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Starts the application with the host instead of with its first request.
    pub preload: bool,
    /// Paths that are asked for after a start, one after the other, before anybody else's requests; below the
    /// application's own path. An answer of 500 or above, or none in time, fails the start.
    pub warmup: Vec<String>,
    /// The authority that they are asked with; `localhost` by default.
    pub warmup_authority: Option<String>,
    /// How long a start may take until the requests that wait for it get 503.
    pub startup_timeout: Duration,
    /// How long requests in flight may go on when the application stops; then they are cancelled.
    pub shutdown_timeout: Duration,
    /// How long a request may take until its answer begins; 504 after that. `None`: as long as it likes.
    pub request_timeout: Option<Duration>,
    /// How long connecting to an instance may take; 502 after that.
    pub connect_timeout: Duration,
    /// How long an instance may take to begin its answer; 504 after that.
    pub first_byte_timeout: Duration,
    /// How long an instance may stay silent within an answer until it is cut off. `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// Largest request body in bytes; 413 above it. `None`: no limit. Upgraded connections have none either.
    pub max_request_body: Option<u64>,
    /// Requests that the application has at a time, in one worker; others wait. `None`: as many as come.
    pub max_concurrent_requests: Option<usize>,
    /// Requests that may wait for that; 503 for more.
    pub request_queue: usize,
    /// Requests that may wait while the application starts; 503 for more.
    pub queue_limit: usize,
    /// Failures within a minute after which the application is left alone until that minute has passed.
    pub rapid_fails_per_minute: u32,
    /// Threads of the application's own async runtime.
    pub runtime_threads: u32,
    /// Most threads that the application's runtime may start for blocking work.
    pub blocking_threads: usize,
    /// How long it may keep a thread that serves connections without giving it back, until that is taken for a hang and
    /// its worker, or its process, is replaced. `None`: for ever.
    pub hang_timeout: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            preload: false,
            warmup: Vec::new(),
            warmup_authority: None,
            startup_timeout: Duration::from_secs(120),
            shutdown_timeout: Duration::from_secs(10),
            request_timeout: None,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(120),
            idle_timeout: None,
            max_request_body: Some(30_000_000),
            max_concurrent_requests: None,
            request_queue: 1000,
            queue_limit: 1000,
            rapid_fails_per_minute: 10,
            runtime_threads: 1,
            blocking_threads: 512,
            hang_timeout: Some(Duration::from_secs(90)),
        }
    }
}

/// When an application is replaced by a fresh one although nothing is wrong. By default, never.
///
/// The program's supervisor sees to it, not the application itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recycle {
    /// When it has run for so long.
    pub age: Option<Duration>,
    /// At these times of day, where the system is.
    pub schedule: Vec<TimeOfDay>,
    /// When it has had so many requests.
    pub requests: Option<u64>,
    /// Out of process: when its processes have so many bytes of memory.
    pub memory: Option<u64>,
    /// How often requests and memory are looked at.
    pub interval: Duration,
}

impl Default for Recycle {
    fn default() -> Self {
        Self {
            age: None,
            schedule: Vec::new(),
            requests: None,
            memory: None,
            // Looking through all processes costs some milliseconds, and memory does not grow that fast.
            interval: Duration::from_secs(10),
        }
    }
}

/// A time of day, to the minute: `03:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay {
    hour: u8,
    minute: u8,
}

impl TimeOfDay {
    /// The hour, from 0 to 23.
    #[must_use]
    pub fn hour(self) -> u8 {
        self.hour
    }

    /// The minute, from 0 to 59.
    #[must_use]
    pub fn minute(self) -> u8 {
        self.minute
    }
}

impl FromStr for TimeOfDay {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let number = |digits: &str, most: u8| {
            let number = digits.parse().ok().filter(|number| *number <= most);
            number.filter(|_| digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let (hour, minute) = text.split_once(':').ok_or(NotATime)?;
        let (hour, minute) = (number(hour, 23), number(minute, 59));
        hour.zip(minute).map(|(hour, minute)| Self { hour, minute }).ok_or(NotATime)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

/// A text is no time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be hours and minutes, from 00:00 to 23:59")]
pub struct NotATime;

/// What only an application in a process of its own has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessOptions {
    /// Variables that the process gets; they win over inherited ones.
    pub environment: BTreeMap<String, String>,
    /// Whether the process sees the host's environment as well.
    pub inherit_environment: bool,
    /// Where the process listens. Our own runner always has a socket, whatever stands here.
    pub listen: ProcessListen,
    /// What it speaks there.
    pub protocol: Protocol,
    /// When it counts as started.
    pub ready: Ready,
    /// How long it is kept without requests.
    pub idle_stop: Option<Duration>,
    /// What it may do and take.
    pub confinement: Confinement,
}

impl Default for ProcessOptions {
    fn default() -> Self {
        Self {
            environment: BTreeMap::new(),
            inherit_environment: true,
            listen: ProcessListen::AnyPort,
            protocol: Protocol::Http1,
            ready: Ready::Accepts,
            idle_stop: None,
            confinement: Confinement::default(),
        }
    }
}

/// What a process may do and take, and whatever it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The user it runs as, by name or number; the host's own by default. Another one takes a host that may.
    pub user: Option<String>,
    /// The group, by name or number; the user's own by default.
    pub group: Option<String>,
    /// Permissions that new files do not have.
    pub umask: Option<u32>,
    /// Whether programs that are set up to run as somebody else, such as `sudo`, do not.
    pub no_new_privs: bool,
    /// What each process may take.
    pub limits: Limits,
}

impl Default for Confinement {
    fn default() -> Self {
        Self { user: None, group: None, umask: None, no_new_privs: true, limits: Limits::default() }
    }
}

/// What each process may take, and it and all that it starts together. `None`: as much as the host may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time on a processor, after which it is ended by SIGXCPU.
    pub cpu_time: Option<Duration>,
    /// Descriptors at a time.
    pub open_files: Option<u64>,
    /// Processes and threads of its user at a time. Not for root.
    pub processes: Option<u64>,
    /// Bytes of a core file; 0 for none.
    pub core: Option<u64>,
    /// Bytes of address space.
    pub memory: Option<u64>,
    /// Together: bytes of memory, above which the system kills. This one and the next two need a control group that is
    /// delegated to the host; without one they have no effect, and the log says so.
    pub memory_max: Option<u64>,
    /// Together: thousandths of a processor's time.
    pub cpu_max: Option<u64>,
    /// Together: processes and threads at a time, whoever's they are.
    pub pids_max: Option<u64>,
}

/// Where a command is told to listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessListen {
    /// On a free loopback port that the host picks.
    #[default]
    AnyPort,
    /// On this loopback port, for programs that cannot be told.
    Port(NonZeroU16),
    /// On a Unix socket in a private directory.
    Socket,
}

/// What a process speaks to the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 in clear text, known beforehand; gRPC needs it.
    H2c,
}

impl Protocol {
    /// As written in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
        }
    }
}

/// When a process counts as started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ready {
    /// As soon as it accepts a connection.
    #[default]
    Accepts,
    /// When this path, under the application's own, answers with a status below 400.
    Health(String),
    /// When it says so: `READY=1` to `$NOTIFY_SOCKET`.
    Notify,
}

/// Where what an application prints is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// In the host's log or in files. All else is about files.
    pub to: Destination,
    /// The folder of the files. It is made when it is needed.
    pub folder: PathBuf,
    /// Bytes after which another file is begun. `None`: the size does not matter.
    pub size: Option<u64>,
    /// Time after which another file is begun. `None`: the age does not matter.
    pub age: Option<Duration>,
    /// How many files are kept, the one that is written included.
    pub files: NonZeroU16,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            to: Destination::Host,
            folder: PathBuf::from("logs"),
            size: Some(10_000_000),
            age: None,
            files: NonZeroU16::new(5).expect("5 is not 0"),
        }
    }
}

/// Where what an application prints goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// Into the host's own log, an event for each line.
    #[default]
    Host,
    /// Into a file for each application.
    Files,
}

impl Destination {
    /// As written in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Files => "files",
        }
    }
}
