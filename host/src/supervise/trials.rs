//! Trials of applications that ended a worker when they started: elsewhere, before they get a request again.
//!
//! In: who is to be tried, and what became of it. Out: orders to workers, to let requests pass or to refuse them further.
//! Never: holds up anything else. A worker in which such an application is tried would end, and the requests of others
//! with it.

use std::time::Instant;

use cohost::supervisor::worker::{Event, Trial, Verdict};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::{Stop, Supervisor};
use crate::trial::{self, Failed};

/// Trials that are under way.
pub(super) struct Trials {
    tell: UnboundedSender<Tried>,
    pub(super) told: UnboundedReceiver<Tried>,
    /// The processes that they have started end with them.
    under_way: JoinSet<()>,
}

impl Trials {
    /// The host stops: nobody waits for them any more.
    pub(super) fn stop(&mut self) {
        self.under_way.abort_all();
    }
}

/// What became of a trial.
pub(super) struct Tried {
    application: String,
    trial: Trial,
    failed: Option<Failed>,
}

impl Default for Trials {
    fn default() -> Self {
        let (tell, told) = unbounded_channel();
        Self { tell, told, under_way: JoinSet::new() }
    }
}

impl Supervisor {
    /// When the next one is to be tried.
    pub(super) fn trial_due(&self) -> Option<Instant> {
        self.justice.verdicts.due(Instant::now()).filter(|_| self.stop == Stop::NotAsked)
    }

    /// Begins with those whose time has come.
    pub(super) fn go_on_with_trials(&mut self) {
        if self.stop == Stop::Asked {
            return;
        }
        for (application, trial) in self.justice.verdicts.to_try(Instant::now()) {
            let (edition, _) = &self.editions[&self.plan.edition()];
            let described = self.written(&application).map(|written| edition.described(written));
            let tell = self.justice.trials.tell.clone();
            tracing::info!(application, "trying an application that ended a worker, outside of workers");
            self.justice.trials.under_way.spawn(async move {
                let failed = match described {
                    Some(described) => trial::again(described).await,
                    None => None,
                };
                let _ending = tell.send(Tried { application, trial, failed });
            });
        }
    }

    /// One of them has ended.
    pub(super) fn tried(&mut self, tried: Tried) -> Vec<Event> {
        while self.justice.trials.under_way.try_join_next().is_some() {}
        let Tried { application, trial, failed } = tried;
        let now = Instant::now();
        let became = match failed {
            None => Ok(()),
            Some(Failed { code, detail, .. }) => Err(format!("in a trial: {code}: {detail}")),
        };
        let last = became.clone().err();
        match self.justice.verdicts.tried(now, &application, trial, became) {
            None => {}
            Some(Verdict::Refused(until, why)) => {
                let retry_after = until.saturating_duration_since(now);
                tracing::error!(
                    application,
                    last,
                    ?why,
                    ?retry_after,
                    "application does not start in a trial; it is refused until the next one"
                );
                self.refuse(&application, now);
            }
            Some(_) => {
                tracing::info!(
                    application,
                    "application is allowed again: nothing was wrong with it in a trial"
                );
                self.allow(&application);
            }
        }
        Vec::new()
    }
}
