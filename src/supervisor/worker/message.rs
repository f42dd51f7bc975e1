//! What supervisor and worker say to each other: a line of JSON for each message, as between host and guard.
//!
//! Supervisor and worker may be of different builds one day, when one is upgraded under the other. So a field that is not
//! known is skipped, a message that is not known is ignored, and a change that an older build must not ignore raises
//! [`VERSION`].

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    super::{
        lending::{Ended, Kept, Lending, NotLent, Release, Tried, Want},
        life::Why,
    },
    terms::{Edition, Generation, Part, Preload},
};

/// What the first message begins with. A worker that speaks another version ends, and says so.
pub const VERSION: u32 = 1;

/// What the supervisor wants of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Order {
    /// Where to record what it executes: a page, which comes with the message. Before the start, if at all.
    Recorder,
    /// What to serve. Once. What to log to comes with the message: the worker's own standard streams are for what
    /// applications print.
    Start(Start),
    /// One more socket to accept on, which comes with the message; in the order of the configuration.
    Socket,
    /// All sockets are there: accept. Once.
    Serve,
    /// Serve this in place of what it serves. The sockets that it has not yet come before, in the order of the
    /// configuration.
    Change(Change),
    /// Give up the change, unless it is done already; there is a newer one.
    GiveUp,
    /// Tell how things are.
    Ask {
        /// What the answer is to name.
        id: u64,
    },
    /// Do not start this application, and answer its requests with the reason, until the time is over. Also before the
    /// start.
    Refuse(Refuse),
    /// Refuse this application no more.
    Allow {
        /// Its name.
        application: String,
    },
    /// Start this, too, before it is ready: it runs in the worker that this one replaces. Once, if the start says so.
    Warm(Warm),
    /// Finish what is in flight, and end.
    Drain,
    /// End at once.
    Hurry,
    /// An instance that it wanted.
    Lent(Lending),
    /// Why it does not get one.
    NotLent(NotLent),
    /// An instance that it has, or let go of for good, has ended.
    Ended(Ended),
    /// An instance that it let go of for good goes on.
    Kept(Kept),
}

/// What a worker is to serve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// [`VERSION`].
    pub version: u32,
    /// Which worker it is.
    pub generation: Generation,
    /// Which applications.
    pub part: Part,
    /// What to start before it is ready.
    pub preload: Preload,
    /// The configuration, as the program wrote it for itself.
    pub edition: serde_json::Value,
    /// Whether it is told as well what to start before it is ready because it runs elsewhere.
    #[serde(default)]
    pub warm: bool,
}

/// What runs in the worker that is to be replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm {
    /// Names of applications.
    pub applications: Vec<String>,
    /// How long they may keep the replacement waiting. After that they go on starting.
    pub limit: Duration,
    /// Upstreams that get no requests there.
    #[serde(default)]
    pub unwell: Vec<Unwell>,
}

/// An upstream that gets no requests in the worker that is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwell {
    /// The name of the application that it is one of.
    pub application: String,
    /// Where it listens.
    pub place: String,
    /// How long it is still left alone for failing requests. `None`: it is not well by its own account.
    #[serde(default)]
    pub out: Option<Duration>,
}

/// An application that has ended workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// Its name.
    pub application: String,
    /// Why.
    pub why: Why,
    /// What it did, for the operator.
    pub detail: String,
    /// How long it is refused.
    pub retry_after: Duration,
    /// Not only so long, but until it is allowed.
    #[serde(default)]
    pub held: bool,
}

/// What a worker is to serve in place of what it serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What it is called in the report.
    pub number: Edition,
    /// The configuration, as the program wrote it for itself.
    pub edition: serde_json::Value,
}

/// What a worker has to tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Report {
    /// The configuration is understood; it could serve.
    Configured,
    /// What was to be preloaded has started, but for these.
    Ready {
        /// Names of applications, each with the reason.
        failed: Vec<String>,
    },
    /// It accepts.
    Serving,
    /// How things are, as it was asked.
    Told {
        /// Named by who asked.
        id: u64,
        /// As the program writes it for itself.
        status: serde_json::Value,
    },
    /// What it had of this application before a change finishes what it has.
    Retires {
        /// Its name.
        application: String,
    },
    /// And has ended.
    Retired {
        /// Its name.
        application: String,
    },
    /// It has closed the sockets, as it was told to drain: others accept, or nobody.
    Closed,
    /// It serves the edition that it was told to change to, and nothing else.
    Changed {
        /// Which one.
        edition: Edition,
        /// Generations of libraries that it has loaded and uses no more. They stay mapped.
        #[serde(default)]
        left: usize,
    },
    /// An application does not give back one of its threads; the others go on.
    Stuck(Stuck),
    /// It serves what it served before.
    Refused {
        /// What it was told to change to.
        edition: Edition,
        /// Why not.
        failed: Vec<Failed>,
        /// As in `Changed`: what was loaded in vain stays, too.
        #[serde(default)]
        left: usize,
    },
    /// It goes on, and has loaded much in vain: applications whose start fails again and again.
    Left {
        /// As in `Changed`.
        left: usize,
    },
    /// It wants an instance.
    Want(Box<Want>),
    /// It has tried one.
    Tried(Tried),
    /// It has no more use for one.
    Release(Release),
}

/// An application that does not give back a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Its name.
    pub application: String,
    /// At what, for the operator.
    pub at: String,
}

/// An application that did not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its name.
    pub application: String,
    /// The failure's code.
    pub code: String,
    /// What happened.
    #[serde(default)]
    pub detail: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { application, code, detail } = self;
        write!(f, "{application}: {code}")?;
        if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
    }
}

/// A message as a line.
pub(super) fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("a message has nothing that JSON has not");
    line.push(b'\n');
    line
}

/// The message in a line; `None` for one that this build does not know.
pub(super) fn read<'a, M: Deserialize<'a>>(line: &'a [u8]) -> Option<M> {
    serde_json::from_slice(line)
        .inspect_err(|error| tracing::debug!(%error, "ignoring a message between supervisor and worker"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_comes_back_as_it_was() {
        let start = Start {
            version: VERSION,
            generation: Generation(7),
            part: Part::Safe { why: Why::FailFast, retry_after: Duration::from_millis(1500) },
            preload: Preload::All,
            edition: serde_json::json!({ "text": "two\nlines" }),
            warm: true,
        };
        let change = Change { number: Edition(3), edition: serde_json::json!({}) };
        let refuse = Refuse {
            application: "shop".to_owned(),
            why: Why::FailFast,
            detail: "it crashed".to_owned(),
            retry_after: Duration::from_secs(9),
            held: true,
        };
        let orders = [
            Order::Recorder,
            Order::Refuse(refuse),
            Order::Allow { application: "shop".to_owned() },
            Order::Start(start),
            Order::Socket,
            Order::Serve,
            Order::Ask { id: 1 },
            Order::Change(change),
            Order::GiveUp,
            Order::Warm(Warm {
                applications: vec!["shop".to_owned()],
                limit: Duration::from_secs(9),
                unwell: vec![Unwell {
                    application: "api".to_owned(),
                    place: "10.0.0.1:80".to_owned(),
                    out: Some(Duration::from_secs(9)),
                }],
            }),
            Order::Drain,
            Order::Hurry,
        ];
        for order in orders {
            let line = line(&order);
            assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            assert_eq!(read(&line), Some(order));
        }
        let failed =
            Failed { application: "shop".to_owned(), code: "start_failed".to_owned(), detail: String::new() };
        for report in [
            Report::Ready { failed: vec!["shop".to_owned()] },
            Report::Stuck(Stuck { application: "shop".to_owned(), at: "GET /basket".to_owned() }),
            Report::Changed { edition: Edition(2), left: 4 },
            Report::Left { left: 70 },
            Report::Refused { edition: Edition(2), failed: vec![failed], left: 5 },
        ] {
            assert_eq!(read(&line(&report)), Some(report));
        }
    }

    #[test]
    fn what_a_later_build_says_is_ignored() {
        assert_eq!(read::<Order>(br#"{"order":"dance"}"#), None);
        assert_eq!(read::<Order>(br#"{"order":"drain","how":"slowly"}"#), Some(Order::Drain));
        assert_eq!(read::<Report>(b"not even JSON"), None);
    }
}
