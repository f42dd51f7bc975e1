//! Which applications with `hosting_model = "auto"` were demoted, and why: kept in a file, so that a restart of the host
//! does not begin with the same crashes.
//!
//! In: demotions, and the edition in force. Out: the same at the next start. Never: decides anything, or fails a host: one
//! that has no place for the file says so once, and forgets at its end.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use cohost::{ConfiguredModel, HostingModel, admin::When, config::Config};
use serde::{Deserialize, Serialize};

use crate::{edition::Edition, runtime_dir::RuntimeDir};

/// The file, and what it says.
#[derive(Debug, Default)]
pub(crate) struct Demotions {
    /// `None` if there is no place for one.
    file: Option<PathBuf>,
    known: BTreeMap<String, Demotion>,
}

/// Why an application does not run where it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Demotion {
    pub(crate) since: When,
    /// What it did the last time.
    pub(crate) why: String,
}

impl Demotions {
    /// What the file says that the host has left; nothing, if there is none.
    ///
    /// It is in the directory that a service manager keeps for the state of a service, or else in the runtime directory.
    pub(crate) fn left(runtime_dir: &RuntimeDir) -> Self {
        let state = std::env::var_os("STATE_DIRECTORY").filter(|directories| !directories.is_empty());
        let first = state.and_then(|directories| std::env::split_paths(&directories).next());
        Self::read(&first.unwrap_or_else(|| runtime_dir.path()))
    }

    fn read(directory: &Path) -> Self {
        let file = directory.join(NAME);
        let known = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "not a list of demotions; beginning without");
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        Self { file: Some(file), known }
    }

    /// Has applications that were demoted begin where they were. Those that are not `auto` any more are where they are
    /// written to be.
    pub(crate) fn apply(&self, edition: &mut Edition, config: &Config) {
        for application in config.sites.iter().flat_map(|site| &site.applications) {
            let Some(demotion) = self.known.get(&*application.name) else { continue };
            if application.configured_model() != ConfiguredModel::Auto {
                continue;
            }
            tracing::warn!(
                application = %application.name,
                why = demotion.why,
                since = serde_json::to_value(demotion.since).ok().as_ref().and_then(serde_json::Value::as_str),
                "application stays in a process of its own, until it is promoted"
            );
            edition.standing(&application.name).hosting_model = Some(HostingModel::OutOfProcess);
        }
    }

    /// An application is to be demoted.
    pub(crate) fn note(&mut self, application: &str, why: String) {
        let since = When(std::time::SystemTime::now());
        self.known.insert(application.to_owned(), Demotion { since, why });
    }

    /// Keeps those that hold in this edition, which is in force: whoever was promoted is forgotten.
    pub(crate) fn keep(&mut self, edition: &Edition, config: &Config) {
        let all = || config.sites.iter().flat_map(|site| &site.applications);
        let holds = |name: &str| {
            all().any(|application| {
                *application.name == *name
                    && application.configured_model() == ConfiguredModel::Auto
                    && edition.described(application).application.hosting_model == HostingModel::OutOfProcess
            })
        };
        self.known.retain(|name, _| holds(name));
        let result = self.file.as_deref().map_or(Ok(()), |file| write(file, &self.known));
        if let Err(error) = result {
            let file = self.file.take().unwrap_or_default();
            tracing::warn!(
                file = %file.display(), %error,
                "demotions of applications are forgotten at the end of the host: their list cannot be written"
            );
        }
    }
}

/// In one step: whoever reads it sees the old one or the new one. An empty one is no file.
fn write(file: &Path, known: &BTreeMap<String, Demotion>) -> io::Result<()> {
    if known.is_empty() {
        return match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let next = file.with_extension("next");
    std::fs::write(&next, serde_json::to_vec_pretty(known)?)?;
    std::fs::rename(next, file)
}

const NAME: &str = "demotions.json";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        artifact::Named,
        cli::{Cli, Command},
    };

    fn edition(model: &str) -> (Edition, Config) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cohost.toml");
        let site = "[[site]]\nname = 'a'\nbindings = ['http://*:80']\n[[site.application]]\nname = 'shop'\n\
                    library = 'x.so'\n";
        std::fs::write(&file, format!("{site}hosting_model = '{model}'\n")).unwrap();
        let line = ["cohost", "run"].map(Into::into).to_vec();
        let Command::Run(arguments) = Cli::try_parse_from(&line).unwrap().command else { panic!("it is") };
        let edition = Edition::new(&Named::Configuration(file), &arguments, line).unwrap();
        let config = edition.config().unwrap();
        (edition, config)
    }

    fn model(edition: &Edition, config: &Config) -> HostingModel {
        edition.described(&config.sites[0].applications[0]).application.hosting_model
    }

    #[test]
    fn a_demotion_is_found_again_until_the_application_is_promoted() {
        let directory = tempfile::tempdir().unwrap();
        let (mut edition, config) = edition("auto");
        assert_eq!(model(&edition, &config), HostingModel::InProcess);
        let mut demotions = Demotions::read(directory.path());
        demotions.note("shop", "SIGSEGV".to_owned());
        edition.standing("shop").hosting_model = Some(HostingModel::OutOfProcess);
        demotions.keep(&edition, &config);

        let mut demotions = Demotions::read(directory.path());
        assert_eq!(demotions.known["shop"].why, "SIGSEGV");
        edition.standing("shop").hosting_model = None;
        demotions.apply(&mut edition, &config);
        assert_eq!(model(&edition, &config), HostingModel::OutOfProcess);

        edition.standing("shop").hosting_model = None;
        demotions.keep(&edition, &config);
        assert!(!directory.path().join(NAME).exists());
        assert_eq!(Demotions::read(directory.path()).known.len(), 0);
    }

    #[test]
    fn who_is_to_stay_in_process_is_not_demoted_by_what_was_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut demotions = Demotions::read(directory.path());
        demotions.note("shop", "SIGSEGV".to_owned());
        let (mut edition, config) = edition("inprocess");
        demotions.apply(&mut edition, &config);
        assert_eq!(model(&edition, &config), HostingModel::InProcess);
    }

    #[test]
    fn a_host_without_a_place_for_it_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut demotions = Demotions::read(&directory.path().join("nowhere"));
        demotions.note("shop", "SIGSEGV".to_owned());
        let (mut edition, config) = edition("auto");
        edition.standing("shop").hosting_model = Some(HostingModel::OutOfProcess);
        demotions.keep(&edition, &config);
        assert_eq!(demotions.file, None);
        assert_eq!(demotions.known.len(), 1);
    }
}
