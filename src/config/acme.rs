//! `[acme]`: the authority that certificates are ordered from, and where they are kept.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::Uri;

use super::{
    Authority, Binding, Certificate, Site,
    fault::Refusal,
    keys,
    values::boolean,
    written::{Section, Value},
};
use crate::facts::Scheme;

/// Who issues certificates to the host by itself, and where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The URL of the authority's directory.
    pub directory: Arc<str>,
    /// How it may reach somebody: `mailto:ops@shop.example`.
    pub contact: Vec<String>,
    /// The folder of what belongs to this authority: account, certificates with their keys, what came of orders.
    pub folder: PathBuf,
    /// PEM: who vouches for the authority's own certificate, in place of those whom the system believes.
    pub ca: Option<PathBuf>,
    /// What the authority knows its customer by.
    pub external_account: Option<ExternalAccount>,
}

/// A customer of an authority that does not take everybody.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// What the authority calls the key.
    pub id: String,
    /// The key itself.
    pub key: Vec<u8>,
}

// The key is nobody's business.
impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Acme {
    /// The file with the certificate for `name`, a host name in lower case, and its key.
    ///
    /// One for both: there is no moment at which one of them is new and the other is not.
    #[must_use]
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join("certificates").join(format!("{name}.pem"))
    }
}

/// What `[acme]` says; `None` if there is none, or if it was refused, which is noted.
pub(super) fn read(top: &Section<'_>) -> Option<Acme> {
    let section = top.section("acme", &keys::ACME)?;
    let directory = match section.value("directory") {
        Some(_) => section.read("directory", directory),
        None => Some(LETS_ENCRYPT.to_owned()),
    };
    let contact = section.read_each("contact", contact).unwrap_or_default();
    let ca = section.read("ca", |value| file(&section, value));
    let external_account = external_account(&section);
    let state = state(&section);
    match section.read("terms_agreed", boolean) {
        Some(true) => {}
        None if section.value("terms_agreed").is_some() => {}
        agreed => {
            let at = section.value("terms_agreed").map_or_else(|| section.at.clone(), |value| value.at());
            let problem = if agreed.is_some() { "must be true" } else { "is missing" };
            let refusal = format!("{problem}; read the terms of service of the authority, and say true here");
            section.refuse("terms_agreed", &at, Refusal::new(refusal));
        }
    }
    let directory: Arc<str> = directory?.into();
    let folder = state?.join(folder_of(&directory));
    let contact = contact.into_iter().map(|(contact, _)| contact).collect();
    Some(Acme { directory, contact, folder, ca, external_account })
}

/// Refuses sites that order certificates from nobody, and an authority of whom nobody orders.
pub(super) fn refuse_unpaired(top: &Section<'_>, sites: &[Site]) {
    let orders = |site: &&Site| {
        let tls = site.tls.as_ref();
        tls.is_some_and(|tls| tls.certificates.iter().any(|it| it.ordered_for.is_some()))
    };
    match (top.value("acme"), sites.iter().find(orders)) {
        (None, Some(site)) => {
            let refusal = Refusal::new(format!(
                "is missing; site {:?} has certificate = \"acme\", which needs [acme] with terms_agreed = true",
                site.name
            ));
            top.refuse("acme", &top.at, refusal);
        }
        (Some(value), None) => {
            let refusal = Refusal::new("has no effect without a site that has certificate = \"acme\"");
            top.refuse("acme", &value.at(), refusal);
        }
        _ => {}
    }
}

/// The certificates to order for a site with these bindings: one for each name, so that a name which the authority cannot
/// validate costs the others nothing.
pub(super) fn certificates(
    section: &Section<'_>,
    acme: Option<&Acme>,
    bindings: &[Binding],
) -> Vec<Certificate> {
    let mut names: Vec<&Arc<str>> = Vec::new();
    for binding in bindings.iter().filter(|binding| binding.scheme == Scheme::Https) {
        let problem = match &binding.authority {
            Authority::Exact(name) => {
                names.extend((!names.contains(&name)).then_some(name));
                continue;
            }
            Authority::Wildcard(_) => {
                "is a wildcard, which no authority validates over TLS; bind each name by itself"
            }
            Authority::Any => "has no name to order a certificate for; bind a name, as https://shop.example",
        };
        let at = section.value("bindings").map_or_else(|| section.at.clone(), |value| value.at());
        let refusal = Refusal::new(format!(
            "{binding} {problem}, or name the files of a certificate in place of \"acme\""
        ));
        section.refuse("bindings", &at, refusal);
    }
    let certificate = |name: &Arc<str>| {
        // Without an authority there is a fault, and nobody looks for files.
        let file = acme.map(|acme| acme.certificate(name)).unwrap_or_default();
        Certificate { certificate: file.clone(), key: file, ocsp: None, ordered_for: Some(Arc::clone(name)) }
    };
    // Where all bindings were refused, it is ordered for nobody, and not a site of another kind.
    let nobody = Arc::from("");
    if names.is_empty() {
        names.push(&nobody);
    }
    names.into_iter().map(certificate).collect()
}

fn directory(value: &Value<'_>) -> Result<String, Refusal> {
    let text = value.text()?;
    let uri: Option<Uri> = text.parse().ok();
    let is_https =
        |uri: &Uri| uri.scheme_str() == Some("https") && uri.host().is_some_and(|it| !it.is_empty());
    if !uri.as_ref().is_some_and(is_https) {
        return Err(Refusal::new(format!(
            "must be the https:// URL of an authority's directory, as {LETS_ENCRYPT:?} (is {text:?})"
        )));
    }
    Ok(text)
}

/// A mail address, or a URI.
fn contact(value: &Value<'_>) -> Result<String, Refusal> {
    let text = value.text()?;
    let address = text.strip_prefix("mailto:").unwrap_or(&text);
    let is_address = address.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if !is_address || address.contains([' ', ',', '?', ':']) {
        return Err(Refusal::new(format!("must be one mail address, as \"ops@shop.example\" (is {text:?})")));
    }
    Ok(format!("mailto:{address}"))
}

/// Where authorities have their folders: as it is written, or else where a service manager keeps the state of a service.
fn state(section: &Section<'_>) -> Option<PathBuf> {
    if section.value("state").is_some() {
        return section.read("state", |value| file(section, value));
    }
    let given = section.reading.variable("STATE_DIRECTORY").filter(|directories| !directories.is_empty());
    let first = given.and_then(|directories| std::env::split_paths(&directories).next());
    Some(first.unwrap_or_else(|| PathBuf::from(STATE)).join("acme"))
}

fn file(section: &Section<'_>, value: &Value<'_>) -> Result<PathBuf, Refusal> {
    let path = value.text()?;
    if path.is_empty() {
        return Err(Refusal::new("must be a path (is empty)"));
    }
    Ok(section.reading.resolve(path))
}

fn external_account(acme: &Section<'_>) -> Option<ExternalAccount> {
    let section = acme.section("external_account", &keys::EXTERNAL_ACCOUNT)?;
    for key in ["id", "key"] {
        if section.value(key).is_none() {
            section.refuse(
                key,
                &section.at,
                Refusal::new("is missing; the authority gives both to its customers"),
            );
        }
    }
    let id = section.read("id", Value::text);
    let key = section.read("key", |value| {
        // Not what it is: faults go to logs.
        let text = value.text()?;
        let read = |alphabet| {
            let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            GeneralPurpose::new(alphabet, config).decode(text.trim()).ok()
        };
        let key = read(&URL_SAFE).or_else(|| read(&STANDARD)).filter(|key| !key.is_empty());
        key.ok_or_else(|| Refusal::new("must be the key in base64, as the authority shows it"))
    });
    Some(ExternalAccount { id: id?, key: key? })
}

/// What an authority's folder is called: certificates of one are not those of another, as those of a trial run are not.
fn folder_of(directory: &str) -> PathBuf {
    let name = directory.strip_prefix("https://").unwrap_or(directory);
    let fits = |byte: char| byte.is_ascii_alphanumeric() || byte == '.' || byte == '_';
    let name: String = name.chars().map(|byte| if fits(byte) { byte } else { '-' }).collect();
    Path::new(name.trim_matches(['-', '.'])).to_owned()
}

/// Whom everybody may order from.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Where the state of this service is by custom.
const STATE: &str = "/var/lib/cohost";
