//! What is in the files of certificates: read by the supervisor, presented by workers.
//!
//! In: a configuration, and which files may have changed. Out: the content of all that can be used, as part of an edition,
//! so that a worker that starts later has it too, whatever has become of the files by then. Never: lets go of what could
//! be used for something that cannot.

mod wanted;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use cohost::{
    admin::{self, When},
    config::{Certificate, ClientCertificates, Config, Site, Vouching},
    listener::tls::{Authorities, Clients, Identity, Objection, Pem, Revocations, Source},
};
use serde::{Deserialize, Serialize};

use self::wanted::{Named, Shown, Wanted, authorities, revocations, vouching, wanted};
pub(crate) use self::wanted::{all, ordered, paths};

/// The content of the files of all certificates that can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Certificates {
    held: Vec<Held>,
    /// Those who vouch for clients or servers, by file.
    #[serde(default)]
    authorities: Vec<Text>,
    /// And whom they have revoked.
    #[serde(default)]
    revocations: Vec<Text>,
}

/// What is in a file.
type Text = (OsString, String);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    // Paths need not be text, and JSON would insist on that.
    certificate: OsString,
    key: OsString,
    ocsp: Option<OsString>,
    pem: Pem,
}

/// A certificate that cannot be used as its files are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    pub(crate) site: String,
    /// The table that names it.
    pub(crate) key: String,
    pub(crate) certificate: PathBuf,
    pub(crate) why: String,
    pub(crate) before: Before,
}

/// What there was of a certificate before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Something that is presented further.
    Usable,
    /// Nothing, but the host orders another one.
    Ordered,
    /// Nothing.
    None,
}

impl Certificates {
    /// Reads the files of `config` that are new here, or that were `seen` to change.
    pub(crate) fn look(&mut self, config: &Config, seen: impl Fn(&Path) -> bool) -> Vec<Unusable> {
        let old = std::mem::take(self);
        let mut unusable = Vec::new();
        for Wanted { site, key, certificate, shown } in &wanted(config) {
            if self.find(certificate).is_some() {
                continue;
            }
            let before = old.find(certificate);
            let pem = match before {
                Some(pem) if !paths_of(certificate).any(&seen) => pem.clone(),
                _ => match read(certificate).and_then(|new| not_worse(new, certificate, before)) {
                    Ok((pem, identity)) => {
                        if before != Some(&pem) {
                            tell(certificate, &identity, *shown);
                        }
                        pem
                    }
                    Err(why) => {
                        // Before it was ordered for the first time, that is as it should be.
                        if !is_to_come(certificate) {
                            let (site, key, path) =
                                (site.clone(), key.clone(), certificate.certificate.clone());
                            let before = Before::of(before, certificate);
                            unusable.push(Unusable { site, key, certificate: path, why, before });
                        }
                        let Some(pem) = before else { continue };
                        pem.clone()
                    }
                },
            };
            self.held.push(Held::new(certificate, pem));
        }
        let files = authorities(config);
        self.authorities = texts(&old.authorities, &files, &seen, read_authorities, &mut unusable);
        let read = |file: &Path| self.read_revocations(config, file);
        self.revocations = texts(&old.revocations, &revocations(config), &seen, read, &mut unusable);
        unusable
    }

    /// What is in a file of revocation lists, which all sites that name it can use.
    fn read_revocations(&self, config: &Config, file: &Path) -> Result<String, String> {
        let (pem, revocations) = read_revocations(file)?;
        let sites = vouching(config).filter(|(_, vouching)| vouching.revoked.as_deref() == Some(file));
        for (_, vouching) in sites {
            let path = &vouching.authorities;
            let authorities = find(&self.authorities, path).and_then(|pem| Authorities::new(pem, path).ok());
            if let Some(authorities) = authorities {
                authorities.without(&revocations, file).map_err(|error| error.to_string())?;
            }
        }
        Ok(pem)
    }

    /// What is in a file of authorities.
    pub(crate) fn vouching(&self, file: &Path) -> Option<&str> {
        find(&self.authorities, file)
    }

    /// What a site asks of its clients.
    pub(crate) fn clients(&self, asked: &ClientCertificates) -> Clients {
        let Some(vouching) = asked.vouching() else { return Clients::Off };
        match (asked, self.authorities(vouching)) {
            (ClientCertificates::Optional(_), Some(authorities)) => Clients::Optional(authorities),
            (ClientCertificates::Required(_), Some(authorities)) => Clients::Required(authorities),
            _ => Clients::Nobody,
        }
    }

    /// Who vouches, if all that has to be known of that is known.
    fn authorities(&self, vouching: &Vouching) -> Option<Authorities> {
        let Vouching { authorities: file, revoked } = vouching;
        let authorities = Authorities::new(find(&self.authorities, file)?, file).ok()?;
        let Some(file) = revoked else { return Some(authorities) };
        let revocations = Revocations::new(find(&self.revocations, file)?, file).ok()?;
        authorities.without(&revocations, file).ok()
    }

    /// Those of a site that can be presented, in the order of the configuration.
    pub(crate) fn of(&self, certificates: &[Certificate]) -> Vec<Arc<Identity>> {
        let found = certificates.iter().filter_map(|certificate| {
            let pem = self.find(certificate)?;
            // It was understood when it was read; by a later build perhaps, and not by this one.
            Identity::new(pem, source(certificate)).ok().map(Arc::new)
        });
        found.collect()
    }

    /// What a site presents, as it is told, but for what came of ordering.
    pub(crate) fn told(&self, site: &Site) -> Vec<admin::Certificate> {
        let told = |certificate: &Certificate| {
            let identity =
                self.find(certificate).and_then(|pem| Identity::new(pem, source(certificate)).ok());
            let names = match (&identity, &certificate.ordered_for) {
                (Some(identity), _) => identity.names().iter().map(ToString::to_string).collect(),
                (None, name) => name.iter().map(ToString::to_string).collect(),
            };
            admin::Certificate {
                names,
                file: certificate.certificate.clone(),
                ordered: certificate.ordered_for.is_some(),
                expires: identity.map(|identity| When(identity.valid_until())),
                failed: None,
            }
        };
        site.tls.iter().flat_map(|tls| &tls.certificates).map(told).collect()
    }

    /// Says again what clients will not like about what is presented at this time.
    pub(crate) fn remind(&self, config: &Config, now: SystemTime) {
        for (path, objection) in &self.objections(config, now) {
            tracing::warn!(certificate = %path.display(), "the certificate {objection}");
        }
        for (path, objection) in self.objections_to_lists(config, now) {
            tracing::warn!(list = %path.display(), "the revocation list {objection}");
        }
    }

    fn objections(&self, config: &Config, now: SystemTime) -> Vec<(PathBuf, Objection)> {
        let objection = |Wanted { certificate, shown, .. }: Wanted| {
            let identity = Identity::new(self.find(&certificate)?, source(&certificate)).ok()?;
            let objection = shown.objection(&identity, now)?;
            Some((certificate.certificate, objection))
        };
        wanted(config).into_iter().filter_map(objection).collect()
    }

    fn objections_to_lists<'a>(&self, config: &'a Config, now: SystemTime) -> Vec<(&'a Path, Objection)> {
        let objection = |(_, vouching): (&'a str, &'a Vouching)| {
            let file = vouching.revoked.as_ref()?;
            let revocations = Revocations::new(find(&self.revocations, file)?, file).ok()?;
            Some((file.as_path(), revocations.objection(now)?))
        };
        vouching(config).filter_map(objection).collect()
    }

    fn find(&self, certificate: &Certificate) -> Option<&Pem> {
        self.held.iter().find(|held| held.is_of(certificate)).map(|held| &held.pem)
    }
}

impl Held {
    fn new(certificate: &Certificate, pem: Pem) -> Self {
        let Certificate { certificate, key, ocsp, .. } = certificate.clone();
        Self { certificate: certificate.into(), key: key.into(), ocsp: ocsp.map(Into::into), pem }
    }

    fn is_of(&self, certificate: &Certificate) -> bool {
        *self.certificate == *certificate.certificate
            && *self.key == *certificate.key
            && self.ocsp.as_deref() == certificate.ocsp.as_ref().map(|path| path.as_os_str())
    }
}

impl Before {
    fn of(before: Option<&Pem>, certificate: &Certificate) -> Self {
        match (before, &certificate.ordered_for) {
            (Some(_), _) => Self::Usable,
            (None, Some(_)) => Self::Ordered,
            (None, None) => Self::None,
        }
    }
}

impl Unusable {
    /// Says so in the log.
    pub(crate) fn say(&self) {
        let Self { site, certificate, why, before, .. } = self;
        let certificate = certificate.display();
        match before {
            Before::Usable => tracing::error!(
                site, %certificate, why, "certificate cannot be used; the one before is presented further"
            ),
            Before::Ordered => {
                tracing::error!(site, %certificate, why, "certificate cannot be used; another one is ordered");
            }
            Before::None => tracing::error!(site, %certificate, why, "certificate cannot be used"),
        }
    }
}

/// Whether it is one that the host orders, and nobody has written yet.
pub(crate) fn is_to_come(certificate: &Certificate) -> bool {
    certificate.ordered_for.is_some() && !certificate.certificate.exists()
}

/// The content of the files of a certificate, and what it means; or why it is of no use.
pub(crate) fn read(certificate: &Certificate) -> Result<(Pem, Identity), String> {
    let pem = Pem::read(source(certificate)).map_err(|error| error.to_string())?;
    let identity = Identity::new(&pem, source(certificate)).map_err(|error| error.to_string())?;
    Ok((pem, identity))
}

/// What was read, unless its time is over and that of what there was `before` is not.
fn not_worse(
    (pem, identity): (Pem, Identity),
    certificate: &Certificate,
    before: Option<&Pem>,
) -> Result<(Pem, Identity), String> {
    let now = SystemTime::now();
    let is_over = |identity: &Identity| identity.objection(now) == Some(Objection::Expired);
    let old = before.filter(|old| **old != pem).and_then(|old| Identity::new(old, source(certificate)).ok());
    if is_over(&identity) && old.is_some_and(|old| !is_over(&old)) {
        return Err(format!("{} {}", certificate.certificate.display(), Objection::Expired));
    }
    Ok((pem, identity))
}

/// The content of a file of authorities, or why it is of no use.
pub(crate) fn read_authorities(file: &Path) -> Result<String, String> {
    let read = Authorities::read(file).and_then(|pem| Authorities::new(&pem, file).map(|_| pem));
    read.map_err(|error| error.to_string())
}

/// The content of a file of revocation lists, and what it means; or why it is of no use.
pub(crate) fn read_revocations(file: &Path) -> Result<(String, Revocations), String> {
    let pem = Revocations::read(file).map_err(|error| error.to_string())?;
    let revocations = Revocations::new(&pem, file).map_err(|error| error.to_string())?;
    Ok((pem, revocations))
}

/// What an operator is to know of who vouches for clients, if there is something; or why they are of no use.
pub(crate) fn read_vouching(vouching: &Vouching) -> Result<Option<String>, String> {
    let Vouching { authorities: file, revoked } = vouching;
    let authorities = Authorities::new(&read_authorities(file)?, file).map_err(|error| error.to_string())?;
    let Some(file) = revoked else { return Ok(None) };
    let (_, revocations) = read_revocations(file)?;
    authorities.without(&revocations, file).map_err(|error| error.to_string())?;
    let objection = revocations.objection(SystemTime::now());
    Ok(objection.map(|objection| format!("the revocation list in {} {objection}", file.display())))
}

/// What there is in `files`; what was `known` of those that nobody has `seen` change, or that are of no use now.
fn texts(
    known: &[Text],
    files: &[Named],
    seen: impl Fn(&Path) -> bool,
    read: impl Fn(&Path) -> Result<String, String>,
    unusable: &mut Vec<Unusable>,
) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::new();
    for Named { site, key, file } in files {
        if find(&texts, file).is_some() {
            continue;
        }
        let before = find(known, file);
        let text = match before {
            Some(text) if !seen(file) => text.to_owned(),
            _ => match read(file) {
                Ok(text) => text,
                Err(why) => {
                    let (site, key, certificate) = (site.clone(), key.clone(), file.clone());
                    let kept = before.map_or(Before::None, |_| Before::Usable);
                    unusable.push(Unusable { site, key, certificate, why, before: kept });
                    let Some(text) = before else { continue };
                    text.to_owned()
                }
            },
        };
        texts.push((file.clone().into(), text));
    }
    texts
}

fn find<'a>(texts: &'a [Text], file: &Path) -> Option<&'a str> {
    texts.iter().find(|(path, _)| *path == *file).map(|(_, text)| &**text)
}

fn paths_of(certificate: &Certificate) -> impl Iterator<Item = &Path> {
    let Certificate { certificate, key, ocsp, .. } = certificate;
    [certificate, key].into_iter().chain(ocsp).map(PathBuf::as_path)
}

fn source(certificate: &Certificate) -> Source<'_> {
    let Certificate { certificate, key, ocsp, .. } = certificate;
    Source { certificate, key, ocsp: ocsp.as_deref() }
}

fn tell(certificate: &Certificate, identity: &Identity, shown: Shown) {
    let path = certificate.certificate.display();
    let names = identity.names().join(", ");
    tracing::info!(certificate = %path, names, "certificate taken up");
    if let Some(objection) = shown.objection(identity, SystemTime::now()) {
        tracing::warn!(certificate = %path, names, "the certificate {objection}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = "[[site]]\nname = 'a'\nbindings = ['https://a.example']\n\
        tls = { certificate = 'cert.pem', key = 'key.pem' }\n[[site.application]]\nlibrary = 'x'\n";

    /// A folder with a certificate, and a configuration that names it.
    fn folder() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let config = cohost::config::parse(SITE, &folder.path().join("cohost.toml"), &|_| None).unwrap();
        (folder, config)
    }

    #[test]
    fn what_could_be_used_stays_until_something_else_can() {
        let (folder, config) = folder();
        let mut certificates = Certificates::default();
        assert_eq!(certificates.look(&config, |_| true), []);
        let good = certificates.clone();
        std::fs::write(folder.path().join("key.pem"), "").unwrap();
        // Nobody has seen it change.
        assert_eq!(certificates.look(&config, |_| false), []);
        let unusable = certificates.look(&config, |path| path.ends_with("key.pem"));
        assert_eq!(unusable[0].before, Before::Usable);
        assert_eq!(certificates, good);
        let mut none = Certificates::default();
        assert_eq!(none.look(&config, |_| false)[0].before, Before::None);
        assert_eq!(none, Certificates::default());
    }

    #[test]
    fn what_is_valid_stays_when_what_comes_has_expired_and_that_is_better_than_nothing() {
        let (folder, config) = folder();
        let mut certificates = Certificates::default();
        certificates.look(&config, |_| true);
        let good = certificates.clone();
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut write = |year| {
            params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let pem = params.self_signed(&key).unwrap().pem();
            std::fs::write(folder.path().join("cert.pem"), pem).unwrap();
            std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        };
        write(2001);
        let unusable = certificates.look(&config, |_| true);
        assert_eq!((unusable.len(), unusable[0].before), (1, Before::Usable));
        assert!(unusable[0].why.contains("cert.pem has expired; renew it"), "{}", unusable[0].why);
        assert_eq!(certificates, good);
        // Of two that have expired, the one that was put there.
        let mut none = Certificates::default();
        assert_eq!(none.look(&config, |_| true), []);
        let first = none.clone();
        write(2002);
        assert_eq!(none.look(&config, |_| true), []);
        assert_ne!(none, first);
    }

    #[test]
    fn they_are_handed_over_as_they_are_and_keys_are_not_shown() {
        let (folder, config) = folder();
        let mut certificates = Certificates::default();
        certificates.look(&config, |_| true);
        let text = serde_json::to_string(&certificates).unwrap();
        assert_eq!(serde_json::from_str::<Certificates>(&text).unwrap(), certificates);
        let key = std::fs::read_to_string(folder.path().join("key.pem")).unwrap();
        let part = key.lines().nth(1).unwrap();
        assert!(text.contains(part) && !format!("{certificates:?}").contains(part));
    }

    #[test]
    fn a_certificate_whose_time_is_over_is_told_again() {
        let (_folder, config) = folder();
        let mut certificates = Certificates::default();
        certificates.look(&config, |_| true);
        assert_eq!(certificates.objections(&config, SystemTime::now()), []);
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(300_000_000_000);
        let told = certificates.objections(&config, later);
        assert_eq!(told[0].1, Objection::Expired);
    }
}
