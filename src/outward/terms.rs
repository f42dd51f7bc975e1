//! The terms of connections to servers, and connections on these terms.

use std::{fmt, io, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig,
    pki_types::ServerName,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    believed::{Believed, Digest, PROVIDER, digest},
    refusal::NotSecured,
};

/// Bytes to a server, and from it.
pub(crate) type Channel = TlsStream<TcpStream>;

/// On what terms servers are spoken to; or why they cannot be. Clones are the same ones, and share sessions, so that who
/// comes back needs only half a handshake.
#[derive(Clone)]
pub struct Terms(Result<Spoken, Arc<str>>);

#[derive(Clone)]
struct Spoken {
    config: Arc<ClientConfig>,
    /// What all this was made of.
    origin: [Digest; 2],
}

impl Terms {
    /// Servers have to be `believed`, and get to see the host's `own` certificate if they want one.
    #[must_use]
    pub fn new(believed: &Believed, own: Option<Arc<CertifiedKey>>) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites for these versions")
            .dangerous()
            // Stricter than none, and no less strict than the usual one: see there.
            .with_custom_certificate_verifier(believed.verifier());
        let shown = digest(own.iter().flat_map(|own| &own.cert));
        let mut config = match own {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP1.to_vec()];
        Self(Ok(Spoken { config: Arc::new(config), origin: [believed.digest(), shown] }))
    }

    /// None: every connection fails, for this reason.
    #[must_use]
    pub fn none(why: impl Into<Arc<str>>) -> Self {
        Self(Err(why.into()))
    }

    /// As the client of a library has them.
    ///
    /// # Errors
    /// There are none, for this reason.
    pub(crate) fn config(&self) -> Result<&Arc<ClientConfig>, NotSecured> {
        match &self.0 {
            Ok(spoken) => Ok(&spoken.config),
            Err(why) => Err(NotSecured::new(why.to_string())),
        }
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(_) => f.write_str("Terms"),
            Err(why) => f.debug_tuple("Terms").field(why).finish(),
        }
    }
}

impl Eq for Terms {}

// What was made of the same is the same to everybody.
impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Ok(own), Ok(others)) => own.origin == others.origin,
            (Err(own), Err(others)) => own == others,
            _ => false,
        }
    }
}

/// A place for terms, which may become others. Clones are the same place.
#[derive(Clone, Debug)]
pub struct Slot(Arc<ArcSwap<Terms>>);

impl Default for Slot {
    fn default() -> Self {
        let none = Terms::none("nobody has said whom to believe");
        Self(Arc::new(ArcSwap::from_pointee(none)))
    }
}

impl Slot {
    /// From the next connection on. Those that are open stay as they are; so do sessions, if the terms are the same.
    pub fn set(&self, terms: Terms) {
        if **self.0.load() != terms {
            self.0.store(Arc::new(terms));
        }
    }

    /// How connections to a server are secured that has to have this name. An address is one, too.
    #[must_use]
    pub fn secured(&self, name: &str) -> Option<Secured> {
        Some(Secured { name: name.into(), slot: self.clone() })
    }
}

/// How connections to one server are secured.
#[derive(Clone, Debug)]
pub struct Secured {
    /// What it has to be called, and is asked for. Nobody is asked for an address (RFC 6066).
    name: Arc<str>,
    slot: Slot,
}

impl Secured {
    /// Makes TLS of a connection. Dropping the future closes it.
    ///
    /// # Errors
    /// The server is not believed, or does not agree; what it is, [`told`](super::told) says.
    pub(crate) async fn secure(&self, stream: TcpStream) -> io::Result<Box<Channel>> {
        let terms = self.slot.0.load_full();
        let config = Arc::clone(terms.config()?);
        let name = ServerName::try_from(&*self.name).map_err(|_| {
            NotSecured::new(format!("{:?} is no name that a certificate could have", self.name))
        })?;
        let connecting = TlsConnector::from(config).connect(name.to_owned(), stream);
        connecting.await.map(Box::new).map_err(|error| NotSecured::of(&error).into())
    }
}

/// HTTP/1.1, as ALPN calls it: what upstreams are spoken to in.
const HTTP1: &[u8] = b"http/1.1";
