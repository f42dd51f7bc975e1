//! The `[[site]]` tables: each of them, and what they must not have in common.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
};

use toml::de::DeTable;

use super::{
    Acme, Binding, Listen, Log, Server, Site, Tls, application, binding,
    fault::Refusal,
    front, keys, tls,
    values::boolean,
    written::{Reading, Section, Value},
};
use crate::facts::Scheme;

/// All sites.
pub(super) fn read_all<'a>(
    reading: &'a Reading<'a>,
    top: &Section<'a>,
    log: &mut Log,
    acme: Option<&Acme>,
) -> Vec<Site> {
    let tables = top.tables("site");
    if tables.is_empty()
        && top.value("site").is_none_or(|sites| sites.list().is_ok_and(|list| list.is_empty()))
    {
        top.refuse(
            "site",
            &top.at,
            Refusal::new("there is none; a configuration needs at least one [[site]]"),
        );
    }
    let mut taken = Taken::default();
    let mut sites = Vec::new();
    for (number, (table, at)) in tables.into_iter().enumerate() {
        let key = name_of(number + 1, table);
        let section = Section::new(reading, key, at, table, &keys::SITE);
        sites.push(read(&section, number + 1, log, acme, &mut taken));
    }
    taken.refuse_overlaps(reading);
    sites
}

/// Refuses sites to which only proxies connect, where no proxy is trusted.
pub(super) fn refuse_untrusted(top: &Section<'_>, sites: &[Site], server: &Server) {
    let nobody = server.trusted_proxies.is_empty();
    if let Some(site) = sites.iter().find(|site| site.proxy_protocol && nobody) {
        let refusal = Refusal::new(format!(
            "is missing; site {:?} has proxy_protocol, and only proxies that are named here may connect to it",
            site.name
        ));
        top.refuse("server.trusted_proxies", &top.at, refusal);
    }
}

/// What a site is called in messages.
fn name_of(number: usize, table: &DeTable<'_>) -> String {
    match table.get("name").and_then(|name| name.get_ref().as_str()) {
        Some(name) if !name.is_empty() => format!("site.{name}"),
        _ => unnamed(number),
    }
}

fn read(section: &Section<'_>, number: usize, log: &mut Log, acme: Option<&Acme>, taken: &mut Taken) -> Site {
    let name = site_name(section, taken);
    let bindings = bindings(section, taken);
    // A site whose name was refused must not make its applications' names look refused too.
    let name = name.unwrap_or_else(|| unnamed(number));
    let applications = applications(section, &name, log, taken);
    let front = front::of_site(section);
    let tls = tls::read(section, &bindings, acme);
    secure(section, &bindings, tls.as_ref());
    let proxy_protocol = proxied(section, &bindings, taken);
    Site { name: name.into(), bindings, tls, applications, front, proxy_protocol }
}

/// What a site without a usable name is called in messages.
fn unnamed(number: usize) -> String {
    format!("site[{number}]")
}

fn site_name(section: &Section<'_>, taken: &mut Taken) -> Option<String> {
    if section.value("name").is_none() {
        section.refuse("name", &section.at, Refusal::new("is missing"));
    }
    section.read("name", |value| {
        let name = name(value)?;
        taken.claim(section.reading, &value.at(), Claim::Site(name.clone()))?;
        Ok(name)
    })
}

fn name(value: &Value<'_>) -> Result<String, Refusal> {
    let name = value.text()?;
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
        return Err(Refusal::new(format!("must be 1 to {LONGEST_NAME} of a-z A-Z 0-9 - _ . (is {name:?})")));
    }
    Ok(name)
}

fn bindings(section: &Section<'_>, taken: &mut Taken) -> Vec<Binding> {
    let Some(value) = section.value("bindings") else {
        section.refuse(
            "bindings",
            &section.at,
            Refusal::new(
                "is missing; say where the site is reached, as bindings = [\"http://127.0.0.1:8080\"]",
            ),
        );
        return Vec::new();
    };
    let read = |value: &Value<'_>| Ok(binding::parse(&value.text()?)?.seen_from(section.reading.folder()));
    let read = section.read_each("bindings", read);
    if value.list().is_ok_and(|list| list.is_empty()) {
        section.refuse("bindings", &value.at(), Refusal::new("must have at least one (is empty)"));
    }
    let mut bindings = Vec::new();
    for (binding, at) in read.unwrap_or_default() {
        match taken.bind(section.reading, &at, &binding, &section.name) {
            Ok(()) => bindings.push(binding),
            Err(refusal) => section.refuse("bindings", &at, refusal),
        }
    }
    bindings
}

/// Whether only proxies connect to a site; all sites that are bound in one place have to say the same.
fn proxied(section: &Section<'_>, bindings: &[Binding], taken: &mut Taken) -> bool {
    let proxied = section.read("proxy_protocol", boolean).unwrap_or_default();
    let at = section.value("proxy_protocol").map_or_else(|| section.at.clone(), |value| value.at());
    for binding in bindings.iter().filter(|binding| port(&binding.listen) != Some(0)) {
        let (other, line) = *taken
            .proxied
            .entry(binding.listen.clone())
            .or_insert_with(|| (proxied, section.reading.line(at.start)));
        if other != proxied {
            let refusal = Refusal::new(format!(
                "{binding} is bound by another site, too (line {line}), which has it otherwise; who connects there \
                 begins with the PROXY protocol or does not"
            ));
            section.refuse("proxy_protocol", &at, refusal);
        }
    }
    proxied
}

/// Refuses TLS without a certificate, and a certificate without TLS.
fn secure(section: &Section<'_>, bindings: &[Binding], tls: Option<&Tls>) {
    let bound = bindings.iter().any(|binding| binding.scheme == Scheme::Https);
    match (bound, section.value("tls")) {
        (true, None) => {
            let refusal = Refusal::new(
                "is missing; a site with an https:// binding needs a certificate: [site.tls] with certificate and key",
            );
            section.refuse("tls", &section.at, refusal);
        }
        // With bindings that were refused it would be a fault that nobody made.
        (false, Some(value)) if tls.is_some() && !bindings.is_empty() => {
            section.refuse("tls", &value.at(), Refusal::new("has no effect without an https:// binding"));
        }
        _ => {}
    }
}

fn applications(
    section: &Section<'_>,
    site: &str,
    log: &mut Log,
    taken: &mut Taken,
) -> Vec<super::Application> {
    let tables = section.tables("application");
    if tables.is_empty() && section.value("application").is_none() {
        let refusal = Refusal::new("there is none; a site needs at least one [[site.application]]");
        section.refuse("application", &section.at, refusal);
    }
    let reading = section.reading;
    let mut applications = Vec::new();
    for (table, at) in tables {
        let Some(read) = application::read(reading, site, &section.name, table, at, &log.output) else {
            continue;
        };
        let path = Claim::Path(section.at.start, read.application.path.clone());
        if let Err(refusal) = taken.claim(reading, &read.path_at, path) {
            reading.refuse(&read.path_at, format!("{}.path", read.key), refusal);
        } else if let Err(refusal) =
            taken.claim(reading, &read.name_at, Claim::Application(read.application.name.to_string()))
        {
            reading.refuse(&read.name_at, format!("{}.name", read.key), refusal);
        }
        if let Some((port, at)) = read.port
            && let Err(refusal) = taken.claim(reading, &at, Claim::Port(port))
        {
            reading.refuse(&at, format!("{}.port", read.key), refusal);
        }
        if let Some(output) = read.output {
            log.outputs.insert(std::sync::Arc::clone(&read.application.name), output);
        }
        applications.push(read.application);
    }
    applications
}

/// What sites and applications have taken, with the place where they did.
#[derive(Default)]
struct Taken {
    claims: HashMap<Claim, usize>,
    bindings: Vec<(Binding, Range<usize>, String)>,
    /// Where only proxies connect, and the line that says so first.
    proxied: HashMap<Listen, (bool, usize)>,
}

/// What only one may have.
#[derive(PartialEq, Eq, Hash)]
enum Claim {
    Site(String),
    Application(String),
    /// A path, in the site that begins at that place.
    Path(usize, String),
    /// The fixed port of a command.
    Port(u16),
    Binding(Listen, super::Authority),
}

impl Taken {
    /// Takes `claim`, or refuses it and says which line has it.
    fn claim(&mut self, reading: &Reading<'_>, at: &Range<usize>, claim: Claim) -> Result<(), Refusal> {
        match self.claims.entry(claim) {
            Entry::Vacant(free) => {
                free.insert(at.start);
                Ok(())
            }
            Entry::Occupied(taken) => {
                let line = reading.line(*taken.get());
                Err(Refusal::new(match taken.key() {
                    Claim::Site(name) => format!("another site is called {name:?} (line {line})"),
                    Claim::Application(name) => {
                        format!("another application is called {name:?} (line {line})")
                    }
                    Claim::Path(_, path) if path.is_empty() => {
                        format!("another application of the site is at \"/\" (line {line})")
                    }
                    Claim::Path(_, path) => {
                        format!("another application of the site is at {path:?} (line {line})")
                    }
                    Claim::Port(port) => format!("another application listens on port {port} (line {line})"),
                    Claim::Binding(..) => format!("is bound already (line {line})"),
                }))
            }
        }
    }

    fn bind(
        &mut self,
        reading: &Reading<'_>,
        at: &Range<usize>,
        binding: &Binding,
        site: &str,
    ) -> Result<(), Refusal> {
        // Every binding to port 0 gets a port of its own.
        if port(&binding.listen) != Some(0) {
            self.claim(reading, at, Claim::Binding(binding.listen.clone(), binding.authority.clone()))?;
        }
        self.bindings.push((binding.clone(), at.clone(), site.to_owned()));
        Ok(())
    }

    /// The system lets a port be listened on either at all addresses or at single ones, and who connects there speaks
    /// either TLS or not.
    fn refuse_overlaps(&self, reading: &Reading<'_>) {
        self.refuse_mixed(reading);
        let mut all: HashMap<u16, &(Binding, Range<usize>, String)> = HashMap::new();
        for bound in &self.bindings {
            if let Some(port) = port(&bound.0.listen).filter(|port| *port != 0 && is_all(&bound.0.listen)) {
                all.entry(port).or_insert(bound);
            }
        }
        for (binding, at, site) in &self.bindings {
            let Some((other, other_at, _)) = port(&binding.listen).and_then(|port| all.get(&port)) else {
                continue;
            };
            if other.listen != binding.listen {
                let line = reading.line(other_at.start);
                let refusal = Refusal::new(format!(
                    "{other} (line {line}) listens on all addresses of that port, and {binding} on one; \
                     use the same for both, or another port"
                ));
                reading.refuse(at, format!("{site}.bindings"), refusal);
            }
        }
    }

    fn refuse_mixed(&self, reading: &Reading<'_>) {
        let mut first: HashMap<&Listen, (&Binding, usize)> = HashMap::new();
        for (binding, at, site) in &self.bindings {
            let (other, line) =
                *first.entry(&binding.listen).or_insert_with(|| (binding, reading.line(at.start)));
            if other.scheme != binding.scheme {
                let refusal = Refusal::new(format!(
                    "{binding} and {other} (line {line}) are the same port, where clients speak either TLS or not; \
                     use another port for one of them"
                ));
                reading.refuse(at, format!("{site}.bindings"), refusal);
            }
        }
    }
}

fn port(listen: &Listen) -> Option<u16> {
    match listen {
        Listen::Tcp(address) => Some(address.port()),
        Listen::Any(port) => Some(*port),
        Listen::Unix(_) => None,
    }
}

fn is_all(listen: &Listen) -> bool {
    match listen {
        Listen::Tcp(address) => address.ip().is_unspecified(),
        Listen::Any(_) => true,
        Listen::Unix(_) => false,
    }
}

const LONGEST_NAME: usize = 64;
