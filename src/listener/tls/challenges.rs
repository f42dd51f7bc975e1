//! What is shown to authorities that look whether a name is ours: RFC 8737, the challenge `tls-alpn-01` of ACME.
//!
//! In: a hello with the protocol `acme-tls/1` alone. Out: a handshake with the certificate that the authority waits
//! for, and the end. Never: anything of a site, whatever its terms are; or of HTTP.

use std::{fmt, io, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::ClientHello,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::StartHandshake;

use super::PROVIDER;

/// Challenges that are to be answered at this moment.
pub trait Challenges: Send + Sync {
    /// The one for `name`, which is in lower case. May block: it is asked where blocking is allowed.
    fn find(&self, name: &str) -> Option<Challenge>;
}

/// What one authority waits for.
#[derive(Clone)]
pub struct Challenge(Arc<ServerConfig>);

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge").finish_non_exhaustive()
    }
}

impl Challenge {
    /// Shows the certificate in this PEM, which has its key as well. `None` if it has not.
    #[must_use]
    pub fn new(pem: &str) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        // Not looked into: it has an extension that nobody but authorities understands.
        let key = PROVIDER.key_provider.load_private_key(key).ok()?;
        let certified = CertifiedKey::new(vec![certificate], key);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER));
        let builder = builder.with_safe_default_protocol_versions().ok()?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.send_tls13_tickets = 0;
        Some(Self(Arc::new(config)))
    }

    /// Shows it, and ends the connection.
    pub(super) async fn answer(self, start: StartHandshake<TcpStream>) -> io::Result<()> {
        start.into_stream(self.0).await?.shutdown().await
    }
}

/// Whether it is an authority that says this hello: clients do not know the protocol.
pub(super) fn is_asked(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut protocols| protocols.next() == Some(PROTOCOL) && protocols.next().is_none())
}

pub(super) async fn find(challenges: &Arc<dyn Challenges>, name: &str) -> Option<Challenge> {
    let (challenges, name) = (Arc::clone(challenges), name.to_owned());
    tokio::task::spawn_blocking(move || challenges.find(&name)).await.ok().flatten()
}

/// What ALPN calls it.
const PROTOCOL: &[u8] = b"acme-tls/1";
