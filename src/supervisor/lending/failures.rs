//! Which application failed how often, whoever wanted it.
//!
//! In: what became of starts and instances, and the time. Out: until when a launch is not tried, and why. Never: starts
//! anything, looks at a clock, or remembers an application that does well.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::super::{
    Launch,
    patience::{Patience, Policy, Why},
};

/// Failures of applications, by name: a worker that takes over does not begin to count anew.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<Arc<str>, Failing>);

#[derive(Debug)]
struct Failing {
    /// What failed. Another one may be better.
    launch: Arc<Launch>,
    patience: Patience,
}

impl Failures {
    /// It is ready.
    pub(super) fn started(&mut self, now: Instant, launch: &Launch) {
        if let Some(failing) = self.of(launch) {
            failing.patience.started();
            if failing.patience.failures(now) == 0 {
                self.0.remove(&launch.application);
            }
        }
    }

    /// It did not become ready.
    pub(super) fn start_failed(&mut self, now: Instant, launch: &Arc<Launch>) {
        self.note(launch).start_failed(now);
    }

    /// It ended, and nobody had asked it to.
    pub(super) fn crashed(&mut self, now: Instant, launch: &Arc<Launch>) {
        self.note(launch).crashed(now);
    }

    /// Until when it is not to be tried, and why. At that very time it is.
    pub(super) fn refused(&self, now: Instant, launch: &Launch) -> Option<(Instant, Why)> {
        let failing = self.0.get(&launch.application).filter(|failing| *failing.launch == *launch)?;
        failing.patience.refused(now)
    }

    /// The past of an application does not count any more.
    pub(super) fn forget(&mut self, application: &str) {
        self.0.remove(application);
    }

    /// All of them, for the next program.
    pub(super) fn carry(&self) -> Vec<(Launch, Patience)> {
        self.0.values().map(|failing| ((*failing.launch).clone(), failing.patience.clone())).collect()
    }

    /// Those of the program before this one.
    pub(super) fn resume(carried: Vec<(Launch, Patience)>) -> Self {
        let failing = |(launch, patience): (Launch, Patience)| {
            let launch = Arc::new(launch);
            (Arc::clone(&launch.application), Failing { launch, patience })
        };
        Self(carried.into_iter().map(failing).collect())
    }

    fn of(&mut self, launch: &Launch) -> Option<&mut Failing> {
        self.0.get_mut(&launch.application).filter(|failing| *failing.launch == *launch)
    }

    fn note(&mut self, launch: &Arc<Launch>) -> &mut Patience {
        if self.of(launch).is_none() {
            let policy =
                Policy { rapid_fails_per_minute: launch.rapid_fails_per_minute, ..Policy::default() };
            let failing = Failing { launch: Arc::clone(launch), patience: Patience::new(policy) };
            self.0.insert(Arc::clone(&launch.application), failing);
        }
        let failing = self.0.get_mut(&launch.application).expect("it is there, or was added just now");
        &mut failing.patience
    }
}
