//! `cohost check`: everything that is wrong, at once, and nothing is started.

use std::{path::Path, time::SystemTime};

use cohost::{
    HostingModel,
    config::{self, Account, Acme, Application, Artifact, Authority, Config, Listen, Site},
    dispatcher::in_process::preflight::LoadError,
    facts::Scheme,
    front::Files,
    supervisor::look_up,
};

use crate::{
    artifact::{Named, named},
    build::{self, Profile},
    certificates,
    cli::Check,
    exit::{Exit, Refused},
    libraries,
    outward::{self, Examined},
    say,
};

/// Checks what the path names. Warnings do not count against it.
pub(crate) fn check(arguments: &Check) -> Result<Exit, Refused> {
    let findings = match named(&arguments.path)? {
        Named::Configuration(file) => configuration(&read(&file)?),
        Named::Library(library) => vec![of_library(&library.display().to_string(), &library)],
        Named::Manifest(manifest) => {
            let library = build::build(&manifest, Profile::Release)?.library;
            vec![of_library(&library.display().to_string(), &library)]
        }
    };
    say(&findings.iter().map(Finding::text).collect::<String>());
    let is_sound = findings.iter().all(|finding| finding.refusal.is_none());
    Ok(if is_sound { Exit::Success } else { Exit::Failed })
}

/// What was found of one application.
struct Finding {
    subject: String,
    refusal: Option<String>,
    warnings: Vec<String>,
}

impl Finding {
    fn text(&self) -> String {
        let mut text = match &self.refusal {
            Some(refusal) => format!("{}: error: {refusal}\n", self.subject),
            None => format!("{}: ok\n", self.subject),
        };
        text.extend(self.warnings.iter().map(|warning| format!("{}: warning: {warning}\n", self.subject)));
        text
    }

    fn refuse(&mut self, refusals: Vec<String>) {
        let all: Vec<String> = self.refusal.take().into_iter().chain(refusals).collect();
        self.refusal = (!all.is_empty()).then(|| all.join("; "));
    }

    fn examined(&mut self, examined: Examined) {
        self.refuse(examined.refusals);
        self.warnings.extend(examined.warnings);
    }
}

/// Reads a configuration as `cohost run` does, and looks for the users and groups that it names.
fn read(file: &Path) -> Result<Config, Refused> {
    let account = |account: Account<'_>| match account {
        Account::User(user, group) => look_up(Some(user), group),
        Account::Group(group) => look_up(None, Some(group)),
    };
    let text = config::text(file);
    text.and_then(|text| config::check(&text, file, &|name| std::env::var(name).ok(), &account))
        .map_err(|faults| Exit::Configuration.because(faults.to_string()))
}

fn configuration(config: &Config) -> Vec<Finding> {
    let applications = config.sites.iter().flat_map(|site| &site.applications).map(of_application);
    let certificates = config.sites.iter().filter_map(of_site);
    applications.chain(certificates).chain(config.acme.as_ref().map(of_acme)).collect()
}

/// What can be told of an authority without asking it.
fn of_acme(acme: &Acme) -> Finding {
    let refusal = acme.ca.as_ref().and_then(|file| certificates::read_authorities(file).err());
    Finding { subject: "acme".to_owned(), refusal, warnings: Vec::new() }
}

/// What a site itself has files for: certificates, and whom it believes when it asks about requests.
fn of_site(site: &Site) -> Option<Finding> {
    let mut finding = Finding { subject: format!("site {}", site.name), refusal: None, warnings: Vec::new() };
    let has_tls = of_certificates(site, &mut finding).is_some();
    let examined = outward::examine_front(&site.front);
    let has_more = !examined.refusals.is_empty() || !examined.warnings.is_empty();
    finding.examined(examined);
    (has_tls || has_more).then_some(finding)
}

/// The certificates of a site, all of them together.
fn of_certificates(site: &Site, finding: &mut Finding) -> Option<()> {
    let mut refusals = Vec::new();
    let mut identities = Vec::new();
    for certificate in &site.tls.as_ref()?.certificates {
        if certificates::is_to_come(certificate) {
            continue;
        }
        match certificates::read(certificate) {
            Ok((_, identity)) => {
                let objection = identity.objection(SystemTime::now());
                let path = certificate.certificate.display();
                finding
                    .warnings
                    .extend(objection.map(|objection| format!("the certificate in {path} {objection}")));
                identities.push(identity);
            }
            Err(why) => refusals.push(why),
        }
    }
    if let Some(vouching) = site.tls.as_ref()?.client_certificates.vouching() {
        match certificates::read_vouching(vouching) {
            Ok(objection) => finding.warnings.extend(objection),
            Err(why) => refusals.push(why),
        }
    }
    let secure = site.bindings.iter().filter(|binding| binding.scheme == Scheme::Https);
    let is_ordered = site.tls.as_ref()?.certificates.iter().any(|it| it.ordered_for.is_some());
    let others = secure.clone().all(|binding| port(&binding.listen) != Some(Scheme::Https.port()));
    if is_ordered && others {
        finding.warnings.push(ELSEWHERE.to_owned());
    }
    for name in secure.filter_map(|binding| name(&binding.authority)).filter(|_| !is_ordered) {
        if !identities.is_empty() && !identities.iter().any(|identity| identity.is_for(&name)) {
            finding.warnings.push(format!("it is bound to {name}, for which it has no certificate"));
        }
    }
    finding.refuse(refusals);
    Some(())
}

/// A name that clients will ask for, if there is one.
fn name(authority: &Authority) -> Option<String> {
    match authority {
        Authority::Any => None,
        Authority::Exact(name) => Some(name.to_string()),
        Authority::Wildcard(parent) => Some(format!("any.{parent}")),
    }
}

fn port(listen: &Listen) -> Option<u16> {
    match listen {
        Listen::Tcp(address) => Some(address.port()),
        Listen::Any(port) => Some(*port),
        Listen::Unix(_) => None,
    }
}

fn of_application(application: &Application) -> Finding {
    let subject = application.name.to_string();
    let mut finding = match &application.artifact {
        Artifact::Library(library) => of_library(&subject, library),
        Artifact::Command(_) | Artifact::Files(_) | Artifact::Upstreams(_) => {
            Finding { subject, refusal: None, warnings: Vec::new() }
        }
    };
    finding.examined(outward::examine(application));
    if application.hosting_model == HostingModel::InProcess && !application.process.environment.is_empty() {
        finding.warnings.push(IN_PROCESS_ENVIRONMENT.to_owned());
    }
    if let Artifact::Files(Files { root, .. }) = &application.artifact {
        if !root.is_dir() {
            finding.warnings.push(format!("static {} is no directory", root.display()));
        }
    } else if !application.content_root.is_dir() {
        finding.warnings.push(format!("content_root {} is no directory", application.content_root.display()));
    }
    finding
}

fn of_library(subject: &str, library: &Path) -> Finding {
    let (refusal, warnings) = match libraries::examine(library) {
        Ok(library) => (None, libraries::warnings(&library)),
        // The host comes up without it, and takes it up once it is there.
        Err(error @ LoadError::Missing { .. }) => (None, vec![error.to_string()]),
        Err(error) => (Some(libraries::explain(&error)), Vec::new()),
    };
    Finding { subject: subject.to_owned(), refusal, warnings }
}

const ELSEWHERE: &str = "its certificates are ordered from an authority that connects to port 443 of its names, and it is \
                         bound to other ports only; have that one forwarded here";

const IN_PROCESS_ENVIRONMENT: &str = "environment has no effect in process, where there is one for all; use settings, or host it out of process";
