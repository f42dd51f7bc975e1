//! Which files there are to be read: those of certificates, and of who vouches for whom.
//!
//! In: a configuration. Out: each file with its site, and the table that names it. Never: reads one.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::SystemTime,
};

use cohost::{
    config::{Certificate, Config, Vouching},
    listener::tls::{Identity, Objection},
};

use super::paths_of;
use crate::outward::{self, Used};

/// The files by which certificates are named: their own, and those of authorities.
pub(crate) fn all(config: &Config) -> impl Iterator<Item = PathBuf> {
    let certificates = wanted(config).into_iter().map(|wanted| wanted.certificate.certificate);
    certificates.chain(authorities(config).into_iter().chain(revocations(config)).map(|named| named.file))
}

/// All files.
pub(crate) fn paths(config: &Config) -> BTreeSet<PathBuf> {
    let paths = |wanted: Wanted| paths_of(&wanted.certificate).map(Path::to_owned).collect::<Vec<_>>();
    let certificates = wanted(config).into_iter().flat_map(paths);
    certificates
        .chain(authorities(config).into_iter().chain(revocations(config)).map(|named| named.file))
        .collect()
}

/// The files that the host itself writes.
pub(crate) fn ordered(config: &Config) -> BTreeSet<PathBuf> {
    let ordered = wanted(config).into_iter().map(|wanted| wanted.certificate);
    ordered.filter(|it| it.ordered_for.is_some()).map(|it| it.certificate).collect()
}

/// A file that is to be had.
pub(super) struct Named {
    pub(super) site: String,
    /// The table that names it.
    pub(super) key: String,
    pub(super) file: PathBuf,
}

/// The files of those who vouch for others.
pub(super) fn authorities(config: &Config) -> Vec<Named> {
    let of_clients = vouching(config).map(|(site, vouching)| Named::of_clients(site, &vouching.authorities));
    let of_servers = outward::used(config).into_iter().flat_map(|Used { site, key, outward }| {
        let named =
            move |file: &PathBuf| Named { site: site.to_owned(), key: key.clone(), file: file.clone() };
        outward.ca.iter().map(named).collect::<Vec<_>>()
    });
    of_clients.chain(of_servers).collect()
}

/// And of whom they have revoked.
pub(super) fn revocations(config: &Config) -> Vec<Named> {
    let named =
        |(site, vouching): (&str, &Vouching)| Some(Named::of_clients(site, vouching.revoked.as_ref()?));
    vouching(config).filter_map(named).collect()
}

impl Named {
    fn of_clients(site: &str, file: &Path) -> Self {
        Self { site: site.to_owned(), key: format!("site.{site}.tls"), file: file.to_owned() }
    }
}

pub(super) fn vouching(config: &Config) -> impl Iterator<Item = (&str, &Vouching)> {
    config
        .sites
        .iter()
        .filter_map(|site| Some((&*site.name, site.tls.as_ref()?.client_certificates.vouching()?)))
}

/// A certificate that is to be had.
pub(super) struct Wanted {
    pub(super) site: String,
    /// The table that names it.
    pub(super) key: String,
    pub(super) certificate: Certificate,
    pub(super) shown: Shown,
}

/// Who gets to see a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Clients, to whom a site speaks.
    Clients,
    /// Servers, to which the host does.
    Servers,
}

impl Shown {
    /// What they will not like about it.
    pub(super) fn objection(self, identity: &Identity, now: SystemTime) -> Option<Objection> {
        match self {
            Self::Clients => identity.objection(now),
            Self::Servers => outward::objection(identity, now),
        }
    }
}

pub(super) fn wanted(config: &Config) -> Vec<Wanted> {
    let secure = config.sites.iter().filter_map(|site| Some((&*site.name, site.tls.as_ref()?)));
    let of_sites = secure.flat_map(|(site, tls)| {
        tls.certificates.iter().map(move |certificate| Wanted {
            site: site.to_owned(),
            key: format!("site.{site}.tls"),
            certificate: certificate.clone(),
            shown: Shown::Clients,
        })
    });
    let own = outward::used(config).into_iter().filter_map(|Used { site, key, outward }| {
        let certificate = outward::certificate(outward.own.as_ref()?);
        Some(Wanted { site: site.to_owned(), key, certificate, shown: Shown::Servers })
    });
    of_sites.chain(own).collect()
}
