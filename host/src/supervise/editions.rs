//! Editions: what becomes one, and the worker that changes to it.
//!
//! In: what somebody wants changed. Out: an event for the plan; orders to the worker that serves. Never: decides which
//! edition is in force.

use std::time::{Instant, SystemTime};

use cohost::{
    config::Config,
    supervisor::worker::{self, Change, Event, Generation, Order},
};

use super::{
    Supervisor,
    terms::{check, terms},
};
use crate::{
    edition::{self, Edition},
    exit::Refused,
};

impl Supervisor {
    /// A new edition for the plan; nothing has changed if it is refused.
    pub(super) fn propose(&mut self, edition: Edition, config: Config) -> Result<Event, Refused> {
        check(&edition, &config)?;
        self.sockets.open(&config)?;
        self.last = worker::Edition(self.last.0 + 1);
        let terms = terms(&config);
        let in_force = &self.editions[&self.plan.edition()].1;
        let event = match edition::changes_in_place(in_force, &config) {
            true => Event::Change(self.last, terms),
            false => Event::Replace(self.last, terms),
        };
        self.editions.insert(self.last, (edition, config));
        Ok(event)
    }

    /// When tickets of sessions are to be sealed with another secret.
    pub(super) fn tickets_due(&self) -> Option<Instant> {
        let (edition, _) = self.editions.get(&self.plan.edition())?;
        Some(Instant::now() + edition.tickets.left(SystemTime::now()))
    }

    /// Lets the secrets grow old, so that nobody finds an earlier one here. Workers do the same by themselves.
    pub(super) fn age_tickets(&mut self) {
        let now = SystemTime::now();
        if let Some((edition, config)) = self.editions.get(&self.plan.edition())
            && edition.tickets.left(now).is_zero()
        {
            // As good a time as any: it comes every few hours.
            edition.certificates.remind(config, now);
        }
        self.editions.values_mut().for_each(|(edition, _)| edition.tickets.grow(now));
    }

    pub(super) fn change(&self, generation: Generation, edition: worker::Edition) {
        let Some(worker) = self.workers.get(&generation) else { return };
        let (next, config) = &self.editions[&edition];
        let had = &self.editions[&worker.edition].1;
        for socket in self.sockets.beyond(had, config) {
            worker.process.hand(socket);
        }
        let edition_text = serde_json::to_value(next).expect("an edition has nothing that JSON has not");
        worker.process.order(&Order::Change(Change { number: edition, edition: edition_text }));
    }

    pub(super) fn give_up_change(&self, generation: Generation) {
        if let Some(worker) = self.workers.get(&generation) {
            worker.process.order(&Order::GiveUp);
        }
    }
}
