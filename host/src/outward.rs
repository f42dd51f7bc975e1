//! TLS towards servers that somebody else runs: from what is written to the terms on which it is spoken.
//!
//! In: a configuration, and what is in the files that it names. Out: terms, for upstreams and for servers that are asked
//! about requests. Never: spoken on other terms than those that are written; where a file is of no use, there are none.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::SystemTime,
};

use cohost::{
    config::{Application, Artifact, Certificate, Config, Site},
    dispatcher::upstreams::Balancer,
    front::{self, Forward, Front, Own},
    listener::tls::{Identity, Objection},
    outward::{Believed, Terms},
};

use crate::certificates::{self, Certificates};

/// What terms are made of.
pub(crate) struct Outward {
    certificates: Certificates,
    /// Those that the system believes, looked up once somebody needs them. The next configuration looks again.
    system: OnceLock<Result<Believed, String>>,
}

impl Outward {
    pub(crate) fn new(certificates: &Certificates) -> Self {
        Self { certificates: certificates.clone(), system: OnceLock::new() }
    }

    /// Has `balancer` speak to its upstreams on the terms that are written.
    pub(crate) fn secure(&self, balancer: &Balancer) {
        let upstreams = balancer.upstreams();
        if upstreams.is_secured() {
            balancer.secure(self.terms(&upstreams.outward));
        }
    }

    /// `front`, whose server is asked on the terms that are written, if it asks one over TLS.
    pub(crate) fn equipped<'a>(&self, front: &'a Front) -> Cow<'a, Front> {
        let Some(terms) = forward(front).map(|forward| self.terms(&forward.outward)) else {
            return Cow::Borrowed(front);
        };
        let mut front = front.clone();
        if let Some(forward) = front.auth.as_mut().and_then(|auth| auth.forward.as_mut()) {
            forward.terms = Some(terms);
        }
        Cow::Owned(front)
    }

    fn terms(&self, wanted: &front::Outward) -> Terms {
        self.found(wanted).unwrap_or_else(Terms::none)
    }

    fn found(&self, wanted: &front::Outward) -> Result<Terms, String> {
        let believed = self.believed(&wanted.ca)?;
        let own = match &wanted.own {
            None => None,
            Some(own) => {
                let found = self.certificates.of(&[certificate(own)]).pop();
                Some(found.ok_or_else(|| unusable(&own.certificate))?)
            }
        };
        Ok(Terms::new(&believed, own.map(|own| own.certified().clone())))
    }

    fn believed(&self, files: &[PathBuf]) -> Result<Believed, String> {
        if files.is_empty() {
            return self.system.get_or_init(system).clone();
        }
        let mut all = String::new();
        for file in files {
            all.push_str(self.certificates.vouching(file).ok_or_else(|| unusable(file))?);
            all.push('\n');
        }
        Believed::these(&all).map_err(|error| error.to_string())
    }
}

/// TLS that is spoken to somebody.
pub(crate) struct Used<'a> {
    pub(crate) site: &'a str,
    /// The table where it is written.
    pub(crate) key: String,
    pub(crate) outward: &'a front::Outward,
}

/// All of a configuration.
pub(crate) fn used(config: &Config) -> Vec<Used<'_>> {
    config.sites.iter().flat_map(of_site).collect()
}

fn of_site(site: &Site) -> impl Iterator<Item = Used<'_>> {
    let of_front = |place: String, front| {
        forward(front).map(|forward| Used {
            site: &site.name,
            key: format!("{place}.auth.forward.tls"),
            outward: &forward.outward,
        })
    };
    let own = of_front(format!("site.{}", site.name), &site.front);
    let applications = site.applications.iter().flat_map(move |application| {
        let path = if application.path.is_empty() { "/" } else { &application.path };
        let place = format!("site.{}.application.{path}", site.name);
        let upstreams = of_upstreams(application).map(|outward| Used {
            site: &site.name,
            key: format!("{place}.balance.tls"),
            outward,
        });
        upstreams.into_iter().chain(of_front(place, &application.front))
    });
    own.into_iter().chain(applications)
}

/// What is wanted of TLS towards upstreams, if it is spoken.
fn of_upstreams(application: &Application) -> Option<&front::Outward> {
    match &application.artifact {
        Artifact::Upstreams(upstreams) if upstreams.is_secured() => Some(&*upstreams.outward),
        _ => None,
    }
}

/// The server that is asked over TLS.
fn forward(front: &Front) -> Option<&Forward> {
    let forward = front.auth.as_ref()?.forward.as_ref()?;
    (forward.url.scheme_str() == Some("https")).then_some(forward)
}

/// What is wrong with the files of an application, or of what stands before it; and what to beware of.
pub(crate) fn examine(application: &Application) -> Examined {
    let mut examined = examine_front(&application.front);
    if let Some(outward) = of_upstreams(application) {
        examined.look(outward);
    }
    examined
}

/// The same of a front.
pub(crate) fn examine_front(front: &Front) -> Examined {
    let mut examined = Examined::default();
    if let Some(forward) = forward(front) {
        examined.look(&forward.outward);
    }
    examined
}

/// What was found.
#[derive(Default)]
pub(crate) struct Examined {
    pub(crate) refusals: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Examined {
    fn look(&mut self, wanted: &front::Outward) {
        if wanted.ca.is_empty() {
            self.warnings.extend(system().err());
        }
        self.refusals.extend(wanted.ca.iter().filter_map(|file| certificates::read_authorities(file).err()));
        let Some(own) = &wanted.own else { return };
        match certificates::read(&certificate(own)) {
            Ok((_, identity)) => {
                let objection = objection(&identity, SystemTime::now());
                let path = own.certificate.display();
                self.warnings
                    .extend(objection.map(|objection| format!("the certificate in {path} {objection}")));
            }
            Err(why) => self.refusals.push(why),
        }
    }
}

/// What a server will not like about a certificate: it does not ask what the host is called.
pub(crate) fn objection(identity: &Identity, now: SystemTime) -> Option<Objection> {
    identity.objection(now).filter(|objection| *objection != Objection::Nameless)
}

/// As sites have theirs.
pub(crate) fn certificate(own: &Own) -> Certificate {
    Certificate { certificate: own.certificate.clone(), key: own.key.clone(), ocsp: None, ordered_for: None }
}

fn system() -> Result<Believed, String> {
    Believed::system().map_err(|error| error.to_string())
}

fn unusable(file: &Path) -> String {
    format!("{} cannot be used; the log says why", file.display())
}
