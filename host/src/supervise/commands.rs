//! What operators want of the supervisor: what it leads to, and when it is answered.
//!
//! In: calls from the door, and what became of changes. Out: events for the plan; answers, once the effect is there or
//! will not be. Never: holds up the supervisor while somebody waits.

use std::collections::BTreeMap;

use cohost::{
    HostingModel,
    admin::{Call, Changed, Code, Command, GivingWay, Named, Problem, Recycle, Reply, Stop as How, Stopped},
    supervisor::{
        lending::Lender,
        worker::{self, Event, Generation, Outcome, Refusal},
    },
};

use super::{Stop, Supervisor, Worker};
use crate::{
    edition::Edition,
    signals::{self, Asked},
    systemd,
    wish::Wish,
};

/// Operators who wait.
#[derive(Default)]
pub(super) struct Waiting {
    /// What did not start of an edition, and why.
    failed: BTreeMap<worker::Edition, Vec<String>>,
    /// Theirs is in force; it is about workers with an older one.
    adopted: Vec<(worker::Edition, Until, Reply)>,
    upgrades: Vec<Reply>,
    stops: Vec<Reply>,
}

/// Until when somebody waits, once the edition is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Nobody who connects gets to an older one.
    Alone,
    /// What was of this application has ended.
    Ended(String),
}

impl Until {
    /// Who takes something offline wants to replace its files.
    pub(super) fn of(wish: &Wish) -> Self {
        match wish {
            Wish::Offline(application, _) => Self::Ended(application.clone()),
            _ => Self::Alone,
        }
    }
}

type Workers = BTreeMap<Generation, Worker>;

impl Supervisor {
    /// Does what a signal wants.
    pub(super) fn asked(&mut self, asked: Asked) -> Vec<Event> {
        match (asked, self.stop) {
            (Asked::Reload, Stop::NotAsked) => {
                self.changes.wish(Wish::Reload, None);
                Vec::new()
            }
            (Asked::Upgrade, Stop::NotAsked) => {
                self.upgrade.want(None);
                Vec::new()
            }
            (Asked::Reload | Asked::Upgrade, Stop::Asked) => Vec::new(),
            (Asked::Stop(_), Stop::NotAsked) => {
                signals::first(asked);
                vec![self.stop()]
            }
            (Asked::Stop(_), Stop::Asked) => {
                signals::second(asked);
                self.lender.hurry();
                vec![Event::Stop]
            }
        }
    }

    fn stop(&mut self) -> Event {
        self.stop = Stop::Asked;
        self.upgrade.give_up();
        self.changes.stop();
        self.justice.trials.stop();
        self.waiting.stop();
        systemd::stopping();
        // Before workers are told: once they have closed theirs, nobody waits in vain to be accepted.
        self.sockets.close();
        self.lender.stop();
        Event::Stop
    }

    /// Does what an operator wants, or begins to.
    pub(super) fn called(&mut self, call: Call) -> Vec<Event> {
        let Call { command, reply } = call;
        match command {
            Command::Status => self.survey(reply),
            Command::Logs(Named { application }) => match self.logs(&application) {
                Ok(logs) => reply.done(&logs),
                Err(problem) => reply.refuse(problem),
            },
            Command::Stop(how) => {
                self.waiting.stops.push(reply);
                return self.stop_for(how);
            }
            _ if self.stop == Stop::Asked => reply.refuse(stopping()),
            Command::Reload => self.wish(Wish::Reload, reply),
            Command::Recycle(Recycle { application: Some(name) }) => self.wish(Wish::Recycle(name), reply),
            Command::Recycle(Recycle { application: None }) => self.wish(Wish::RecycleAll, reply),
            Command::Offline(what) => self.wish(Wish::Offline(what.application, what.page), reply),
            Command::Online(what) => self.wish(Wish::Online(what.application), reply),
            Command::RollBack(what) => self.wish(Wish::RollBack(what.application), reply),
            Command::Promote(what) => {
                self.wish(Wish::Host(what.application, HostingModel::InProcess), reply);
            }
            Command::Demote(what) => {
                self.wish(Wish::Host(what.application, HostingModel::OutOfProcess), reply);
            }
            Command::Upgrade(what) => {
                tracing::info!(program = ?what.program, "an operator wants an upgrade");
                self.upgrade.want(what.program);
                self.waiting.upgrades.push(reply);
            }
            // Of a door that knows more.
            _ => drop(reply),
        }
        Vec::new()
    }

    /// It has its turn once nothing else is under way.
    fn wish(&mut self, wish: Wish, reply: Reply) {
        tracing::info!(?wish, "an operator wants a change");
        self.changes.wish(wish, Some(reply));
    }

    /// Applications of an edition have not started. Of one that is in force nobody waits to hear that.
    pub(super) fn not_started(&mut self, edition: worker::Edition, failed: Vec<String>) {
        if self.changes.proposal() == Some(edition) {
            self.waiting.failed(edition, failed);
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
            self.lender.hurry();
            events.push(Event::Stop);
        }
        events
    }
}

impl Waiting {
    /// A worker with this configuration could not start these.
    pub(super) fn failed(&mut self, edition: worker::Edition, failed: Vec<String>) {
        self.failed.entry(edition).or_default().extend(failed);
    }

    /// This edition is in force, and somebody waits for what follows from that.
    pub(super) fn adopted(&mut self, edition: worker::Edition, until: Until, reply: Reply) {
        self.adopted.push((edition, until, reply));
    }

    /// Answers those whose time has come, now that everything is as it is, and `edition` is in force.
    pub(super) fn look(&mut self, workers: &Workers, lender: &mut Lender, edition: &Edition) {
        // What runs by now is not what was to end, and may never do so.
        let served_again = |(_, until, _): &mut (worker::Edition, Until, Reply)| match until {
            Until::Ended(application) => {
                edition.stands(application).is_some_and(|standing| !standing.is_offline())
            }
            Until::Alone => false,
        };
        for (_, _, reply) in self.adopted.extract_if(.., served_again) {
            let detail = "somebody wants it served again, before all that it had has ended";
            reply.refuse(Problem::new(Code::Superseded, detail));
        }
        let over = |(edition, until, _): &mut (worker::Edition, Until, Reply)| {
            let mut older = workers.values().filter(|worker| worker.edition < *edition);
            match until {
                Until::Alone => older.all(|worker| !worker.accepts),
                Until::Ended(_) if older.next().is_some() => false,
                Until::Ended(application) if workers.values().any(|it| it.retiring.contains(application)) => {
                    false
                }
                Until::Ended(application) => {
                    // Nobody will want what is kept for the next worker.
                    lender.dismiss(application);
                    !lender.has(application)
                }
            }
        };
        for (edition, _, reply) in self.adopted.extract_if(.., over) {
            reply.done(&Changed { edition: edition.0 });
        }
    }

    /// Why an edition will not be in force.
    pub(super) fn refused(&mut self, edition: worker::Edition, why: Refusal) -> Problem {
        let failed = self.failed.remove(&edition).unwrap_or_default();
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
        Problem::new(code, detail + advice).faults(failed)
    }

    /// There is no upgrade.
    pub(super) fn upgrade_refused(&mut self, why: &str) {
        for reply in self.upgrades.drain(..) {
            reply.refuse(Problem::new(Code::StartRefused, why));
        }
    }

    /// Another program takes over now; whether anybody waits for that.
    pub(super) fn give_way(&mut self) -> bool {
        let waited = !self.upgrades.is_empty();
        for reply in self.upgrades.drain(..) {
            reply.done(&GivingWay { from: env!("CARGO_PKG_VERSION").to_owned() });
        }
        waited
    }

    /// The host stops: there will be no upgrade.
    pub(super) fn stop(&mut self) {
        self.upgrades.drain(..).for_each(|reply| reply.refuse(stopping()));
    }

    /// Nothing is left of the host but this.
    pub(super) fn end(&mut self, outcome: Outcome) {
        for reply in self.stops.drain(..) {
            reply.done(&Stopped { gracefully: outcome == Outcome::Gracefully });
        }
        // What they wait for has ended with everything else, but nobody has looked how.
        self.adopted.drain(..).for_each(|(_, _, reply)| reply.refuse(stopping()));
    }
}

pub(super) fn stopping() -> Problem {
    Problem::new(Code::Stopping, "the host is ending, and changes nothing any more")
}
