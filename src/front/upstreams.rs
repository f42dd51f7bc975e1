//! Servers that somebody else runs, as an application: which, and how requests are spread over them.

use std::{fmt, num::NonZeroU16, ops::RangeInclusive, time::Duration};

use http::HeaderName;

use super::Outward;
use crate::{endpoint::Place, facts::Scheme};

/// Servers that are one application together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upstreams {
    /// At least one, each once.
    pub members: Vec<Upstream>,
    /// How requests are spread over them.
    pub balance: Balance,
    /// What holds for those that are spoken to over TLS.
    pub outward: Box<Outward>,
}

impl Upstreams {
    /// These, with the defaults for everything else.
    #[must_use]
    pub fn new(members: Vec<Upstream>) -> Self {
        Self { members, balance: Balance::default(), outward: Box::default() }
    }

    /// Whether any of them is spoken to over TLS.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        self.members.iter().any(|upstream| upstream.scheme == Scheme::Https)
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Where it listens.
    pub place: Place,
    /// Whether it is spoken to over TLS.
    pub scheme: Scheme,
    /// How many requests it gets, measured by the others.
    pub weight: NonZeroU16,
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Https => write!(f, "https://{}", self.place),
            Scheme::Http => self.place.fmt(f),
        }
    }
}

/// How requests are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Balance {
    /// Which one gets a request.
    pub policy: Policy,
    /// The cookie that has a client's later requests go where its first one went.
    pub sticky: Option<String>,
    /// How they are asked whether they are well. `None`: they are not.
    pub probe: Option<Probe>,
    /// When one is left alone for failing requests. `None`: never.
    pub passive: Option<Passive>,
    /// How long one that has come back gets fewer requests than its weight says. `None`: it gets all at once.
    pub slow_start: Option<Duration>,
    /// Which requests get another chance.
    pub retry: Retry,
    /// How many do, in percent of all.
    pub retry_budget: u8,
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            policy: Policy::LeastOutstanding,
            sticky: None,
            probe: None,
            passive: Some(Passive::default()),
            slow_start: None,
            retry: Retry::Unsent,
            retry_budget: 20,
        }
    }
}

/// Which upstream gets a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The one with the fewest requests for its weight; in turn where that is several.
    LeastOutstanding,
    /// Each in turn.
    RoundRobin,
    /// Of two picked by chance, the one with fewer requests.
    RandomTwo,
    /// The same one for all requests that are alike in this. Those of one that is down are spread over the others.
    Hash(HashKey),
}

/// In what requests are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKey {
    /// The address of the client.
    Client,
    /// The value of this field.
    Header(HeaderName),
    /// The path, without the query.
    Path,
}

/// A question that shows whether an upstream is well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// What is asked for.
    pub path: String,
    /// The time between two questions.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// After how many good answers one after the other it is up again.
    pub healthy: u32,
    /// After how many bad ones it is down.
    pub unhealthy: u32,
    /// The statuses of good answers.
    pub expected: Vec<RangeInclusive<u16>>,
}

impl Probe {
    /// Asks for this path, with the defaults for everything else.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy: 2,
            unhealthy: 3,
            expected: vec![200..=399],
        }
    }
}

/// When an upstream is left alone, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passive {
    /// So many failed requests…
    pub max_fails: u32,
    /// …within this time.
    pub window: Duration,
    /// How long, the first time; each time that it fails again soon, twice as long as before.
    pub out: Duration,
    /// But no longer than this.
    pub longest_out: Duration,
    /// Statuses that count as failures. Without them, an answer is none, whatever it says.
    pub statuses: Vec<RangeInclusive<u16>>,
}

impl Default for Passive {
    fn default() -> Self {
        Self {
            max_fails: 5,
            window: Duration::from_secs(10),
            out: Duration::from_secs(5),
            longest_out: Duration::from_secs(300),
            // A client that finds out how to cause them could have all upstreams left alone.
            statuses: Vec::new(),
        }
    }
}

/// Which requests are sent to another upstream when the first has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// None.
    Never,
    /// Those of which nothing was sent.
    #[default]
    Unsent,
    /// Also those without a body whose method may be repeated, if no answer has begun.
    Idempotent,
}
