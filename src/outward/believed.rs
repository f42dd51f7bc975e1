//! Whom the host believes.
//!
//! In: the system's authorities, or certificates that somebody has named. Out: a judgement on what a server shows. Never:
//! believes a certificate whose name is another one, or whose time is over.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use ring::digest;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{self, CryptoProvider},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use x509_parser::{prelude::FromDer as _, prelude::X509Certificate};

/// Authorities, and servers that need none. Clones are the same.
#[derive(Clone)]
pub struct Believed(Arc<Verifier>);

impl fmt::Debug for Believed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Believed")
    }
}

impl Believed {
    /// Those that the system believes, as it is set up; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others, as they do for
    /// other programs.
    ///
    /// # Errors
    /// It has none.
    pub fn system() -> Result<Self, NotBelieved> {
        let found = rustls_native_certs::load_native_certs();
        let origin = digest(&found.certs);
        let mut roots = RootCertStore::empty();
        // Some systems have old ones that nobody can read any more.
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        match (usable, found.errors.first()) {
            (0, Some(error)) => Err(NotBelieved::System(format!(": {error}"))),
            (0, None) => Err(NotBelieved::System(String::new())),
            _ => Self::new(roots, Vec::new(), origin),
        }
    }

    /// Those in this PEM: authorities, or servers' own certificates.
    ///
    /// # Errors
    /// There is none, or a damaged one.
    pub fn these(pem: &str) -> Result<Self, NotBelieved> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let certificates = certificates.map_err(|_| NotBelieved::Damaged)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|_| NotBelieved::Damaged)?;
        }
        let origin = digest(&certificates);
        Self::new(roots, certificates, origin)
    }

    fn new(
        roots: RootCertStore,
        these: Vec<CertificateDer<'static>>,
        origin: Digest,
    ) -> Result<Self, NotBelieved> {
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER)).build();
        let authorities = authorities.map_err(|_| NotBelieved::Nobody)?;
        Ok(Self(Arc::new(Verifier { authorities, these, origin })))
    }

    /// What all this was made of.
    pub(super) fn digest(&self) -> Digest {
        self.0.origin
    }

    pub(super) fn verifier(&self) -> Arc<dyn ServerCertVerifier> {
        Arc::clone(&self.0) as _
    }
}

/// Nobody could be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotBelieved {
    /// The system has no authorities.
    #[error(
        "the system has no certificates of authorities{0}; install them (ca-certificates), or name a file with ca"
    )]
    System(String),
    /// There is no certificate.
    #[error("there is no certificate")]
    Nobody,
    /// A certificate cannot be read.
    #[error("a certificate is cut short or damaged")]
    Damaged,
}

/// Judges as is usual; and believes a server that shows one of `these` certificates as its own, which one that signs itself
/// does. Usually that would not be believed: it is an authority's, often, and none that authority has signed.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    these: Vec<CertificateDer<'static>>,
    origin: Digest,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.these.contains(shown) {
            return self.authorities.verify_server_cert(shown, between, name, ocsp, now);
        }
        verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
        is_valid(shown, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

fn is_valid(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = certificate.validity();
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
    if now.as_secs() < seconds(validity.not_before) {
        return Err(CertificateError::NotValidYet);
    }
    if now.as_secs() > seconds(validity.not_after) {
        return Err(CertificateError::Expired);
    }
    Ok(())
}

/// SHA-256.
pub(super) type Digest = [u8; 32];

/// Of all these together.
pub(super) fn digest<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Digest {
    let mut all = digest::Context::new(&digest::SHA256);
    for certificate in certificates {
        all.update(certificate);
    }
    all.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// What all connections to servers are made with.
pub(super) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(crypto::ring::default_provider()));
