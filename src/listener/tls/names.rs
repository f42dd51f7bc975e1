//! Which site, and which certificate, a client gets that asks for a server name.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Identity, identity};
use crate::authority::is_below;

/// What a client gets that asks for a name which no site has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// The first site of the listener, whose certificate it will hardly like.
    #[default]
    FirstSite,
    /// The alert `unrecognized_name`.
    Refused,
}

/// What a client gets that asks for a name which none of a site's certificates has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Misfit {
    /// The first of them.
    #[default]
    Shown,
    /// No handshake: one for the name is to come.
    Refused,
}

/// Something for each name: exact before wildcard, the longer wildcard before the shorter, and both before any.
#[derive(Debug)]
pub(super) struct Names<T> {
    exact: HashMap<Box<str>, T>,
    /// Longest first.
    wildcard: Vec<(Box<str>, T)>,
    any: Option<T>,
    first: Option<T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: Vec::new(), any: None, first: None }
    }
}

impl<T: Clone> Names<T> {
    pub(super) fn any(&mut self, it: T) {
        self.first.get_or_insert_with(|| it.clone());
        self.any.get_or_insert(it);
    }

    pub(super) fn exact(&mut self, name: &str, it: T) {
        self.first.get_or_insert_with(|| it.clone());
        self.exact.entry(name.to_ascii_lowercase().into()).or_insert(it);
    }

    pub(super) fn wildcard(&mut self, parent: &str, it: T) {
        self.first.get_or_insert_with(|| it.clone());
        self.wildcard.push((parent.to_ascii_lowercase().into(), it));
        self.wildcard.sort_by_key(|(parent, _)| std::cmp::Reverse(parent.len()));
    }

    /// What is for `name`, which is in lower case; `None` is a client that asks for none.
    pub(super) fn find(&self, name: Option<&str>, unknown: Unknown) -> Option<&T> {
        let Some(name) = name else { return self.any.as_ref().or(self.first.as_ref()) };
        let name = name.strip_suffix('.').unwrap_or(name);
        let wildcard = || self.wildcard.iter().find(|(parent, _)| is_below(name, parent)).map(|(_, it)| it);
        let found = self.exact.get(name).or_else(wildcard).or(self.any.as_ref());
        found.or_else(|| self.first.as_ref().filter(|_| unknown == Unknown::FirstSite))
    }
}

/// The certificates of a site.
#[derive(Debug)]
pub(super) struct Presented {
    identities: Vec<Arc<Identity>>,
    misfit: Misfit,
}

impl Presented {
    pub(super) fn new(identities: Vec<Arc<Identity>>, misfit: Misfit) -> Self {
        Self { identities, misfit }
    }

    /// In the order in which they suit a client: those that have the name, with its own name before a wildcard, and
    /// then the others, if it may have these.
    fn by_fitness<'a>(&'a self, name: Option<&'a str>) -> impl Iterator<Item = &'a Identity> {
        let fitness = move |identity: &Identity| name.map_or(identity::Fit::No, |name| identity.fits(name));
        let all = || self.identities.iter().map(|identity| &**identity);
        let of = move |wanted| all().filter(move |identity| fitness(identity) == wanted);
        let may = name.is_none() || self.misfit == Misfit::Shown;
        let others = of(identity::Fit::No).filter(move |_| may);
        of(identity::Fit::Exact).chain(of(identity::Fit::Wildcard)).chain(others)
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let can_be_verified = |identity: &&Identity| {
            identity.certified().key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = self.by_fitness(name.as_deref()).find(can_be_verified);
        found.map(|identity| Arc::clone(identity.certified()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names<&'static str> {
        let mut names = Names::default();
        names.exact("Shop.example", "shop");
        names.wildcard("example", "all");
        names.wildcard("eu.example", "eu");
        names
    }

    #[test]
    fn the_nearest_name_is_found() {
        let names = names();
        let find = |name| names.find(Some(name), Unknown::Refused).copied();
        assert_eq!(find("shop.example"), Some("shop"));
        assert_eq!(find("shop.example."), Some("shop"));
        assert_eq!(find("a.eu.example"), Some("eu"));
        assert_eq!(find("eu.example"), Some("all"));
        assert_eq!(find("example"), None);
        assert_eq!(find("other"), None);
    }

    #[test]
    fn who_asks_for_no_name_or_an_unknown_one_gets_the_first_site_if_that_is_wanted() {
        let mut names = names();
        assert_eq!(names.find(None, Unknown::Refused), Some(&"shop"));
        assert_eq!(names.find(Some("other"), Unknown::FirstSite), Some(&"shop"));
        names.any("any");
        assert_eq!(names.find(None, Unknown::Refused), Some(&"any"));
        assert_eq!(names.find(Some("other"), Unknown::Refused), Some(&"any"));
    }
}
