//! Editions that are not yet in force: the one that is being tried, and the one that waits for that.

use std::time::Instant;

use super::{
    super::{
        event::{Action, Refusal},
        terms::{Edition, Generation, Terms},
    },
    Plan, State, Stopping, Worker,
};

/// An edition that is not yet in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) edition: Edition,
    pub(super) terms: Terms,
    pub(super) way: Way,
}

/// How an edition comes into force.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// With a worker of its own.
    Replace,
    /// This worker changes to it, until then at the latest.
    Change(Generation, Option<Instant>),
}

/// How an edition is to come into force, if that can be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Replace,
    Change,
}

impl Plan {
    pub(super) fn want(&mut self, edition: Edition, terms: Terms, wanted: Wanted) {
        if self.stopping != Stopping::No {
            self.actions.push(Action::Refuse(edition, Refusal::Stopping));
            return;
        }
        self.drop_waiting(Refusal::Superseded);
        match self.candidate {
            // What it serves has to be known before it can be told anything else.
            Some(Candidate { way: Way::Change(generation, _), .. }) => {
                self.actions.push(Action::GiveUp(generation));
            }
            _ => self.refuse(Refusal::Superseded),
        }
        self.waiting = Some((edition, terms, wanted));
    }

    pub(super) fn drop_waiting(&mut self, why: Refusal) {
        if let Some((edition, ..)) = self.waiting.take() {
            self.actions.push(Action::Refuse(edition, why));
        }
    }

    /// Begins with what waits, if nothing else is being tried.
    pub(super) fn begin(&mut self) {
        if self.candidate.is_some() {
            return;
        }
        let Some((edition, terms, wanted)) = self.waiting.take() else { return };
        let changeable = |worker: &Worker| {
            worker.state == State::Serving
                && worker.edition == self.edition
                && worker.is_whole()
                && worker.left < MOST_LEFT
        };
        let server = self.those(changeable).pop();
        let way = match (wanted, server) {
            (Wanted::Change, Some(server)) => {
                self.actions.push(Action::Change(server, edition));
                Way::Change(server, self.now.checked_add(terms.change_limit))
            }
            _ => Way::Replace,
        };
        self.candidate = Some(Candidate { edition, terms, way });
    }

    /// Gives up the configuration that is being tried, if there is one.
    pub(super) fn refuse(&mut self, why: Refusal) {
        let Some(Candidate { edition, .. }) = self.candidate.take() else { return };
        self.actions.push(Action::Refuse(edition, why));
        for generation in self.those(|worker| worker.edition == edition && worker.is_live()) {
            self.drain(generation);
        }
    }

    pub(super) fn adopt(&mut self, candidate: Candidate) {
        (self.edition, self.terms) = (candidate.edition, candidate.terms);
        // What failed before may well have been mended by it.
        self.patience.forget();
        self.patience_safe.forget();
        self.actions.push(Action::Adopt(self.edition));
    }

    pub(super) fn changed(&mut self, generation: Generation, edition: Edition, left: usize) {
        let Some(candidate) = self.take_change(generation, edition) else { return };
        if let Some(worker) = self.workers.get_mut(&generation) {
            (worker.edition, worker.terms, worker.left) = (candidate.edition, candidate.terms, left);
        }
        self.adopt(candidate);
    }

    pub(super) fn not_changed(&mut self, generation: Generation, edition: Edition, left: usize) {
        let Some(candidate) = self.take_change(generation, edition) else { return };
        if let Some(worker) = self.workers.get_mut(&generation) {
            worker.left = left;
        }
        // There it may well have been given up.
        let why = if self.waiting.is_some() { Refusal::Superseded } else { Refusal::NotChanged };
        self.actions.push(Action::Refuse(candidate.edition, why));
    }

    /// The candidate, if it is this change of this worker.
    fn take_change(&mut self, generation: Generation, edition: Edition) -> Option<Candidate> {
        let changing = |candidate: &mut Candidate| {
            candidate.edition == edition && matches!(candidate.way, Way::Change(it, _) if it == generation)
        };
        self.candidate.take_if(changing)
    }

    /// Has another worker take over from one that is late with a change: what it serves is not known. It goes on until
    /// then.
    pub(super) fn overdue_change(&mut self) {
        let Some(Candidate { way: Way::Change(generation, Some(due)), .. }) = self.candidate else { return };
        if due > self.now {
            return;
        }
        if let Some(worker) = self.workers.get_mut(&generation) {
            worker.doubtful = true;
        }
        self.refuse(Refusal::TimedOut);
    }

    /// When a change is late.
    pub(super) fn change_due(&self) -> Option<Instant> {
        match self.candidate?.way {
            Way::Replace => None,
            Way::Change(_, due) => due,
        }
    }

    pub(super) fn is_candidate(&self, generation: Generation) -> bool {
        let edition = self.workers.get(&generation).map(|worker| worker.edition);
        edition.is_some() && edition == self.candidate.map(|candidate| candidate.edition)
    }

    /// Whether it was told to change, and has not said yet what came of it.
    #[must_use]
    pub fn is_changing(&self, generation: Generation) -> bool {
        matches!(self.candidate, Some(Candidate { way: Way::Change(it, _), .. }) if it == generation)
    }
}

/// Generations of libraries that a worker may have loaded and use no more until it is replaced instead of changed: they
/// stay mapped, with their threads and what they have leaked, some megabytes each.
const MOST_LEFT: usize = 16;
