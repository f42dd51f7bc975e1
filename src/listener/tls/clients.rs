//! Certificates of clients: who has to show one, and who vouches for them.

use std::{fmt, path::Path, sync::Arc};

use ring::digest;
use rustls::{
    RootCertStore,
    pki_types::CertificateDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{IdentityError, PROVIDER, identity};
use crate::facts::Asked;

/// Who may vouch for clients.
#[derive(Clone)]
pub struct Authorities {
    roots: Arc<RootCertStore>,
    /// Of the file that they were read from.
    digest: u64,
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
        let digest = digest::digest(&digest::SHA256, pem.as_bytes());
        let (first, _) = digest.as_ref().split_first_chunk().expect("SHA-256 has 32 bytes");
        // 0 is where there are none.
        Ok(Self { roots: Arc::new(roots), digest: u64::from_be_bytes(*first).max(1) })
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
        let of = |authorities: &Authorities| {
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&authorities.roots), Arc::clone(&PROVIDER))
        };
        let builder = match self {
            Self::Off | Self::Nobody => return None,
            Self::Optional(authorities) => of(authorities).allow_unauthenticated(),
            Self::Required(authorities) => of(authorities),
        };
        Some(builder.build().expect("there is at least one authority"))
    }
}
