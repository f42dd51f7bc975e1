//! TLS on the client's side: authorities and certificates made on the spot, and clients that believe them.

use std::{net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
    KeyPair, RevokedCertParams, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Answer, Host, PATIENCE, Setup};

/// Somebody who vouches for others.
pub struct Issuer(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Issuer {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for these host names.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    /// The same, with something particular about it.
    pub fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A list of these serial numbers, whose certificates it does not vouch for any more, to be renewed before that year.
    pub fn revoking(&self, serials: &[u64], until: i32) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Issued {
    /// Puts it in place of what a host presents.
    pub fn replace(&self, folder: &Path) {
        // The certificate first, as those do that renew it.
        std::fs::write(folder.join("cert.pem"), &self.certificate).unwrap();
        std::fs::write(folder.join("key.pem"), &self.key).unwrap();
    }
}

impl Setup {
    /// Over TLS, with this certificate.
    pub fn secure(self, issued: &Issued) -> Self {
        self.binding("https://127.0.0.1:0")
            .file("cert.pem", &issued.certificate)
            .file("key.pem", &issued.key)
            .site("[site.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"")
    }
}

/// A client that speaks TLS.
#[derive(Clone)]
pub struct Secure {
    address: SocketAddr,
    name: String,
    config: Arc<ClientConfig>,
}

/// Which versions a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    Any,
    Tls12,
}

impl Host {
    /// A client that believes `issuer` and asks for `name`.
    pub fn secure(&self, issuer: &Issuer, name: &str) -> Secure {
        Secure::new(self.address, issuer, name)
    }
}

impl Secure {
    pub fn new(address: SocketAddr, issuer: &Issuer, name: &str) -> Self {
        let config = Arc::new(config(issuer, Handshake::Any, None));
        Self { address, name: name.to_owned(), config }
    }

    /// One that believes the authority in this PEM.
    pub fn believing(address: SocketAddr, authority: &str, name: &str) -> Self {
        let config = config_of(authority, Handshake::Any, None);
        Self { address, name: name.to_owned(), config: Arc::new(config) }
    }

    /// What it offers by ALPN.
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::make_mut(&mut self.config).alpn_protocols = protocols;
        self
    }

    /// Changes anything else about it.
    pub fn with(mut self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }

    /// The same client, with another certificate of its own, and other versions.
    pub fn speaking(self, issuer: &Issuer, versions: Handshake, own: Option<&Issued>) -> Self {
        Self { config: Arc::new(config(issuer, versions, own)), ..self }
    }

    /// The same client, asking for another name.
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// A connection, after its handshake.
    ///
    /// # Errors
    /// Either side did not like the other.
    pub async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(self.name.clone()).unwrap();
        let connecting = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        tokio::time::timeout(PATIENCE, connecting).await.expect("a handshake in time")
    }

    /// A GET on a connection of its own, in HTTP/1.1.
    ///
    /// # Errors
    /// There is no connection, or no answer.
    pub async fn try_get(&self, path: &str) -> std::io::Result<Answer> {
        let stream = self.connect().await?;
        self.get_on(stream, path).await
    }

    /// The same, of which an answer is expected.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap()
    }

    /// The same on a connection that is there already.
    pub async fn get_on(&self, stream: TlsStream<TcpStream>, path: &str) -> std::io::Result<Answer> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        let request = Request::get(path).header("host", &self.name).body(Empty::<Bytes>::new()).unwrap();
        let answering = async { Answer::of(sender.send_request(request).await?).await };
        let answer = tokio::time::timeout(PATIENCE, answering).await.expect("an answer in time");
        answer.map_err(std::io::Error::other)
    }

    /// A connection of HTTP/2, as ALPN has it.
    pub async fn http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let stream = self.clone().offering(&["h2"]).connect().await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// A GET over HTTP/2 for an authority.
    pub async fn get_http2(&self, authority: &str, path: &str) -> Answer {
        let mut sender = self.http2().await;
        Answer::of(get_on_http2(&mut sender, authority, path).await).await.unwrap()
    }
}

/// A GET on a connection of HTTP/2.
pub async fn get_on_http2(
    sender: &mut http2::SendRequest<Empty<Bytes>>,
    authority: &str,
    path: &str,
) -> Response<Incoming> {
    let request = Request::get(format!("https://{authority}{path}")).body(Empty::new()).unwrap();
    tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("in time").unwrap()
}

fn config(issuer: &Issuer, versions: Handshake, own: Option<&Issued>) -> ClientConfig {
    config_of(&issuer.pem(), versions, own)
}

fn config_of(authority: &str, versions: Handshake, own: Option<&Issued>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let versions: &[_] = match versions {
        Handshake::Any => rustls::ALL_VERSIONS,
        Handshake::Tls12 => &[&rustls::version::TLS12],
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(Issued { certificate, key }) => {
            let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}
