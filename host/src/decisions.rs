//! What was decided about applications beyond what is written: which are offline, and which run elsewhere. Kept in a file,
//! so that a restart of the host changes nothing about that, nor begins with the same crashes.
//!
//! In: demotions, and each edition in force. Out: the same at the next start. Never: decides anything, or fails a host: one
//! that has no place for the file says so once, and forgets at its end.

use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use cohost::{
    ConfiguredModel, HostingModel,
    admin::When,
    config::{Application, Config},
};
use serde::{Deserialize, Serialize};

use crate::{
    edition::Edition,
    runtime_dir::RuntimeDir,
    standing::{self, By, Offline},
    wish::{self, Wish},
};

/// The file, and what it says.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// `None` if there is no place for one.
    file: Option<PathBuf>,
    known: Known,
    /// Why the host has demoted applications that are on their way out.
    demoted: BTreeMap<String, String>,
}

/// As it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    /// What is served, if others may be served with this place: their names may be the same.
    of: String,
    applications: BTreeMap<String, Decided>,
}

/// What was decided about one application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Decided {
    #[serde(skip_serializing_if = "Option::is_none")]
    offline: Option<Away>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosting_model: Option<Elsewhere>,
}

/// It is not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Away {
    since: When,
    why: String,
    page: Option<String>,
}

/// It does not run where it is written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Elsewhere {
    #[serde(serialize_with = "standing::model_as_text", deserialize_with = "standing::model_of_text")]
    runs: Option<HostingModel>,
    since: When,
    /// Of a demotion: what it did the last time.
    why: String,
    by: Decider,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decider {
    Host,
    Operator,
}

impl Decisions {
    /// What the file says that the host has left; nothing, if there is none, or if it is about something else.
    ///
    /// It is in the directory that a service manager keeps for the state of a service, or else in the runtime directory.
    pub(crate) fn left(runtime_dir: &RuntimeDir, edition: &Edition) -> Self {
        let state = std::env::var_os("STATE_DIRECTORY").filter(|directories| !directories.is_empty());
        match state.and_then(|directories| std::env::split_paths(&directories).next()) {
            // That of one service, wherever its configuration lies.
            Some(directory) => Self::read(&directory, String::new()),
            // One after the other, several hosts may have it.
            None => Self::read(&runtime_dir.path(), edition.subject().to_string_lossy().into_owned()),
        }
    }

    fn read(directory: &Path, of: String) -> Self {
        let file = directory.join(NAME);
        let known = match private(directory).and_then(|()| std::fs::read(&file)) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "not a list of decisions; beginning without");
                Known::default()
            }),
            Err(_) => Known::default(),
        };
        let known = if known.of == of { known } else { Known { of, ..Known::default() } };
        Self { file: Some(file), known, demoted: BTreeMap::new() }
    }

    /// Has applications begin as they were. Those that the host had demoted and that are not `auto` any more are where
    /// they are written to be.
    pub(crate) fn apply(&self, edition: &mut Edition, config: &Config) {
        for application in applications(config) {
            let Some(decided) = self.known.applications.get(&*application.name) else { continue };
            if let Some(away) = &decided.offline {
                go_offline(application, away, edition);
            }
            if let Some(elsewhere) = &decided.hosting_model {
                go_elsewhere(application, elsewhere, edition, config);
            }
        }
    }

    /// The host is to demote an application.
    pub(crate) fn demoted(&mut self, application: &str, why: String) {
        self.demoted.insert(application.to_owned(), why);
    }

    /// Keeps what holds in this edition, which is in force, and forgets all else.
    pub(crate) fn keep(&mut self, edition: &Edition, config: &Config) {
        let all = applications(config).filter_map(|application| {
            let decided = self.of(application, edition);
            (decided != Decided::default()).then(|| (application.name.to_string(), decided))
        });
        let next = Known { of: self.known.of.clone(), applications: all.collect() };
        if next == self.known {
            return;
        }
        self.known = next;
        // One that is in force has its reason by now.
        self.demoted.retain(|name, _| {
            self.known.applications.get(name).is_none_or(|decided| decided.hosting_model.is_none())
        });
        let result = self.file.as_deref().map_or(Ok(()), |file| write(file, &self.known));
        if let Err(error) = result {
            let file = self.file.take().unwrap_or_default();
            tracing::warn!(
                file = %file.display(), %error,
                "what was decided about applications is forgotten at the end of the host: it cannot be written"
            );
        }
    }

    /// What holds for an application, since when and why: as it is known, or from now on.
    fn of(&self, application: &Application, edition: &Edition) -> Decided {
        let Some(standing) = edition.stands(&application.name) else { return Decided::default() };
        let known = self.known.applications.get(&*application.name).cloned().unwrap_or_default();
        let since = When(SystemTime::now());
        let offline = standing.offline.as_ref().map(|Offline { page, .. }| {
            let same = known.offline.filter(|away| away.page == *page);
            same.unwrap_or_else(|| Away { since, why: BY_COMMAND.to_owned(), page: page.clone() })
        });
        let runs = standing.hosting_model.filter(|model| *model != application.hosting_model);
        let hosting_model = runs.map(|model| {
            let same = known.hosting_model.filter(|elsewhere| elsewhere.runs == Some(model));
            same.unwrap_or_else(|| match self.demoted.get(&*application.name) {
                Some(why) if model == HostingModel::OutOfProcess => {
                    Elsewhere { runs, since, why: why.clone(), by: Decider::Host }
                }
                _ => Elsewhere { runs, since, why: BY_COMMAND.to_owned(), by: Decider::Operator },
            })
        });
        Decided { offline, hosting_model }
    }
}

fn go_offline(application: &Application, away: &Away, edition: &mut Edition) {
    tracing::warn!(
        application = %application.name,
        why = away.why,
        since = told(away.since),
        "application stays offline, until it is taken online"
    );
    edition.standing(&application.name).offline = Some(Offline { by: By::Operator, page: away.page.clone() });
}

fn go_elsewhere(application: &Application, elsewhere: &Elsewhere, edition: &mut Edition, config: &Config) {
    let Elsewhere { runs: Some(model), since, why, by } = elsewhere else { return };
    if *by == Decider::Host && application.configured_model() != ConfiguredModel::Auto {
        return;
    }
    // It may be another one by now, for which that is not to be had.
    if wish::grant(&Wish::Host(application.name.to_string(), *model), edition, config).is_err() {
        return;
    }
    if edition.described(application).application.hosting_model == application.hosting_model {
        return;
    }
    let (application, since) = (&*application.name, told(*since));
    if *model == HostingModel::InProcess {
        tracing::warn!(application, why, since, "application stays in process, until it is demoted");
    } else {
        tracing::warn!(
            application,
            why,
            since,
            "application stays in a process of its own, until it is promoted"
        );
    }
}

fn told(since: When) -> String {
    let value = serde_json::to_value(since).ok();
    value.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn applications(config: &Config) -> impl Iterator<Item = &Application> {
    config.sites.iter().flat_map(|site| &site.applications)
}

/// In one step: whoever reads it sees the old one or the new one. An empty one is no file.
fn write(file: &Path, known: &Known) -> io::Result<()> {
    if known.applications.is_empty() {
        return match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    // Or it might be written to whatever a link leads to.
    private(file.parent().unwrap_or(Path::new(".")))?;
    let next = file.with_extension("next");
    std::fs::write(&next, serde_json::to_vec_pretty(known)?)?;
    std::fs::rename(next, file)
}

/// Whether nobody else decides what is in a directory. A host without a door may have been told one of somebody else's.
fn private(directory: &Path) -> io::Result<()> {
    let found = std::fs::metadata(directory)?;
    let is_ours = [0, rustix::process::geteuid().as_raw()].contains(&found.uid());
    if is_ours && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    let why = "others may write to its directory; name another with --runtime-dir, or in $STATE_DIRECTORY";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

const NAME: &str = "decisions.json";

const BY_COMMAND: &str = "an operator's command";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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

    fn read(directory: &Path) -> Decisions {
        Decisions::read(directory, "shop.toml".to_owned())
    }

    fn model(edition: &Edition, config: &Config) -> HostingModel {
        edition.described(&config.sites[0].applications[0]).application.hosting_model
    }

    fn shop(decisions: &Decisions) -> Decided {
        decisions.known.applications["shop"].clone()
    }

    fn grant(wish: &Wish, edition: &mut Edition, config: &Config) {
        wish::grant(wish, edition, config).unwrap();
    }

    fn host(model: HostingModel) -> Wish {
        Wish::Host("shop".to_owned(), model)
    }

    /// What is served after the shop was demoted, which is kept there.
    fn demoted(directory: &Path) -> (Edition, Config) {
        let (mut edition, config) = edition("auto");
        assert_eq!(model(&edition, &config), HostingModel::InProcess);
        let mut decisions = read(directory);
        decisions.demoted("shop", "SIGSEGV".to_owned());
        grant(&host(HostingModel::OutOfProcess), &mut edition, &config);
        decisions.keep(&edition, &config);
        (edition, config)
    }

    #[test]
    fn what_others_may_write_is_neither_believed_nor_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let (edition, config) = demoted(directory.path());
        assert_eq!(read(directory.path()).known.applications.len(), 1);

        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let mut decisions = read(directory.path());
        assert_eq!(decisions.known.applications.len(), 0);
        std::fs::remove_file(directory.path().join(NAME)).unwrap();
        decisions.demoted("shop", "SIGSEGV".to_owned());
        decisions.keep(&edition, &config);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(decisions.file.is_none(), "it is said once");
    }

    #[test]
    fn a_demotion_is_found_again_until_the_application_is_promoted() {
        let directory = tempfile::tempdir().unwrap();
        let (mut edition, config) = demoted(directory.path());

        let mut decisions = read(directory.path());
        assert_eq!(shop(&decisions).hosting_model.unwrap().why, "SIGSEGV");
        grant(&host(HostingModel::InProcess), &mut edition, &config);
        decisions.apply(&mut edition, &config);
        assert_eq!(model(&edition, &config), HostingModel::OutOfProcess);

        grant(&host(HostingModel::InProcess), &mut edition, &config);
        decisions.keep(&edition, &config);
        assert!(!directory.path().join(NAME).exists());
        assert_eq!(read(directory.path()).known.applications.len(), 0);
    }

    #[test]
    fn what_an_operator_wished_holds_until_the_opposite_is_wished_whatever_else_is_decided() {
        let directory = tempfile::tempdir().unwrap();
        let (mut edition, config) = edition("inprocess");
        let mut decisions = read(directory.path());
        let page = Some("<p>later".to_owned());
        grant(&Wish::Offline("shop".to_owned(), page.clone()), &mut edition, &config);
        decisions.keep(&edition, &config);
        let since = shop(&decisions).offline.unwrap().since;
        grant(&host(HostingModel::OutOfProcess), &mut edition, &config);
        decisions.keep(&edition, &config);
        assert_eq!(shop(&decisions).offline.unwrap().since, since);

        let (mut again, config) = self::edition("inprocess");
        let mut decisions = read(directory.path());
        decisions.apply(&mut again, &config);
        assert_eq!(model(&again, &config), HostingModel::OutOfProcess);
        let offline = again.described(&config.sites[0].applications[0]).offline.unwrap();
        assert_eq!((offline.by, offline.page), (By::Operator, page));

        grant(&Wish::Online("shop".to_owned()), &mut again, &config);
        decisions.keep(&again, &config);
        assert_eq!(shop(&decisions).offline, None);
        assert!(shop(&decisions).hosting_model.is_some());
    }

    #[test]
    fn who_is_to_stay_in_process_is_not_demoted_by_what_was_once() {
        let directory = tempfile::tempdir().unwrap();
        demoted(directory.path());
        let (mut edition, config) = edition("inprocess");
        read(directory.path()).apply(&mut edition, &config);
        assert_eq!(model(&edition, &config), HostingModel::InProcess);
    }

    #[test]
    fn another_configuration_has_nothing_to_do_with_what_was_decided_about_this_one() {
        let directory = tempfile::tempdir().unwrap();
        let (mut edition, config) = edition("inprocess");
        let mut decisions = read(directory.path());
        grant(&Wish::Offline("shop".to_owned(), None), &mut edition, &config);
        decisions.keep(&edition, &config);
        assert!(Decisions::read(directory.path(), "other.toml".to_owned()).known.applications.is_empty());
    }

    #[test]
    fn a_host_without_a_place_for_it_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let (mut edition, config) = edition("auto");
        let mut decisions = read(&directory.path().join("nowhere"));
        decisions.demoted("shop", "SIGSEGV".to_owned());
        grant(&host(HostingModel::OutOfProcess), &mut edition, &config);
        decisions.keep(&edition, &config);
        assert_eq!(decisions.file, None);
        assert_eq!(decisions.known.applications.len(), 1);
    }
}
