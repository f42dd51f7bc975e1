//! What operators wish to be different about applications: each wish a new edition, one after the other.
//!
//! In: wishes, and the edition in force. Out: the next edition, or why there is none. Never: begins with one while
//! another change is under way: what came of that would be lost, or held against this one.

use std::collections::VecDeque;

use cohost::{
    HostingModel,
    admin::{Changed, Code, Problem, Reply, nearest},
    config::{Application, Artifact, Config},
    supervisor::worker::Event,
};

use super::{
    Stop, Supervisor,
    commands::{Until, refusal, stopping},
};
use crate::{
    edition::Edition,
    standing::{By, Offline},
};

/// What an operator wishes to be different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A fresh one of this application.
    Recycle(String),
    /// A fresh worker, and so a fresh one of everything in it.
    RecycleAll,
    /// It is not served, and this page shown in its place.
    Offline(String, Option<String>),
    /// It is served again.
    Online(String),
    /// It runs there.
    Host(String, HostingModel),
}

/// Wishes that wait for their turn.
pub(super) type Wishes = VecDeque<(Wish, Reply)>;

/// What a wish comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Granted {
    /// It is as wished already.
    Already,
    /// The edition is another one now.
    Changed,
}

impl Supervisor {
    /// Begins with the next wish, if nothing else is under way.
    pub(super) fn next_wish(&mut self) -> Option<Event> {
        if self.stop == Stop::Asked {
            self.wishes.drain(..).for_each(|(_, reply)| reply.refuse(stopping()));
        }
        while !self.is_changing() {
            let (wish, reply) = self.wishes.pop_front()?;
            match self.begin(&wish) {
                Ok(Some(event)) => {
                    let until = match wish {
                        Wish::Offline(application, _) => Until::Ended(application),
                        _ => Until::Alone,
                    };
                    self.waiting.change(self.last, until, reply);
                    return Some(event);
                }
                Ok(None) => reply.done(&Changed { edition: self.plan.edition().0 }),
                Err(problem) => reply.refuse(problem),
            }
        }
        None
    }

    /// Whether an edition is being tried, or waits for that.
    fn is_changing(&self) -> bool {
        self.editions.keys().next_back().is_some_and(|newest| *newest > self.plan.edition())
    }

    fn begin(&mut self, wish: &Wish) -> Result<Option<Event>, Problem> {
        let (edition, config) = &self.editions[&self.plan.edition()];
        let mut edition = edition.clone();
        match grant(wish, &mut edition, config)? {
            Granted::Already => Ok(None),
            Granted::Changed => {
                tracing::info!(?wish, "an operator wants a change");
                let event = self.propose(edition).map_err(|refused| refusal(&refused))?;
                Ok(Some(match (wish, event) {
                    (Wish::RecycleAll, Event::Change(edition, terms)) => Event::Replace(edition, terms),
                    (_, event) => event,
                }))
            }
        }
    }
}

/// Makes `edition`, which means `config`, as it is wished.
fn grant(wish: &Wish, edition: &mut Edition, config: &Config) -> Result<Granted, Problem> {
    match wish {
        Wish::RecycleAll => edition.look(config),
        Wish::Recycle(name) => {
            let application = find(name, config)?;
            edition.look_at(application);
            edition.standing(name).round += 1;
        }
        Wish::Offline(name, page) => {
            find(name, config)?;
            let wished = Some(Offline { by: By::Operator, page: page.clone() });
            if edition.standing(name).offline == wished {
                return Ok(Granted::Already);
            }
            edition.standing(name).offline = wished;
        }
        Wish::Online(name) => {
            find(name, config)?;
            if edition.standing(name).offline.take().is_none() {
                return Ok(Granted::Already);
            }
        }
        Wish::Host(name, model) => return host(find(name, config)?, *model, edition),
    }
    Ok(Granted::Changed)
}

/// Has `application` run where it is wished.
fn host(application: &Application, model: HostingModel, edition: &mut Edition) -> Result<Granted, Problem> {
    if matches!(application.artifact, Artifact::Command(_)) && model == HostingModel::InProcess {
        let name = &application.name;
        let detail = format!("{name} is a command; only a library can be hosted in process");
        return Err(Problem::new(Code::Impossible, detail));
    }
    if edition.described(application).application.hosting_model == model {
        return Ok(Granted::Already);
    }
    // Where it is written to run anyway, nothing need be remembered.
    let decided = Some(model).filter(|model| *model != application.hosting_model);
    edition.standing(&application.name).hosting_model = decided;
    Ok(Granted::Changed)
}

pub(super) fn find<'a>(name: &str, config: &'a Config) -> Result<&'a Application, Problem> {
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
        [[site.application]]\nname = 'api'\npath = '/api'\ncommand = 'x'\n";

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
        let application = &config.sites[0].applications[0];
        let granted = grant(wish, edition, config).unwrap();
        (granted == Granted::Changed).then(|| edition.described(application))
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
        assert_eq!(unknown.detail, "there is no application warehouse; there are shop, api");
        let command = refused(Wish::Host("api".into(), HostingModel::InProcess));
        assert_eq!(command.code, Code::Impossible);
    }
}
