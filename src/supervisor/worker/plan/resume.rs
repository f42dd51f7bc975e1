//! Where one plan ends and another one goes on: when the program is replaced under its workers.
//!
//! In: a plan in which nothing is being changed. Out: the same in another program. Never: carries what is only thought of
//! workers, such as how often they crashed: a new program is a new try.

use std::time::Instant;

use super::{
    super::{
        super::life::Policy,
        event::Overdue,
        terms::{Edition, Generation, Part, Terms},
    },
    Plan, Ready, State, Stopping, Worker,
};

/// The workers of a plan in which nothing is being changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Serves everything.
    pub server: Generation,
    /// Were started and not told to serve.
    pub waiting: Vec<Generation>,
    /// Were told to end, or killed.
    pub draining: Vec<Generation>,
}

impl Plan {
    /// A plan that goes on where another one ended, which was [`settled`](Self::settled): `server` serves `edition`,
    /// `draining` were told to end. The next event is to follow at once.
    #[must_use]
    pub fn resume(
        now: Instant,
        (edition, terms): (Edition, Terms),
        policy: Policy,
        server: Generation,
        draining: &[Generation],
    ) -> Self {
        let mut plan = Self::empty(now, edition, terms, policy);
        plan.last = draining.iter().copied().chain([server]).max().unwrap_or(server);
        let late = now.checked_add(terms.stop_limit).map(|when| (when, Overdue::Stop));
        let worker = |state, due| {
            let (part, ready) = (Part::Everything, Ready::Ready);
            Worker { edition, terms, part, state, ready, left: 0, doubtful: false, worn: false, due }
        };
        plan.workers.insert(server, worker(State::Serving, None));
        plan.workers.extend(draining.iter().map(|generation| (*generation, worker(State::Draining, late))));
        plan
    }

    /// Whether one worker serves everything, and nothing is being changed: [`resume`](Self::resume) could go on from here
    /// with these: the worker that serves, those that wait, those that drain.
    #[must_use]
    pub fn settled(&self) -> Option<Settled> {
        if self.stopping != Stopping::No || self.candidate.is_some() || self.waiting.is_some() {
            return None;
        }
        let in_state = |states: &[State]| self.those(|worker| states.contains(&worker.state));
        let (serving, told) = (in_state(&[State::Serving]), in_state(&[State::Told]));
        let &[server] = &serving[..] else { return None };
        let whole = self.workers.get(&server).is_some_and(Worker::is_whole);
        (whole && told.is_empty()).then(|| Settled {
            server,
            waiting: in_state(&[State::Starting, State::Configured]),
            draining: in_state(&[State::Draining, State::Killed]),
        })
    }
}
