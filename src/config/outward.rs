//! `tls` of `[site.application.balance]` and of `[site.auth.forward]`: TLS towards servers that somebody else runs.

use std::path::PathBuf;

use super::{
    fault::Refusal,
    keys::Keys,
    written::{Section, Value},
};
use crate::front::{Outward, Own};

/// What `section` wants of TLS. Without the table: what is usual.
pub(super) fn read(section: &Section<'_>, keys: &'static Keys) -> Outward {
    let Some(section) = section.section("tls", keys) else { return Outward::default() };
    Outward {
        ca: authorities(&section),
        server_name: section.read("server_name", server_name),
        own: own(&section),
    }
}

/// Refuses the table `tls` where nothing is spoken to over TLS.
pub(super) fn refuse(section: &Section<'_>, why: &str) {
    if let Some(value) = section.value("tls") {
        section.refuse("tls", &value.at(), Refusal::new(why));
    }
}

fn authorities(section: &Section<'_>) -> Vec<PathBuf> {
    match section.value("ca") {
        Some(value) if value.is_text() => section.read("ca", file).into_iter().collect(),
        Some(value) => {
            let files = section.read_each("ca", file).unwrap_or_default();
            if value.list().is_ok_and(|list| list.is_empty()) {
                let refusal =
                    Refusal::new("needs at least one file; leave it out for those that the system believes");
                section.refuse("ca", &value.at(), refusal);
            }
            files.into_iter().map(|(file, _)| file).collect()
        }
        None => Vec::new(),
    }
}

fn own(section: &Section<'_>) -> Option<Own> {
    let (certificate, key) = (section.read("certificate", file), section.read("key", file));
    let is_there = |key| section.value(key).is_some();
    let missing = match (is_there("certificate"), is_there("key")) {
        (true, false) => "key",
        (false, true) => "certificate",
        _ => return Some(Own { certificate: certificate?, key: key? }),
    };
    let refusal = Refusal::new("is missing; a certificate needs its key, both as PEM files");
    section.refuse(missing, &section.at, refusal);
    None
}

fn file(value: &Value<'_>) -> Result<PathBuf, Refusal> {
    match value.text()? {
        path if path.is_empty() => Err(Refusal::new("must be the path of a file (is empty)")),
        path => Ok(value.reading.resolve(path)),
    }
}

fn server_name(value: &Value<'_>) -> Result<String, Refusal> {
    let name = value.text()?;
    match is_name(&name) {
        true => Ok(name),
        false => {
            Err(Refusal::new(format!("must be a host name or an address, without a port (is {name:?})")))
        }
    }
}

#[cfg(feature = "tls")]
fn is_name(text: &str) -> bool {
    rustls::pki_types::ServerName::try_from(text).is_ok()
}

#[cfg(not(feature = "tls"))]
fn is_name(text: &str) -> bool {
    !text.is_empty()
}

/// Whether this build can do what `https://` asks for.
pub(super) fn supported(text: &str) -> Result<(), Refusal> {
    match cfg!(feature = "tls") {
        true => Ok(()),
        false => Err(Refusal::new(format!("this build has no TLS (is {text:?})"))),
    }
}
