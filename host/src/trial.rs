//! A trial: what changes is started once in a process that is thrown away, before it comes into one that serves.
//!
//! In: two editions, or an application that ended a worker. Out: which applications do not start, and why. A
//! constructor that crashes, ends the process, or never returns does so there. Never: tries what runs in a process of
//! its own anyway: its start is the trial.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cohost::{
    Application, HostingModel,
    config::{self, Artifact, Config},
    supervisor::Runner,
};
use tokio::{runtime::Handle, sync::watch, task::JoinSet};

use crate::{edition::Edition, standing::Described};

/// An application that did not start.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) application: Arc<str>,
    /// The failure's code.
    pub(crate) code: String,
    pub(crate) detail: String,
}

/// Tries one that has not changed. Nothing is wrong with one that cannot be tried so.
pub(crate) async fn again(described: Described) -> Option<Failed> {
    if is_due(None, &described) { start_and_stop(described).await } else { None }
}

/// Trials of what is to come. Each goes on until somebody ends it, whether anybody waits for it or not: what is tried again
/// meanwhile, and is the same, waits for the same trial.
#[derive(Clone, Default)]
pub(crate) struct Ongoing(Arc<Mutex<Vec<Trial>>>);

struct Trial {
    of: Described,
    outcome: watch::Receiver<Option<Outcome>>,
    /// Ends with this.
    _task: JoinSet<()>,
}

#[derive(Clone)]
enum Outcome {
    Started,
    Failed(Failed),
}

impl Ongoing {
    /// Tries what is in process and is another one in `next` than in `base`, side by side.
    ///
    /// Dropping the future lets the trials go on.
    pub(crate) async fn run(
        &self,
        (base, before): (&Edition, &Config),
        (next, config): (&Edition, &Config),
    ) -> Vec<Failed> {
        let mut outcomes = Vec::new();
        for application in applications(config) {
            let old = applications(before).find(|old| old.name == application.name);
            let old = old.map(|old| base.described(old));
            let new = next.described(application);
            if is_due(old.as_ref(), &new) {
                outcomes.push(self.outcome(new));
            }
        }
        let mut failed = Vec::new();
        for mut outcome in outcomes {
            // The error is that it was ended, and then nobody wants to know.
            if let Ok(Some(Outcome::Failed(why))) = outcome.wait_for(Option::is_some).await.as_deref() {
                failed.push(why.clone());
            }
        }
        failed
    }

    /// What comes of a trial; of one that is there, if it is of the same.
    fn outcome(&self, new: Described) -> watch::Receiver<Option<Outcome>> {
        let mut trials = self.trials();
        let same = |trial: &&Trial| is_same(&trial.of, &new);
        if let Some(trial) = trials.iter().find(same) {
            return trial.outcome.clone();
        }
        let (tell, outcome) = watch::channel(None);
        let (mut task, of) = (JoinSet::new(), new.clone());
        task.spawn(async move {
            let became = start_and_stop(new).await.map_or(Outcome::Started, Outcome::Failed);
            tell.send_replace(Some(became));
        });
        trials.push(Trial { of, outcome: outcome.clone(), _task: task });
        outcome
    }

    /// Whether none is under way.
    pub(crate) fn are_over(&self) -> bool {
        self.trials().iter().all(|trial| trial.outcome.borrow().is_some())
    }

    /// Ends those that are under way, and forgets the others.
    pub(crate) fn end(&self) {
        self.trials().clear();
    }

    fn trials(&self) -> MutexGuard<'_, Vec<Trial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_due(old: Option<&Described>, new: &Described) -> bool {
    let same = old.is_some_and(|old| is_same(old, new) && old.offline.is_none());
    let application = &new.application;
    let in_process = application.hosting_model == HostingModel::InProcess;
    // Without a copy there is nothing that could start.
    in_process && application.trial && new.pinned.is_some() && new.offline.is_none() && !same
}

fn is_same(one: &Described, other: &Described) -> bool {
    one.application == other.application && one.pinned == other.pinned
}

async fn start_and_stop(new: Described) -> Option<Failed> {
    let Described { application: described, pinned: Some(pinned), .. } = &new else { return None };
    let Artifact::Library(library) = &described.artifact else { return None };
    let name = &described.name;
    let application = Application::builder()
        .library(library)
        .pinned(pinned)
        // In logs; nothing else sees it.
        .name(format!("{name} (trial)"))
        .path_base(described.path.as_str())
        .hosting_model(HostingModel::OutOfProcess)
        .content_root(&described.content_root)
        .settings(described.settings.clone())
        .options(described.options.clone())
        .inherited_environment(std::env::vars_os())
        .runner(Runner::current(std::env::temp_dir()))
        .build();
    let application = match application {
        Ok(application) => application,
        Err(error) => {
            let (code, detail) = ("start_failed".to_owned(), error.to_string());
            return Some(Failed { application: Arc::clone(name), code, detail });
        }
    };
    // Its start would go on without us.
    let abandoned = Abandoned(Some(application.clone()));
    let started = application.start().await;
    application.stop().await;
    abandoned.finish();
    let failure = started.err()?;
    Some(Failed { application: Arc::clone(name), code: failure.code.to_string(), detail: failure.detail })
}

fn applications(config: &Config) -> impl Iterator<Item = &config::Application> {
    config.sites.iter().flat_map(|site| &site.applications)
}

/// An application that nobody waits for any more, unless it is over.
struct Abandoned(Option<Application>);

impl Abandoned {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let (Some(application), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move { application.stop().await });
        }
    }
}
