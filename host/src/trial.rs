//! A trial: what changes is started once in a process that is thrown away, before it comes into one that serves.
//!
//! In: two editions, or an application that ended a worker. Out: which applications do not start, and why. A constructor that crashes, ends the
//! process, or never returns does so there. Never: tries what runs in a process of its own anyway: its start is the trial.

use std::sync::Arc;

use cohost::{
    Application, HostingModel,
    config::{self, Artifact, Config},
    supervisor::Runner,
};
use tokio::task::JoinSet;

use crate::{edition::Edition, standing::Described};

/// An application that did not start.
#[derive(Debug)]
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

/// Tries what is in process and is another one in `next` than in `base`, side by side.
pub(crate) async fn run(
    (base, before): (&Edition, &Config),
    (next, config): (&Edition, &Config),
) -> Vec<Failed> {
    let mut trials = JoinSet::new();
    for application in applications(config) {
        let old = applications(before).find(|old| old.name == application.name);
        let old = old.map(|old| base.described(old));
        let new = next.described(application);
        if is_due(old.as_ref(), &new) {
            trials.spawn(start_and_stop(new));
        }
    }
    trials.join_all().await.into_iter().flatten().collect()
}

fn is_due(old: Option<&Described>, new: &Described) -> bool {
    let same = old.is_some_and(|old| {
        old.application == new.application && old.pinned == new.pinned && old.offline.is_none()
    });
    let application = &new.application;
    let in_process = application.hosting_model == HostingModel::InProcess;
    // Without a copy there is nothing that could start.
    in_process && application.trial && new.pinned.is_some() && new.offline.is_none() && !same
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
    let started = application.start().await;
    application.stop().await;
    let failure = started.err()?;
    Some(Failed { application: Arc::clone(name), code: failure.code.to_string(), detail: failure.detail })
}

fn applications(config: &Config) -> impl Iterator<Item = &config::Application> {
    config.sites.iter().flat_map(|site| &site.applications)
}
