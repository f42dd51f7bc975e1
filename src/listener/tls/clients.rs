//! Certificates of clients: who has to show one, who vouches for them, and for whom not any more.

use std::{fmt, path::Path, sync::Arc, time::SystemTime};

use ring::digest::{self, Context};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject as _},
    server::{ClientCertVerifierBuilder, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

use super::{IdentityError, Objection, PROVIDER, identity};
use crate::facts::Asked;

/// Who may vouch for clients.
#[derive(Clone)]
pub struct Authorities {
    roots: Arc<RootCertStore>,
    /// What they have said of those for whom they do not vouch any more.
    lists: Vec<CertificateRevocationListDer<'static>>,
    /// Of the file that they were read from, and of whom they have revoked.
    digest: u64,
}

/// Whom authorities do not vouch for any more.
pub struct Revocations {
    lists: Vec<CertificateRevocationListDer<'static>>,
    /// Of those who are revoked: a list that was renewed and says the same is the same.
    digest: digest::Digest,
    /// When the first of the lists should have been followed by another, in seconds since 1970.
    next: Option<i64>,
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").finish_non_exhaustive()
    }
}

/// Whether clients have to show certificates.
#[derive(Clone, Debug, Default)]
pub enum Clients {
    /// They are not asked.
    #[default]
    Off,
    /// Who shows one must be known to one of these.
    Optional(Authorities),
    /// Nobody comes in without.
    Required(Authorities),
    /// Nobody comes in: it is not known who vouches for them.
    Nobody,
}

impl Authorities {
    /// Reads the file that `path` names.
    ///
    /// # Errors
    /// It cannot be read, or has no certificate.
    pub fn read(path: &Path) -> Result<String, IdentityError> {
        identity::certificates(path)
    }

    /// Makes sense of what was read from `path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(pem: &str, path: &Path) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for certificate in identity::chain(pem, path)? {
            roots.add(CertificateDer::from(certificate.as_ref())).map_err(|_| identity::damaged(path))?;
        }
        let digest = number(digest::digest(&digest::SHA256, pem.as_bytes()));
        Ok(Self { roots: Arc::new(roots), lists: Vec::new(), digest })
    }

    /// The same, without those who were revoked, by lists that were read from `path`.
    ///
    /// # Errors
    /// A list is of a kind that cannot be used.
    pub fn without(mut self, revocations: &Revocations, path: &Path) -> Result<Self, IdentityError> {
        let mut context = Context::new(&digest::SHA256);
        context.update(&self.digest.to_be_bytes());
        context.update(revocations.digest.as_ref());
        self.digest = number(context.finish());
        self.lists.clone_from(&revocations.lists);
        let built = self.verifier().build();
        built.map_err(|error| IdentityError::UnusableList { path: path.to_owned(), source: error })?;
        Ok(self)
    }

    fn verifier(&self) -> ClientCertVerifierBuilder {
        // Whose status no list tells is refused, and so is who is vouched for by somebody who was revoked.
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&PROVIDER))
            .with_crls(self.lists.iter().cloned())
    }
}

/// Its first bytes as a number. 0 is where there are none.
fn number(digest: digest::Digest) -> u64 {
    let (first, _) = digest.as_ref().split_first_chunk().expect("SHA-256 has 32 bytes");
    u64::from_be_bytes(*first).max(1)
}

impl Revocations {
    /// Reads the file that `path` names.
    ///
    /// # Errors
    /// It cannot be read, or is no text.
    pub fn read(path: &Path) -> Result<String, IdentityError> {
        identity::lists(path)
    }

    /// Makes sense of what was read from `path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(pem: &str, path: &Path) -> Result<Self, IdentityError> {
        let damaged = || IdentityError::NoList { path: path.to_owned(), hint: identity::CUT };
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()).collect();
        let lists = lists.map_err(|_| damaged())?;
        if lists.is_empty() {
            let hint = "it needs a block that begins with -----BEGIN X509 CRL-----";
            return Err(IdentityError::NoList { path: path.to_owned(), hint });
        }
        let (mut context, mut next) = (Context::new(&digest::SHA256), None);
        for list in &lists {
            let (_, list) = CertificateRevocationList::from_der(list).map_err(|_| damaged())?;
            // With lengths, so that no two say the same together.
            let mut update = |bytes: &[u8]| {
                context.update(&bytes.len().to_be_bytes());
                context.update(bytes);
            };
            update(list.issuer().as_raw());
            list.iter_revoked_certificates().for_each(|revoked| update(revoked.raw_serial()));
            let due = list.next_update().map(|time| time.timestamp());
            next = [next, due].into_iter().flatten().min();
        }
        Ok(Self { lists, digest: context.finish(), next })
    }

    /// What an operator is to know about it at this time, if there is something.
    #[must_use]
    pub fn objection(&self, now: SystemTime) -> Option<Objection> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_over = |next: i64| u64::try_from(next).is_ok_and(|next| next < now);
        self.next.is_some_and(is_over).then_some(Objection::Outdated)
    }
}

impl Clients {
    /// What is asked of clients, to compare it.
    #[must_use]
    pub fn asked(&self) -> Asked {
        match self {
            Self::Off => Asked::Nothing,
            Self::Optional(authorities) => Asked::Optional(authorities.digest),
            Self::Required(authorities) => Asked::Required(authorities.digest),
            Self::Nobody => Asked::Required(0),
        }
    }

    /// What verifies them; `None` where there is nothing to verify.
    pub(super) fn verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        let builder = match self {
            Self::Off | Self::Nobody => return None,
            Self::Optional(authorities) => authorities.verifier().allow_unauthenticated(),
            Self::Required(authorities) => authorities.verifier(),
        };
        Some(builder.build().expect("there is at least one authority, and its lists were tried"))
    }
}
