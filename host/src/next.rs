//! The next edition: the one in force, and what somebody wishes to be different.
//!
//! In: an edition, and wishes. Out: another edition, with what could not be had; or why there is none. Touches files, and
//! copies libraries, so it is called where blocking is allowed. Never: changes anything that is in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::SystemTime,
};

use cohost::{
    admin::{Code, Problem},
    config::{Application, Artifact, Config},
    dispatcher::in_process::{Pins, Unpinned},
};

use crate::{
    certificates::{Before, Unusable},
    edition::Edition,
    exit::{Exit, Refused},
    libraries, offline,
    rollback::Former,
    standing::{self, Described, Standing},
    trial::Failed,
    wish::{self, Wish},
};

/// What came of wishes.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) edition: Edition,
    /// What it means.
    pub(crate) config: Config,
    /// What could not be had, and is as it was.
    pub(crate) troubles: Vec<Trouble>,
    /// Certificates of which the same is true.
    pub(crate) unusable: Vec<Unusable>,
}

/// A library that stays as it was, because what lies at its path now cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) application: String,
    pub(crate) library: PathBuf,
    /// The failure's code.
    pub(crate) code: String,
    /// What it is whose fault that is, to say it once.
    pub(crate) content: String,
    pub(crate) why: String,
}

impl Trouble {
    fn is_of(&self, application: &Application) -> bool {
        *self.application == *application.name
    }
}

/// For whoever has asked for what could not be had.
pub(crate) fn troubles(troubles: &[Trouble], unusable: &[Unusable]) -> Problem {
    let faults =
        troubles.iter().map(|Trouble { application, code, why, .. }| format!("{application}: {code}: {why}"));
    let certificates = unusable.iter().map(|Unusable { site, why, .. }| format!("{site}: {why}"));
    let detail = match troubles.is_empty() {
        false => "what lies at the path of a library cannot be used; what runs goes on",
        true => "a certificate cannot be used; the one before is presented further",
    };
    Problem::new(Code::StartRefused, detail).faults(faults.chain(certificates))
}

/// The first edition, with copies of its libraries.
pub(crate) fn first(edition: Edition, pins: &Pins) -> Result<Next, Problem> {
    let config = edition.config().map_err(|refused| problem(&refused))?;
    Making { base: None, next: Next { edition, config, troubles: Vec::new(), unusable: Vec::new() }, pins }
        .make(&[Wish::Reload])
}

/// The edition after `base`, which means `config`.
pub(crate) fn next(
    (base, config): (&Edition, &Config),
    wishes: &[Wish],
    pins: &Pins,
) -> Result<Next, Problem> {
    let written = |wish: &Wish| match wish {
        Wish::RecycleAll => false,
        wish => base.file().is_some_and(|file| wish.is_about(&file)),
    };
    let next = if wishes.iter().any(written) {
        let mut edition = base.again().map_err(|refused| problem(&refused))?;
        match wishes.contains(&Wish::Reload) {
            true => {
                edition.go_forward();
                edition.ask(SystemTime::now());
            }
            false => edition.settle(base),
        }
        let config = edition.config().map_err(|refused| problem(&refused))?;
        Next { edition, config, troubles: Vec::new(), unusable: Vec::new() }
    } else {
        Next { edition: base.clone(), config: config.clone(), troubles: Vec::new(), unusable: Vec::new() }
    };
    Making { base: Some((base, config)), next, pins }.make(wishes)
}

/// Why a configuration was not even tried.
pub(crate) fn problem(refused: &Refused) -> Problem {
    match refused.exit {
        Exit::Configuration => {
            Problem::new(Code::ConfigurationRefused, "the configuration has faults; the one in force stays")
                .faults(refused.message.lines())
        }
        // What it names cannot be had, such as an address.
        _ => Problem::new(Code::StartRefused, refused.message.clone()),
    }
}

/// All copies that an edition may have to go back to.
pub(crate) fn pins<'a>(editions: impl Iterator<Item = &'a Edition>) -> BTreeSet<PathBuf> {
    editions.flat_map(Edition::standings).flat_map(Standing::pins).map(Path::to_owned).collect()
}

impl Next {
    /// The same without what is new of an application that did not start, where its library alone is new.
    ///
    /// # Errors
    /// Its configuration is new as well, or all of it: nothing of this is to be had.
    pub(crate) fn without(
        &mut self,
        (base, config): (&Edition, &Config),
        failed: Failed,
    ) -> Result<(), Failed> {
        let name = &*failed.application;
        let find = |config| applications(config).find(|application| *application.name == *name);
        let (Some(old), Some(new), Some(stood)) = (find(config), find(&self.config), base.stands(name))
        else {
            return Err(failed);
        };
        let Artifact::Library(library) = &new.artifact else { return Err(failed) };
        if new != old || stood.library.is_none() {
            return Err(failed);
        }
        let standing = self.edition.standing(name);
        let trouble = Trouble {
            application: name.to_owned(),
            library: library.clone(),
            content: format!("{:?}", standing.library),
            code: failed.code,
            why: failed.detail,
        };
        standing.library.clone_from(&stood.library);
        standing.previous.clone_from(&stood.previous);
        standing.instead_of.clone_from(&stood.instead_of);
        self.troubles.push(trouble);
        Ok(())
    }
}

/// An edition in the making.
struct Making<'a> {
    base: Option<(&'a Edition, &'a Config)>,
    next: Next,
    pins: &'a Pins,
}

impl Making<'_> {
    fn make(mut self, wishes: &[Wish]) -> Result<Next, Problem> {
        self.go_forward(wishes)?;
        let applications: Vec<Application> = applications(&self.next.config).cloned().collect();
        self.next.edition.keep(|name| applications.iter().any(|application| &*application.name == name));
        for application in &applications {
            let is_new = self.old(&application.name).is_none();
            let seen = |path: &Path| {
                is_new
                    || wishes.iter().any(|wish| match wish {
                        Wish::Reload => true,
                        Wish::Look(paths) => paths.contains(path),
                        _ => false,
                    })
            };
            if seen(&offline::file(&application.content_root)) {
                let page = offline::read(&application.content_root);
                self.next.edition.standing(&application.name).app_offline = page;
            }
            let recycled = wishes.contains(&Wish::Recycle(application.name.to_string()));
            match &application.artifact {
                Artifact::Library(library) if recycled || seen(library) => self.look(application, library),
                _ => {}
            }
            if recycled && let Some(trouble) = self.next.troubles.last().filter(|it| it.is_of(application)) {
                return Err(troubles(std::slice::from_ref(trouble), &[]));
            }
        }
        for application in &applications {
            // What runs from a copy does not depend on the file.
            let is_new = self.old(&application.name).is_none();
            let standing = self.next.edition.standing(&application.name);
            if standing.library.is_some() {
                standing.file = None;
            } else if is_new || wishes.iter().any(|wish| anew(wish, &application.name)) {
                standing.file = standing::look(application);
            }
        }
        for wish in wishes {
            wish::grant(wish, &mut self.next.edition, &self.next.config)?;
        }
        self.next.config = self.next.edition.config().map_err(|refused| problem(&refused))?;
        self.look_at_certificates(wishes)?;
        self.remember(wishes);
        Ok(self.next)
    }

    /// Who is recycled is as it is written again. Before anything of it is looked at: its library may lie elsewhere then.
    fn go_forward(&mut self, wishes: &[Wish]) -> Result<(), Problem> {
        for wish in wishes {
            if let Wish::Recycle(name) = wish {
                self.next.edition.standing(name).go_forward();
            }
        }
        self.next.config = self.next.edition.config().map_err(|refused| problem(&refused))?;
        Ok(())
    }

    /// What lies at the paths of certificates by now.
    fn look_at_certificates(&mut self, wishes: &[Wish]) -> Result<(), Problem> {
        let seen =
            |path: &Path| wishes.iter().any(|wish| !matches!(wish, Wish::RecycleAll) && wish.is_about(path));
        let Next { edition, config, unusable, .. } = &mut self.next;
        *unusable = edition.certificates.look(config, seen);
        let new: Vec<_> = unusable.iter().filter(|it| it.before == Before::None).collect();
        // At the first start, one site without a certificate must not keep the others from being served.
        if self.base.is_none() || new.is_empty() {
            return Ok(());
        }
        let detail = "a certificate cannot be used; the configuration in force stays";
        let faults = new.iter().map(|Unusable { key, why, .. }| format!("{key}: {why}"));
        Err(Problem::new(Code::ConfigurationRefused, detail).faults(faults))
    }

    fn old(&self, name: &str) -> Option<&Application> {
        let (_, config) = self.base?;
        applications(config).find(|application| &*application.name == name)
    }

    /// What lies at the path of a library by now.
    fn look(&mut self, application: &Application, library: &Path) {
        let name = &*application.name;
        match self.pins.pin(library) {
            Ok(pin) => self.next.edition.standing(name).found(pin),
            Err(Unpinned { error, content }) => {
                let why = libraries::explain(&error);
                let content = content.unwrap_or_else(|| why.clone());
                let (application, library) = (name.to_owned(), library.to_owned());
                let code = error.code().to_string();
                self.next.troubles.push(Trouble { application, library, code, content, why });
            }
        }
    }

    /// Has each application that is another one now know what it was before.
    fn remember(&mut self, wishes: &[Wish]) {
        let Some((base, _)) = self.base else { return };
        let mut before = BTreeMap::new();
        // Whoever went back from it would be where it crashed; what was before that stays the way back.
        let crashed = |was: &Described| {
            wishes
                .iter()
                .any(|wish| matches!(wish, Wish::GoBack(crashed) if crashed.is_of_one_generation(was)))
        };
        for application in applications(&self.next.config) {
            let Some(old) = self.old(&application.name) else { continue };
            let (was, is) = (base.described(old), self.next.edition.described(application));
            let has_a_way_back = self.next.edition.stands(was.name()).is_some_and(|it| it.previous.is_some());
            if has_a_way_back && crashed(&was) {
                continue;
            }
            // Where it is had run is no generation: who goes back wants the code of before, not the place.
            let rewritten =
                was.application != is.application && !standing::is_written_alike(old, application);
            if rewritten || was.pinned != is.pinned {
                let written = rewritten.then(|| base.written(&application.name)).flatten().map(str::to_owned);
                let library = was.pinned.clone();
                before.insert(application.name.to_string(), Former { library, written });
            }
        }
        for (name, former) in before {
            self.next.edition.standing(&name).previous = Some(former);
        }
    }
}

/// Whether a wish takes up the file of this application as it is by now.
fn anew(wish: &Wish, application: &str) -> bool {
    match wish {
        Wish::Reload | Wish::RecycleAll => true,
        Wish::Recycle(name) => name == application,
        _ => false,
    }
}

fn applications(config: &Config) -> impl Iterator<Item = &Application> {
    config.sites.iter().flat_map(|site| &site.applications)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        artifact::Named,
        cli::{Cli, Command},
    };

    fn written(library: &str) -> String {
        format!(
            "[[site]]\nname = 'a'\nbindings = ['http://*:80']\n\
             [[site.application]]\nname = 'shop'\nlibrary = '/no/{library}.so'\n"
        )
    }

    fn edition(file: &Path) -> (Edition, Config) {
        let line = ["cohost", "run"].map(Into::into).to_vec();
        let Command::Run(arguments) = Cli::try_parse_from(&line).unwrap().command else { panic!("it is") };
        let named = Named::Configuration(file.to_owned());
        let mut edition = Edition::new(&named, &arguments, line).unwrap();
        edition.standing("shop").library = Some("/pins/b/shop.so".into());
        edition.standing("shop").previous =
            Some(Former { library: Some("/pins/a/shop.so".into()), written: None });
        let config = edition.config().unwrap();
        (edition, config)
    }

    #[test]
    fn what_crashed_is_gone_back_from_and_nothing_that_came_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cohost.toml");
        std::fs::write(&file, written("shop")).unwrap();
        let (base, config) = edition(&file);
        let pins = Pins::new(folder.path()).unwrap();
        let crashed = Wish::GoBack(Box::new(base.described(&config.sites[0].applications[0])));
        let back = next((&base, &config), std::slice::from_ref(&crashed), &pins).unwrap().edition;
        let shop = back.stands("shop").unwrap();
        assert_eq!(shop.library.as_deref(), Some(Path::new("/pins/a/shop.so")));
        let former = |library: &str| Some(Former { library: Some(library.into()), written: None });
        assert_eq!(
            (&shop.instead_of, &shop.previous),
            (&former("/pins/b/shop.so"), &former("/pins/b/shop.so"))
        );

        // A fix that is there by now.
        let mut fixed = base.clone();
        fixed.standing("shop").library = Some("/pins/c/shop.so".into());
        let same = next((&fixed, &config), std::slice::from_ref(&crashed), &pins).unwrap().edition;
        assert_eq!(same, fixed);

        // A fix of its configuration that comes together with the wish.
        std::fs::write(&file, format!("{}preload = true\n", written("shop"))).unwrap();
        let wishes = [crashed, Wish::Look([file.clone()].into())];
        let Next { edition: next, config, .. } = next((&base, &config), &wishes, &pins).unwrap();
        let shop = next.stands("shop").unwrap();
        assert!(config.sites[0].applications[0].options.preload);
        assert_eq!(shop.library.as_deref(), Some(Path::new("/pins/b/shop.so")));
        assert_eq!((&shop.instead_of, &shop.previous), (&None, &former("/pins/a/shop.so")));
    }

    #[test]
    fn who_is_recycled_after_a_way_back_gets_the_library_that_is_written_now() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cohost.toml");
        std::fs::write(&file, written("new")).unwrap();
        let line = ["cohost", "run"].map(Into::into).to_vec();
        let Command::Run(arguments) = Cli::try_parse_from(&line).unwrap().command else { panic!("it is") };
        let mut edition = Edition::new(&Named::Configuration(file), &arguments, line).unwrap();
        edition.standing("shop").written = Some(written("old"));
        let config = edition.config().unwrap();
        let pins = Pins::new(folder.path()).unwrap();
        let refused = next((&edition, &config), &[Wish::Recycle("shop".to_owned())], &pins).unwrap_err();
        assert!(refused.faults[0].contains("/no/new.so"), "{refused:?}");
    }
}
