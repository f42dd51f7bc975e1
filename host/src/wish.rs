//! What somebody wishes to be different, and what it comes to for an edition.
//!
//! In: a wish, and an edition. Out: the edition as it is wished, or why that cannot be. Never: touches a file; who grants a
//! wish that is about files has looked at them before.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use cohost::{
    HostingModel,
    admin::{Code, Problem, nearest},
    config::{Application, Artifact, Config},
    supervisor::recycling::Reason,
};

use crate::{
    edition::Edition,
    standing::{self, By, Described, Offline},
};

/// What somebody wishes to be different.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wish {
    /// All that is written, and all files, as they are by now.
    Reload,
    /// What is at these paths, as it is by now.
    Look(BTreeSet<PathBuf>),
    /// A fresh one of this application, as it is written and as its file is by now.
    Recycle(String),
    /// A fresh one of this application, the same otherwise, for this reason.
    Refresh(String, Reason),
    /// A fresh worker, and so a fresh one of everything in it.
    RecycleAll,
    /// It is not served, and this page shown in its place.
    Offline(String, Option<String>),
    /// It is served again.
    Online(String),
    /// It runs there.
    Host(String, HostingModel),
    /// The generation of this application that was before this one.
    RollBack(String),
    /// The one that was before just this one, which has crashed.
    GoBack(Box<Described>),
}

impl Wish {
    /// The application that is to be what it was before.
    pub(crate) fn goes_back(&self) -> Option<&str> {
        match self {
            Self::RollBack(name) => Some(name),
            Self::GoBack(crashed) => Some(crashed.name()),
            _ => None,
        }
    }

    /// Whether it is about what lies at this path.
    pub(crate) fn is_about(&self, path: &Path) -> bool {
        match self {
            Self::Reload | Self::RecycleAll => true,
            Self::Look(paths) => paths.contains(path),
            _ => false,
        }
    }
}

/// Makes `edition`, which means `config`, as it is wished.
pub(crate) fn grant(wish: &Wish, edition: &mut Edition, config: &Config) -> Result<(), Problem> {
    match wish {
        // That was done by looking.
        Wish::Reload | Wish::Look(_) | Wish::RecycleAll => {}
        Wish::Recycle(name) => {
            find(name, config)?;
            edition.standing(name).round += 1;
        }
        // If it is gone by now, all the better.
        Wish::Refresh(name, _) => {
            if find(name, config).is_ok() {
                edition.standing(name).round += 1;
            }
        }
        Wish::Offline(name, page) => {
            find(name, config)?;
            edition.standing(name).offline = Some(Offline { by: By::Operator, page: page.clone() });
        }
        Wish::Online(name) => {
            find(name, config)?;
            edition.standing(name).offline = None;
        }
        Wish::Host(name, model) => host(find(name, config)?, *model, edition)?,
        Wish::RollBack(name) => {
            find(name, config)?;
            let text = edition.text().map(str::to_owned);
            let back = edition.standing(name).roll_back(text.as_deref());
            back.map_err(|why| Problem::new(Code::Impossible, format!("{name}: {why}")))?;
        }
        Wish::GoBack(crashed) => {
            // What has come in between is none of what crashed, and gets its own chance.
            let is_there = |now: &Application| crashed.is_of_one_generation(&edition.described(now));
            if find(crashed.name(), config).is_ok_and(is_there) {
                return grant(&Wish::RollBack(crashed.name().to_owned()), edition, config);
            }
        }
    }
    Ok(())
}

/// Has `application` run where it is wished.
fn host(application: &Application, model: HostingModel, edition: &mut Edition) -> Result<(), Problem> {
    let elsewhere = match application.artifact {
        Artifact::Files(_) => Some("is files; there is no code that could run elsewhere"),
        Artifact::Upstreams(_) => Some("is upstreams; what they run, this host does not"),
        Artifact::Library(_) | Artifact::Command(_) => None,
    };
    if let Some(elsewhere) = elsewhere {
        return Err(Problem::new(Code::Impossible, format!("{} {elsewhere}", application.name)));
    }
    if matches!(application.artifact, Artifact::Command(_)) && model == HostingModel::InProcess {
        let name = &application.name;
        let detail = format!("{name} is a command; only a library can be hosted in process");
        return Err(Problem::new(Code::Impossible, detail));
    }
    if standing::is_confined(application) && model == HostingModel::InProcess {
        let name = &application.name;
        let detail = format!("{name} has limits or a user of its own, which need a process");
        return Err(Problem::new(Code::Impossible, detail));
    }
    // Where it is written to run anyway, nothing need be remembered.
    let decided = Some(model).filter(|model| *model != application.hosting_model);
    edition.standing(&application.name).hosting_model = decided;
    Ok(())
}

pub(crate) fn find<'a>(name: &str, config: &'a Config) -> Result<&'a Application, Problem> {
    let all = || config.sites.iter().flat_map(|site| &site.applications);
    all().find(|application| *application.name == *name).ok_or_else(|| {
        let names: Vec<&str> = all().map(|application| &*application.name).collect();
        let meant = match nearest(name, &names) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("there are {}", names.join(", ")),
        };
        Problem::new(Code::UnknownApplication, format!("there is no application {name}; {meant}"))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        artifact::Named,
        cli::{Cli, Command},
    };

    const SITE: &str = "[[site]]\nname = 'a'\nbindings = ['http://*:80']\n\
        [[site.application]]\nname = 'shop'\nlibrary = 'x.so'\n\
        [[site.application]]\nname = 'api'\npath = '/api'\ncommand = 'x'\n\
        [[site.application]]\nname = 'safe'\npath = '/safe'\nlibrary = 'x.so'\nhosting_model = 'outofprocess'\n\
        umask = '077'\n";

    fn edition() -> (Edition, Config) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cohost.toml");
        std::fs::write(&file, SITE).unwrap();
        let line = ["cohost", "run"].map(Into::into).to_vec();
        let Command::Run(arguments) = Cli::try_parse_from(&line).unwrap().command else { panic!("it is") };
        let edition = Edition::new(&Named::Configuration(file), &arguments, line).unwrap();
        let config = edition.config().unwrap();
        (edition, config)
    }

    /// What the edition after this wish has of an application; `None` if there is no other edition.
    fn granted(edition: &mut Edition, config: &Config, wish: &Wish) -> Option<crate::standing::Described> {
        let (application, before) = (&config.sites[0].applications[0], edition.clone());
        grant(wish, edition, config).unwrap();
        let (was, is) = (before.described(application), edition.described(application));
        (was != is).then_some(is)
    }

    #[test]
    fn an_application_is_another_one_after_it_was_recycled_and_no_other_is() {
        let (mut edition, config) = edition();
        let (before, api) = (edition.clone(), &config.sites[0].applications[1]);
        for round in 1..=2 {
            let shop = granted(&mut edition, &config, &Wish::Recycle("shop".into())).unwrap();
            assert_eq!(shop.round, round);
        }
        assert_eq!(edition.described(api), before.described(api));
    }

    #[test]
    fn what_is_offline_stays_so_until_it_is_online_again() {
        let (mut edition, config) = edition();
        let offline = || Wish::Offline("shop".into(), Some("<p>later".into()));
        let shop = granted(&mut edition, &config, &offline()).unwrap();
        assert_eq!(shop.offline.unwrap().page.as_deref(), Some("<p>later"));
        assert_eq!(granted(&mut edition, &config, &offline()), None);
        assert_eq!(granted(&mut edition, &config, &Wish::Online("shop".into())).unwrap().offline, None);
        assert_eq!(granted(&mut edition, &config, &Wish::Online("shop".into())), None);
    }

    #[test]
    fn an_application_runs_where_it_is_wished_and_as_written_in_the_end() {
        let (mut edition, config) = edition();
        let host = |model| Wish::Host("shop".into(), model);
        assert_eq!(granted(&mut edition, &config, &host(HostingModel::InProcess)), None);
        let shop = granted(&mut edition, &config, &host(HostingModel::OutOfProcess)).unwrap();
        assert_eq!(shop.application.hosting_model, HostingModel::OutOfProcess);
        let shop = granted(&mut edition, &config, &host(HostingModel::InProcess)).unwrap();
        assert_eq!(shop, crate::standing::Standing::default().of(&config.sites[0].applications[0]));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let (mut edition, config) = edition();
        let mut refused = |wish| grant(&wish, &mut edition, &config).unwrap_err();
        let unknown = refused(Wish::Recycle("shp".into()));
        assert_eq!(
            (unknown.code, &*unknown.detail),
            (Code::UnknownApplication, "there is no application shp; did you mean shop?")
        );
        let unknown = refused(Wish::Online("warehouse".into()));
        assert_eq!(unknown.detail, "there is no application warehouse; there are shop, api, safe");
        let command = refused(Wish::Host("api".into(), HostingModel::InProcess));
        assert_eq!(command.code, Code::Impossible);
        let confined = refused(Wish::Host("safe".into(), HostingModel::InProcess));
        assert_eq!(
            (confined.code, &*confined.detail),
            (Code::Impossible, "safe has limits or a user of its own, which need a process")
        );
    }
}
