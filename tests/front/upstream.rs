//! A server on loopback that does what a test makes it do, for hosts that have it as an upstream.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};

use tokio_rustls::TlsAcceptor;

use crate::host::{Issued, Issuer, PATIENCE};

/// A server. Dropping it closes its listener and all its connections.
pub struct Upstream {
    pub address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Seen>,
    server: JoinHandle<()>,
}

/// What it has been asked, and how it is to answer.
struct Seen {
    name: &'static str,
    is_well: AtomicBool,
    /// Requests for anything but its health.
    asked: watch::Sender<usize>,
    fields: Mutex<Vec<(String, String)>>,
    go: Semaphore,
    /// Those that were whole, and those that only went on with a session.
    handshakes: [AtomicUsize; 2],
    /// The names that were asked for in them.
    names: Mutex<Vec<Option<String>>>,
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

impl Upstream {
    /// One that says its name at every path, but:
    ///
    /// - `/health` is 200 or, when it is not well, 503; `/500` is that;
    /// - `/close` closes the connection without an answer;
    /// - `/slow` waits for [`go`](Self::go), and `/cut` does, too, in the middle of an answer that it cuts then.
    pub async fn start(name: &'static str) -> Self {
        Self::at(name, "127.0.0.1:0".parse().unwrap()).await
    }

    /// The same at this address, where perhaps another one was.
    pub async fn at(name: &'static str, address: SocketAddr) -> Self {
        Self::begin(name, address, None).await
    }

    /// The same over TLS, with this certificate.
    pub async fn secure(name: &'static str, issued: &Issued) -> Self {
        Self::begin(name, "127.0.0.1:0".parse().unwrap(), Some(acceptor(issued, None))).await
    }

    /// The same, for clients that somebody vouches for.
    pub async fn secure_for(name: &'static str, issued: &Issued, clients: &Issuer) -> Self {
        Self::begin(name, "127.0.0.1:0".parse().unwrap(), Some(acceptor(issued, Some(clients)))).await
    }

    async fn begin(name: &'static str, address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let seen = Arc::new(Seen {
            name,
            is_well: true.into(),
            asked: watch::Sender::new(0),
            fields: Mutex::default(),
            go: Semaphore::new(0),
            handshakes: Default::default(),
            names: Mutex::default(),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&seen), tls));
        Self { address, scheme, seen, server }
    }

    /// As it stands in a configuration.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// How many handshakes there were: whole ones, and those that went on with a session.
    pub fn handshakes(&self) -> [usize; 2] {
        self.seen.handshakes.each_ref().map(|count| count.load(Ordering::SeqCst))
    }

    /// The name that it was asked for in the last handshake.
    pub fn name(&self) -> Option<String> {
        self.seen.names.lock().unwrap().last().cloned().flatten()
    }

    pub fn asked(&self) -> usize {
        *self.seen.asked.borrow()
    }

    /// Waits for its first request.
    pub async fn has_been_asked(&self) {
        let mut asked = self.seen.asked.subscribe();
        let first = asked.wait_for(|asked| *asked > 0);
        tokio::time::timeout(PATIENCE / 2, first).await.expect("a request in time").unwrap();
    }

    pub fn set_well(&self, is_well: bool) {
        self.seen.is_well.store(is_well, Ordering::SeqCst);
    }

    /// Lets one request go on.
    pub fn go(&self) {
        self.seen.go.add_permits(1);
    }

    /// A field of the last request that was not for its health.
    pub fn field(&self, name: &str) -> Option<String> {
        let fields = self.seen.fields.lock().unwrap();
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
    }

    /// Ends it. Afterwards nobody listens there.
    pub async fn end(mut self) -> SocketAddr {
        self.server.abort();
        let _aborted = (&mut self.server).await;
        self.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, seen: Arc<Seen>, tls: Option<TlsAcceptor>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (seen, tls) = (Arc::clone(&seen), tls.clone());
        connections.spawn(async move {
            let Some(tls) = tls else { return speak(stream, seen).await };
            let Ok(stream) = tls.accept(stream).await else { return };
            let session = stream.get_ref().1;
            let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
            seen.handshakes[usize::from(resumed)].fetch_add(1, Ordering::SeqCst);
            seen.names.lock().unwrap().push(session.server_name().map(str::to_owned));
            speak(stream, seen).await;
        });
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Arc<Seen>) {
    let service = service_fn(move |request| answer(Arc::clone(&seen), request));
    let server = auto::Builder::new(TokioExecutor::new());
    let _broken = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

/// Accepts TLS with this certificate, from those that `clients` vouches for, if that is asked.
fn acceptor(issued: &Issued, clients: Option<&Issuer>) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(issuer) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(issuer.pem().as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn answer(seen: Arc<Seen>, request: Request<Incoming>) -> Result<Answer, io::Error> {
    if request.uri().path() == "/health" {
        let is_well = seen.is_well.load(Ordering::SeqCst);
        return Ok(said(if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "health"));
    }
    seen.asked.send_modify(|asked| *asked += 1);
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    *seen.fields.lock().unwrap() = request.headers().iter().map(field).collect();
    match request.uri().path() {
        "/500" => Ok(said(StatusCode::INTERNAL_SERVER_ERROR, seen.name)),
        "/close" => Err(io::Error::other("closed")),
        "/cut" => {
            let begun = stream::once(async { Ok(Frame::data(Bytes::from("begun"))) });
            let cut = stream::once(async move {
                seen.go.acquire().await.unwrap().forget();
                Err(io::Error::other("cut"))
            });
            Ok(Response::new(StreamBody::new(begun.chain(cut)).boxed_unsync()))
        }
        "/slow" => {
            seen.go.acquire().await.unwrap().forget();
            Ok(said(StatusCode::OK, seen.name))
        }
        _ => Ok(said(StatusCode::OK, seen.name)),
    }
}

fn said(status: StatusCode, text: &'static str) -> Answer {
    let never = |never: Infallible| match never {};
    let mut answer = Response::new(Full::new(Bytes::from(text)).map_err(never).boxed_unsync());
    *answer.status_mut() = status;
    answer
}
