//! `[site.tls]`: the certificates that a site presents, and what it asks of its clients.

use std::{path::PathBuf, sync::Arc};

use super::{
    Acme, Binding, acme,
    fault::Refusal,
    keys,
    values::one_of,
    written::{Section, Value},
};
use crate::options::TlsVersion;

/// How a site speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// At least one; those that are ordered need not be there yet. The first is the one for clients whose server name
    /// none of them has.
    pub certificates: Vec<Certificate>,
    /// Clients that do not know it are refused.
    pub min_version: TlsVersion,
    /// Whether clients have to show certificates of their own.
    pub client_certificates: ClientCertificates,
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
    /// The name that the host orders it for, and writes both to the same file; `None` if somebody else does.
    pub ordered_for: Option<Arc<str>>,
}

/// Whether clients have to show certificates of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    Off,
    /// Who shows one must be known to one of these authorities; the others come in, too.
    Optional(Vouching),
    /// Nobody comes in without one that is known to one of these authorities.
    Required(Vouching),
}

/// Who vouches for clients, and whom they do not vouch for any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouching {
    /// PEM: the certificates of authorities.
    pub authorities: PathBuf,
    /// PEM: their revocation lists.
    pub revoked: Option<PathBuf>,
}

impl ClientCertificates {
    /// Who may vouch for clients.
    #[must_use]
    pub fn vouching(&self) -> Option<&Vouching> {
        match self {
            Self::Off => None,
            Self::Optional(vouching) | Self::Required(vouching) => Some(vouching),
        }
    }
}

pub(super) fn read(site: &Section<'_>, bindings: &[Binding], acme: Option<&Acme>) -> Option<Tls> {
    let section = site.section("tls", &keys::TLS)?;
    let certificates = match is_ordered(&section) {
        true => acme::certificates(site, acme, bindings),
        false => certificates(&section),
    };
    let mut tls =
        Tls { certificates, min_version: TlsVersion::default(), client_certificates: clients(&section) };
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    section.set(&mut tls.min_version, "min_version", one_of(&versions));
    Some(tls)
}

/// Whether the host orders the certificates itself. Then nothing else is said of them.
fn is_ordered(section: &Section<'_>) -> bool {
    let Some(value) = section.value("certificate") else { return false };
    if !value.text().is_ok_and(|text| text == "acme") {
        return false;
    }
    if !cfg!(feature = "acme") {
        let refusal = Refusal::new("this build has no ACME; name the PEM file of a certificate");
        section.refuse("certificate", &value.at(), refusal);
    }
    for (key, why) in [
        ("key", "the host makes a key of its own for certificate = \"acme\""),
        ("ocsp", "an authority's certificates of ACME come without"),
        (
            "certificates",
            "with certificate = \"acme\" there is one for each name of the site; give others a site of their own",
        ),
    ] {
        if let Some(value) = section.value(key) {
            section.refuse(key, &value.at(), Refusal::new(format!("has no effect: {why}")));
        }
    }
    true
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
    Some(Certificate { certificate: certificate?, key: key?, ocsp, ordered_for: None })
}

fn clients(section: &Section<'_>) -> ClientCertificates {
    let authorities = section.read("client_ca", |value| file(section, value));
    let words = [("off", Wanted::Off), ("optional", Wanted::Optional), ("required", Wanted::Required)];
    let wanted = section.read("client_certificates", one_of(&words));
    let wanted = wanted.unwrap_or_default();
    let revoked = section.read("client_crl", |value| match wanted {
        Wanted::Off => Err(Refusal::new(NOT_ASKED)),
        _ => file(section, value),
    });
    let vouching = authorities.map(|authorities| Vouching { authorities, revoked });
    match (wanted, vouching) {
        (Wanted::Optional, Some(vouching)) => return ClientCertificates::Optional(vouching),
        (Wanted::Required, Some(vouching)) => return ClientCertificates::Required(vouching),
        (Wanted::Off, None) => {}
        (Wanted::Off, Some(_)) => {
            if let Some(value) = section.value("client_ca") {
                section.refuse("client_ca", &value.at(), Refusal::new(NOT_ASKED));
            }
        }
        (_, None) if section.value("client_ca").is_none() => {
            let refusal =
                Refusal::new("is missing; name the PEM file with the authorities that vouch for clients");
            section.refuse("client_ca", &section.at, refusal);
        }
        (_, None) => {}
    }
    ClientCertificates::Off
}

#[derive(Clone, Copy, Debug, Default)]
enum Wanted {
    #[default]
    Off,
    Optional,
    Required,
}

fn file(section: &Section<'_>, value: &Value<'_>) -> Result<PathBuf, Refusal> {
    let path = value.text()?;
    if path.is_empty() {
        return Err(Refusal::new("must be the path of a file (is empty)"));
    }
    Ok(section.reading.resolve(path))
}

const NOT_ASKED: &str = "has no effect without client_certificates = \"optional\" or \"required\"";

const MISSING: &str = "is missing; name the PEM file of a certificate, and of its key with key, or say \"acme\" to have one ordered";
