//! What a site shows of itself: a certificate, with its chain and its key.
//!
//! In: PEM. Out: an [`Identity`] whose key belongs to its certificate, or what is wrong, by file, and how to mend it.
//! Never: shows a key to anybody.

use std::{
    fmt, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _, prelude::X509Certificate};

use super::PROVIDER;

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// PEM: the certificate, and those between it and the root's.
    pub certificate: &'a Path,
    /// PEM: its key.
    pub key: &'a Path,
    /// DER: what its authority says of its being valid.
    pub ocsp: Option<&'a Path>,
}

/// The content of the files of a certificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pem {
    certificate: String,
    key: String,
    #[serde(default)]
    ocsp: Option<Vec<u8>>,
}

// The key is nobody's business.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").finish_non_exhaustive()
    }
}

/// A certificate that can be presented.
pub struct Identity {
    certified: Arc<CertifiedKey>,
    /// In lower case; `*.` before those that are wildcards. Addresses, too.
    names: Vec<Box<str>>,
    valid: (SystemTime, SystemTime),
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("names", &self.names).finish_non_exhaustive()
    }
}

/// How well a certificate fits a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Exact,
    Wildcard,
    No,
}

impl Pem {
    /// What somebody has who needs no files.
    #[must_use]
    pub fn new(certificate: String, key: String) -> Self {
        Self { certificate, key, ocsp: None }
    }

    /// Reads the files of a certificate.
    ///
    /// # Errors
    /// Names the one that cannot be read, or is no text.
    pub fn read(source: Source<'_>) -> Result<Self, IdentityError> {
        let ocsp = source.ocsp.map(|path| {
            let bytes = std::fs::read(path).map_err(|error| unreadable(path, error))?;
            // A sequence, as all responses are. What is in it is for clients to judge.
            match bytes.first() {
                Some(0x30) => Ok(bytes),
                _ => Err(IdentityError::NoResponse { path: path.to_owned() }),
            }
        });
        Ok(Self {
            certificate: text(source.certificate, Kind::Certificate)?,
            key: text(source.key, Kind::Key)?,
            ocsp: ocsp.transpose()?,
        })
    }
}

impl Identity {
    /// Makes sense of what was read from `source`.
    ///
    /// # Errors
    /// What is wrong, and in which file.
    pub fn new(pem: &Pem, source: Source<'_>) -> Result<Self, IdentityError> {
        let chain = chain(&pem.certificate, source.certificate)?;
        let key = key(&pem.key, source.key)?;
        let (names, valid) = described(&chain[0], source.certificate)?;
        let mut certified = CertifiedKey::from_der(chain, key, &PROVIDER).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => IdentityError::Mismatch {
                certificate: source.certificate.to_owned(),
                key: source.key.to_owned(),
            },
            error => IdentityError::Unusable { path: source.key.to_owned(), source: error },
        })?;
        certified.ocsp.clone_from(&pem.ocsp);
        Ok(Self { certified: Arc::new(certified), names, valid })
    }

    /// The host names and addresses that it is for, in lower case.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// Whether it is for this host name, which is in lower case.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        self.fits(name) != Fit::No
    }

    /// What a client will not like about it at this time, if there is something.
    #[must_use]
    pub fn objection(&self, now: SystemTime) -> Option<Objection> {
        let (since, until) = self.valid;
        let left = until.duration_since(now);
        // Some live for days only.
        let soon = SOON.min(until.duration_since(since).unwrap_or_default() / 4);
        match (since <= now, left) {
            (false, _) => Some(Objection::NotYetValid),
            (true, Err(_)) => Some(Objection::Expired),
            (true, Ok(left)) if left < soon => Some(Objection::Expires { days: left.as_secs() / DAY }),
            (true, Ok(_)) if self.names.is_empty() => Some(Objection::Nameless),
            (true, Ok(_)) => None,
        }
    }

    /// Since when it is valid.
    #[must_use]
    pub fn valid_since(&self) -> SystemTime {
        self.valid.0
    }

    /// Until when it is valid.
    #[must_use]
    pub fn valid_until(&self) -> SystemTime {
        self.valid.1
    }

    pub(super) fn fits(&self, name: &str) -> Fit {
        if self.names.iter().any(|own| **own == *name) {
            return Fit::Exact;
        }
        // One label, as clients have it.
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let covers = |own: &str| own.strip_prefix("*.").is_some_and(|below| Some(below) == parent);
        if self.names.iter().any(|own| covers(own)) { Fit::Wildcard } else { Fit::No }
    }

    /// As it is used by whoever speaks TLS.
    #[must_use]
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

/// What is in a file of text.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Certificate,
    Key,
    List,
}

fn text(path: &Path, kind: Kind) -> Result<String, IdentityError> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, error))?;
    let path = path.to_owned();
    match (String::from_utf8(bytes), kind) {
        (Ok(text), _) => Ok(text),
        (Err(_), Kind::Certificate) => Err(IdentityError::NoCertificate { path, hint: DER_CERTIFICATE }),
        (Err(_), Kind::Key) => Err(IdentityError::NoKey { path, hint: DER_KEY }),
        (Err(_), Kind::List) => Err(IdentityError::NoList { path, hint: DER_LIST }),
    }
}

fn unreadable(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Unreadable { path: path.to_owned(), source }
}

/// What is in a file of certificates.
pub(super) fn certificates(path: &Path) -> Result<String, IdentityError> {
    text(path, Kind::Certificate)
}

/// What is in a file of revocation lists.
pub(super) fn lists(path: &Path) -> Result<String, IdentityError> {
    text(path, Kind::List)
}

/// A certificate of that file is damaged.
pub(super) fn damaged(path: &Path) -> IdentityError {
    IdentityError::NoCertificate { path: path.to_owned(), hint: CUT }
}

pub(super) fn chain(pem: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let hint = match read {
        Ok(chain) if !chain.is_empty() => return Ok(chain),
        Ok(_) if pem.contains("PRIVATE KEY-----") => "it has a key; certificate and key look swapped",
        Ok(_) if pem.trim().is_empty() => "it is empty",
        Ok(_) => "it needs a block that begins with -----BEGIN CERTIFICATE-----",
        Err(_) => CUT,
    };
    Err(IdentityError::NoCertificate { path: path.to_owned(), hint })
}

fn key(pem: &str, path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let hint = match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
        Ok(key) => return Ok(key),
        Err(_) if pem.contains("ENCRYPTED") => {
            "it is encrypted; write it in clear text with openssl pkey -in … -out …"
        }
        Err(_) if pem.contains("PRIVATE KEY-----") => CUT,
        Err(_) if pem.contains("BEGIN CERTIFICATE-----") => {
            "it has a certificate; certificate and key look swapped"
        }
        Err(_) if pem.trim().is_empty() => "it is empty",
        Err(_) => "it needs a block that begins with -----BEGIN PRIVATE KEY-----",
    };
    Err(IdentityError::NoKey { path: path.to_owned(), hint })
}

type Described = (Vec<Box<str>>, (SystemTime, SystemTime));

/// The names that a certificate is for, and when it is valid.
fn described(certificate: &CertificateDer<'_>, path: &Path) -> Result<Described, IdentityError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| damaged(path))?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
        GeneralName::IPAddress(bytes) => Some(address(bytes)?.to_string().into()),
        _ => None,
    });
    let time = |time: x509_parser::time::ASN1Time| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default())
    };
    let validity = certificate.validity();
    Ok((names.collect(), (time(validity.not_before), time(validity.not_after))))
}

/// An address as a certificate has it.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A certificate cannot be presented.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}{}", path.display(), hint(source))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no certificate where one is to be.
    #[error("{} has no certificate in PEM: {hint}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What it has.
        hint: &'static str,
    },
    /// There is no key where one is to be.
    #[error("{} has no private key in PEM: {hint}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What it has.
        hint: &'static str,
    },
    /// The key is another certificate's.
    #[error(
        "the key in {} does not belong to the first certificate in {}; put the site's own certificate first, or name \
         its key",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The key is of a kind that is not supported.
    #[error("the key in {} cannot be used: {source}; use RSA from 2048 bits, ECDSA P-256 or P-384, or Ed25519", path.display())]
    Unusable {
        /// The file of the key.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// There is no revocation list where one is to be.
    #[error("{} has no revocation list in PEM: {hint}", path.display())]
    NoList {
        /// The file.
        path: PathBuf,
        /// What it has.
        hint: &'static str,
    },
    /// A revocation list is of a kind that is not supported.
    #[error("a revocation list in {} cannot be used: {source}; use whole lists, and no differences or indirect ones", path.display())]
    UnusableList {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::server::VerifierBuilderError,
    },
    /// There is no response of OCSP where one is to be.
    #[error("{} is no OCSP response in DER; openssl ocsp -respout writes one", path.display())]
    NoResponse {
        /// The file.
        path: PathBuf,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; write it there, or mend the path",
        io::ErrorKind::PermissionDenied => "; let the user of the host read it, and nobody else",
        _ => "",
    }
}

/// What a client will not like about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Objection {
    /// Its time has not come.
    #[error("is not valid yet; look at the clock, or wait")]
    NotYetValid,
    /// Its time is over.
    #[error("has expired; renew it")]
    Expired,
    /// Its time is nearly over.
    #[error("expires in {days} days; renew it")]
    Expires {
        /// How long it has.
        days: u64,
    },
    /// Another one should be in its place by now.
    #[error("should have been renewed by now; who was revoked since then comes in")]
    Outdated,
    /// It is for no host name and no address.
    #[error("has no host name or address among its alternative names, so that clients refuse it")]
    Nameless,
}

const DAY: u64 = 24 * 60 * 60;
/// Authorities that renew by themselves do so long before that.
const SOON: Duration = Duration::from_secs(10 * DAY);
pub(super) const CUT: &str = "a block of it is cut short or damaged";
const DER_CERTIFICATE: &str = "it looks like DER; write it as PEM with openssl x509 -inform der -in … -out …";
const DER_LIST: &str = "it looks like DER; write it as PEM with openssl crl -inform der -in … -out …";
const DER_KEY: &str = "it looks like DER; write it as PEM with openssl pkey -inform der -in … -out …";

#[cfg(test)]
mod tests;
