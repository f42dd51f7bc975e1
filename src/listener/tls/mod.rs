//! TLS: what a listener presents to its clients, by the server name that they ask for, and what it wants of them.
//!
//! In: connections, and the terms of sites. Out: streams in clear text, with what was agreed on; nothing for
//! authorities that merely look whether a name is ours. Never: reads a file, or goes on with a client that does not
//! keep to a site's terms.
//!
//! The cryptography is ring's: it needs a C compiler and nothing else.

mod challenges;
mod clients;
mod identity;
mod names;
mod tickets;

use std::{
    fmt, io,
    sync::{Arc, LazyLock},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use rustls::{
    ServerConfig, ServerConnection,
    crypto::{CryptoProvider, ring},
    server::NoServerSessionStorage,
    version::{TLS12, TLS13},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use self::names::Names;
pub use self::{
    challenges::{Challenge, Challenges},
    clients::{Authorities, Clients, Revocations},
    identity::{Identity, IdentityError, Objection, Pem, Source},
    names::{Misfit, Unknown},
    tickets::Secret,
};
use crate::{
    facts::{self, Asked},
    options::TlsVersion,
};

/// How connections of a listener are secured: not at all, or by TLS on these terms. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Secured(Arc<ArcSwapOption<Tls>>);

impl Secured {
    /// From the next connection on. Those that are open stay as they are.
    pub fn set(&self, tls: Option<Tls>) {
        self.0.store(tls.map(Arc::new));
    }

    /// How the next connection is.
    #[must_use]
    pub fn now(&self) -> Option<Arc<Tls>> {
        self.0.load_full()
    }
}

/// The terms of all sites on a listener.
pub struct Tls {
    sites: Names<Arc<Terms>>,
    unknown: Unknown,
    challenges: Option<Arc<dyn Challenges>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("sites", &self.sites)
            .field("unknown", &self.unknown)
            .finish_non_exhaustive()
    }
}

/// A site's terms.
pub struct Terms {
    config: Arc<ServerConfig>,
    asked: Asked,
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("asked", &self.asked).finish_non_exhaustive()
    }
}

/// What terms are made of.
#[derive(Debug)]
pub struct Offer<'a> {
    /// The site's name.
    pub site: &'a str,
    /// It presents one of these: the first that has the name which the client asks for and which the client can verify.
    /// Without any, handshakes fail.
    pub identities: Vec<Arc<Identity>>,
    /// What a client gets that asks for a name which none of these has.
    pub misfit: Misfit,
    /// Clients that do not know it are refused.
    pub min_version: TlsVersion,
    /// Whether clients have to show certificates.
    pub clients: Clients,
    /// What tickets are sealed with.
    pub tickets: Secret,
}

impl Terms {
    /// Terms of a site.
    #[must_use]
    pub fn new(offer: Offer<'_>) -> Self {
        let Offer { site, identities, misfit, min_version, clients, tickets } = offer;
        let versions: &[_] = match min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let asked = clients.asked();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_protocol_versions(versions)
            .expect("the provider has cipher suites for these versions");
        let builder = match clients.verifier() {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let identities = if let Clients::Nobody = clients { Vec::new() } else { identities };
        let mut config = builder.with_cert_resolver(Arc::new(names::Presented::new(identities, misfit)));
        // Ours, in which the stronger ones come first.
        config.ignore_client_order = true;
        config.alpn_protocols = [HTTP2, HTTP1].map(<[u8]>::to_vec).to_vec();
        // A session that was begun on other terms is not gone on with.
        let terms = format!("{site} {min_version:?} {asked:?}");
        config.ticketer = Arc::new(tickets::Tickets::new(tickets, terms.as_bytes()));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Self { config: Arc::new(config), asked }
    }

    /// What is asked of clients.
    #[must_use]
    pub fn asked(&self) -> Asked {
        self.asked
    }
}

impl Tls {
    /// No site yet. `unknown` is for clients that ask for a name which no site has.
    #[must_use]
    pub fn new(unknown: Unknown) -> Self {
        Self { sites: Names::default(), unknown, challenges: None }
    }

    /// Has authorities answered that look whether a name is ours.
    pub fn challenges(&mut self, challenges: Arc<dyn Challenges>) {
        self.challenges = Some(challenges);
    }

    /// Adds a site for all names. The first site of all is also for clients that ask for none.
    pub fn any(&mut self, terms: &Arc<Terms>) {
        self.sites.any(Arc::clone(terms));
    }

    /// Adds a site for this name.
    pub fn exact(&mut self, name: &str, terms: &Arc<Terms>) {
        self.sites.exact(name, Arc::clone(terms));
    }

    /// Adds a site for all names below this one.
    pub fn wildcard(&mut self, parent: &str, terms: &Arc<Terms>) {
        self.sites.wildcard(parent, Arc::clone(terms));
    }

    /// Makes TLS of a connection. Dropping the future closes it.
    ///
    /// # Errors
    /// Why not. The client has been told, if it speaks TLS at all.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(Box<TlsStream<TcpStream>>, facts::Tls), NotSecured> {
        if !begins_like_tls(&stream).await? {
            return Err(NotSecured::ClearText(stream));
        }
        let mut start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let hello = start.client_hello();
        let name = hello.server_name().map(str::to_ascii_lowercase);
        if let (Some(challenges), Some(name)) = (&self.challenges, &name)
            && challenges::is_asked(&hello)
            && let Some(challenge) = challenges::find(challenges, name).await
        {
            challenge.answer(start).await?;
            return Err(NotSecured::Validated(name.clone()));
        }
        let Some(terms) = self.sites.find(name.as_deref(), self.unknown) else {
            // The alert of RFC 6066. If it cannot be sent, the client is gone anyway.
            let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
            return Err(NotSecured::UnknownName(name.unwrap_or_default()));
        };
        let secured = start.into_stream(Arc::clone(&terms.config)).await?;
        let agreed = agreed(secured.get_ref().1, terms.asked);
        Ok((Box::new(secured), agreed))
    }
}

/// Whether a client begins with a record of TLS's handshake. Nothing is taken out of the stream.
async fn begins_like_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first == [HANDSHAKE]),
    }
}

/// What a handshake has come to.
fn agreed(connection: &ServerConnection, asked: Asked) -> facts::Tls {
    let chain = connection.peer_certificates().unwrap_or_default();
    facts::Tls {
        version: connection.protocol_version().map_or(0, u16::from),
        cipher: connection.negotiated_cipher_suite().map_or(0, |suite| suite.suite().into()),
        sni: connection.server_name().unwrap_or_default().into(),
        alpn: connection.alpn_protocol().map(Bytes::copy_from_slice).unwrap_or_default(),
        asked,
        client_chain: chain.iter().map(|certificate| Bytes::copy_from_slice(certificate)).collect(),
    }
}

/// Why there is no TLS on a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotSecured {
    /// The client speaks something else. Nothing that it sent has been read.
    #[error("the client does not speak TLS")]
    ClearText(TcpStream),
    /// An authority has seen that this name is ours, and wants nothing else.
    #[error("an authority has validated {0:?}")]
    Validated(String),
    /// No site has that name.
    #[error("no site is called {0:?}")]
    UnknownName(String),
    /// The client went away, or could not agree with us.
    #[error(transparent)]
    Handshake(#[from] io::Error),
}

/// What all connections are made with.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

/// HTTP/2, as ALPN calls it.
pub const HTTP2: &[u8] = b"h2";
/// HTTP/1.1, as ALPN calls it.
pub const HTTP1: &[u8] = b"http/1.1";
/// The type of a record of the handshake.
const HANDSHAKE: u8 = 22;
/// A fatal alert, `unrecognized_name`, in a record.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
