//! The forwarder against instances that are played byte by byte, or by hyper's server, on real sockets.

mod exchange;
mod failures;
mod http2;
mod switch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

use super::{Forwarder, Limits, Peer, Protocol, Target};
use crate::{
    Body, Failure,
    body::BodyError,
    endpoint::Endpoint,
    facts::{Connection, End, Facts, empty_base},
};

/// An instance that says what the test makes it say.
struct Fake {
    listener: UnixListener,
    path: PathBuf,
    _directory: TempDir,
}

impl Fake {
    fn listen() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("instance");
        Self { listener: UnixListener::bind(&path).unwrap(), path, _directory: directory }
    }

    fn forwarder(&self, peer: Peer) -> Forwarder {
        Forwarder::new(self.target(peer))
    }

    fn foreign(&self) -> Forwarder {
        self.forwarder(Peer::Foreign { token: None })
    }

    fn target(&self, peer: Peer) -> Target {
        Target {
            endpoint: Endpoint::Unix(self.path.clone()).into(),
            secured: None,
            peer,
            limits: Limits::default(),
            protocol: Protocol::Http1,
        }
    }

    async fn accept(&self) -> Wire {
        Wire { stream: self.listener.accept().await.unwrap().0, read: Vec::new() }
    }

    /// Forwards a request, and answers it well. What arrived, and the answer.
    async fn answers(
        &self,
        forwarder: &Forwarder,
        request: Request<Body>,
    ) -> (String, Result<Response<Body>, Failure>) {
        let answering = async { self.accept().await.answer(OK).await };
        futures_util::future::join(answering, forwarder.forward(request)).await
    }

    fn was_called_again(&self) -> bool {
        self.listener.accept().now_or_never().is_some()
    }

    /// Serves every connection with hyper, both protocols, as our runner does.
    fn serve<F, R>(self, handler: F)
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let Self { listener, _directory: directory, .. } = self;
        tokio::spawn(async move {
            let _until_the_end = directory;
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serve_on(TokioIo::new(stream), handler.clone());
            }
        });
    }
}

fn serve_on<I, F, R>(io: I, handler: F)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| handler(request).map(Ok::<_, std::convert::Infallible>));
    tokio::spawn(async move {
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http2().enable_connect_protocol();
        server.serve_connection_with_upgrades(io, service).await
    });
}

/// The instance's end of a connection, or a client's.
struct Wire<S = UnixStream> {
    stream: S,
    read: Vec<u8>,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Wire<S> {
    /// Reads up to and including `end`, and returns it as text in small letters.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = find(&self.read, end.as_bytes()) {
                let text: Vec<u8> = self.read.drain(..at + end.len()).collect();
                return String::from_utf8(text).unwrap().to_lowercase();
            }
            let mut piece = [0; 4096];
            let length = self.stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "ended before {end:?}: {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&piece[..length]);
        }
    }

    async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn answer(&mut self, text: &str) -> String {
        let head = self.head().await;
        self.say(text).await;
        head
    }

    /// Reads until the other side has closed.
    async fn closed(&mut self) {
        let mut rest = [0; 4096];
        while self.stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// A client of a front server that forwards everything.
fn front(forwarder: &Forwarder) -> Wire<DuplexStream> {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let forwarder = forwarder.clone();
    serve_on(TokioIo::new(server), move |request| {
        let forwarder = forwarder.clone();
        async move {
            forwarder
                .forward(with_facts(request.map(Body::from)))
                .await
                .unwrap_or_else(|failure| failed(&failure))
        }
    });
    Wire { stream: client, read: Vec::new() }
}

fn failed(failure: &Failure) -> Response<Body> {
    let mut response = Response::new(Body::from(failure.code.as_str()));
    *response.status_mut() = failure.code.status();
    response
}

fn get(path: &str) -> Request<Body> {
    with_facts(Request::get(path).header("host", "shop.example").body(Body::empty()).unwrap())
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    with_facts(Request::post(path).header("host", "shop.example").body(body.into()).unwrap())
}

fn with_facts(mut request: Request<Body>) -> Request<Body> {
    let peer = End::Ip("198.51.100.7:1234".parse().unwrap());
    let local = End::Ip("192.0.2.1:80".parse().unwrap());
    request.extensions_mut().insert(Facts::new(Arc::new(Connection::new(peer, local, empty_base(), None))));
    request
}

type Frames = mpsc::UnboundedSender<Result<http_body::Frame<Bytes>, BodyError>>;

/// A body that the test sends frame by frame.
fn stream() -> (Frames, Body) {
    let (send, receive) = mpsc::unbounded_channel();
    let frames = futures_util::stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|frame| (frame, receive))
    });
    (send, Body::new(StreamBody::new(frames)))
}

fn data(text: &'static str) -> Result<http_body::Frame<Bytes>, BodyError> {
    Ok(http_body::Frame::data(Bytes::from_static(text.as_bytes())))
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SOON: Duration = Duration::from_secs(2);
