//! What operators want of the supervisor: what it leads to, and when it is answered.
//!
//! In: calls from the door, and what became of changes. Out: events for the plan; answers, once the effect is there or
//! will not be. Never: holds up the supervisor while somebody waits.

use std::collections::BTreeMap;

use cohost::{
    admin::{Call, Changed, Code, Command, Problem, Reply, Stop as How, Stopped},
    supervisor::worker::{self, Event, Outcome, Refusal},
};

use super::{Stop, Supervisor};
use crate::exit::{Exit, Refused};

/// Operators who wait.
#[derive(Default)]
pub(super) struct Waiting {
    changes: BTreeMap<worker::Edition, Change>,
    stops: Vec<Reply>,
}

struct Change {
    reply: Reply,
    /// What did not start, and why.
    failed: Vec<String>,
}

impl Supervisor {
    /// Does what an operator wants, or begins to.
    pub(super) fn called(&mut self, call: Call) -> Vec<Event> {
        let Call { command, reply } = call;
        match command {
            Command::Status => {
                self.survey(reply);
                Vec::new()
            }
            Command::Reload if self.stop == Stop::NotAsked => {
                tracing::info!("an operator wants a reload");
                match self.reload() {
                    Ok(event) => {
                        self.waiting.change(self.last, reply);
                        vec![event]
                    }
                    Err(refused) => {
                        reply.refuse(refusal(&refused));
                        Vec::new()
                    }
                }
            }
            Command::Stop(how) => {
                self.waiting.stops.push(reply);
                self.stop_for(how)
            }
            Command::Reload => {
                reply.refuse(Problem::new(Code::Stopping, "the host is ending, and reads nothing any more"));
                Vec::new()
            }
            // Of a door that knows more.
            _ => Vec::new(),
        }
    }

    fn stop_for(&mut self, how: How) -> Vec<Event> {
        let mut events = Vec::new();
        if self.stop == Stop::NotAsked {
            tracing::info!("stopping, as an operator wants: finishing what is in flight");
            events.push(self.stop());
        }
        if how.at_once {
            tracing::warn!("stopping at once, as an operator wants");
            events.push(Event::Stop);
        }
        events
    }
}

impl Waiting {
    /// Somebody waits for this configuration.
    fn change(&mut self, edition: worker::Edition, reply: Reply) {
        self.changes.insert(edition, Change { reply, failed: Vec::new() });
    }

    /// A worker with this configuration could not start these.
    pub(super) fn failed(&mut self, edition: worker::Edition, failed: Vec<String>) {
        if let Some(change) = self.changes.get_mut(&edition) {
            change.failed.extend(failed);
        }
    }

    /// This configuration is in force.
    pub(super) fn adopted(&mut self, edition: worker::Edition) {
        if let Some(change) = self.changes.remove(&edition) {
            change.reply.done(&Changed { edition: edition.0 });
        }
    }

    /// This configuration will not be in force.
    pub(super) fn refused(&mut self, edition: worker::Edition, why: Refusal) {
        let Some(Change { reply, failed }) = self.changes.remove(&edition) else { return };
        let (code, detail) = match why {
            Refusal::Crashed(exit) => {
                (Code::StartRefused, format!("its worker ended before it was ready: {exit}"))
            }
            Refusal::NotStarted => (Code::StartRefused, "the system would not start its worker".to_owned()),
            Refusal::TimedOut => (Code::StartRefused, "its worker was not ready in time".to_owned()),
            Refusal::PreloadFailed => {
                (Code::StartRefused, "an application that is to be preloaded did not start".to_owned())
            }
            Refusal::NotChanged => (Code::StartRefused, "an application did not start anew".to_owned()),
            Refusal::Superseded => (Code::Superseded, "a newer configuration came in between".to_owned()),
            Refusal::Stopping => (Code::Stopping, "the host is ending".to_owned()),
        };
        let advice = if code == Code::StartRefused { "; the log says more" } else { "" };
        reply.refuse(Problem::new(code, detail + advice).faults(failed));
    }

    /// Nothing is left of the host but this.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        for reply in self.stops.drain(..) {
            reply.done(&Stopped { gracefully: outcome == Outcome::Gracefully });
        }
    }
}

/// Why a configuration was not even tried.
fn refusal(refused: &Refused) -> Problem {
    match refused.exit {
        Exit::Configuration => {
            Problem::new(Code::ConfigurationRefused, "the configuration has faults; the one in force stays")
                .faults(refused.message.lines())
        }
        // What it names cannot be had, such as an address.
        _ => Problem::new(Code::StartRefused, refused.message.clone()),
    }
}
