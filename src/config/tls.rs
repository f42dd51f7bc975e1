//! `[site.tls]`: the certificates that a site presents.

use std::path::PathBuf;

use super::{
    fault::Refusal,
    keys,
    values::one_of,
    written::{Section, Value},
};
use crate::options::TlsVersion;

/// How a site speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// At least one. The first is the one for clients whose server name none of them has.
    pub certificates: Vec<Certificate>,
    /// Clients that do not know it are refused.
    pub min_version: TlsVersion,
}

/// A certificate, and what belongs to it: absolute paths, when they were read from a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// PEM: its own certificate first, then those up to, but without, the root's.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// DER: a response of its authority's that says it is valid, to be shown to clients that ask.
    pub ocsp: Option<PathBuf>,
}

pub(super) fn read(site: &Section<'_>) -> Option<Tls> {
    let section = site.section("tls", &keys::TLS)?;
    let mut tls = Tls { certificates: certificates(&section), min_version: TlsVersion::default() };
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    section.set(&mut tls.min_version, "min_version", one_of(&versions));
    Some(tls)
}

/// The one that stands in the table itself, then those of the list.
fn certificates(section: &Section<'_>) -> Vec<Certificate> {
    let its_own = ["certificate", "key", "ocsp"].iter().any(|key| section.value(key).is_some());
    let listed = section.tables("certificates");
    if !its_own && listed.is_empty() && section.value("certificates").is_none() {
        section.refuse("certificate", &section.at, Refusal::new(MISSING));
    }
    let mut certificates: Vec<_> =
        if its_own { certificate(section).into_iter().collect() } else { Vec::new() };
    for (number, (table, at)) in listed.into_iter().enumerate() {
        let name = format!("{}.certificates[{}]", section.name, number + 1);
        let one = Section::new(section.reading, name, at, table, &keys::CERTIFICATE);
        certificates.extend(certificate(&one));
    }
    certificates
}

fn certificate(section: &Section<'_>) -> Option<Certificate> {
    let path = |key| section.read(key, |value: &Value<'_>| file(section, value));
    let (certificate, key, ocsp) = (path("certificate"), path("key"), path("ocsp"));
    for (name, value) in [("certificate", section.value("certificate")), ("key", section.value("key"))] {
        if value.is_none() {
            section.refuse(
                name,
                &section.at,
                Refusal::new("is missing; a certificate needs its key, both as PEM files"),
            );
        }
    }
    Some(Certificate { certificate: certificate?, key: key?, ocsp })
}

fn file(section: &Section<'_>, value: &Value<'_>) -> Result<PathBuf, Refusal> {
    let path = value.text()?;
    if path.is_empty() {
        return Err(Refusal::new("must be the path of a file (is empty)"));
    }
    Ok(section.reading.resolve(path))
}

const MISSING: &str = "is missing; name the PEM file of a certificate, and of its key with key";
