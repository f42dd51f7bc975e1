//! The few requests that the supervisor itself sends to an instance.
//!
//! In: where it listens, its token. Out: the status, or nothing. Never: follows a redirect, reads a body, retries.

use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::super::Endpoint;

/// Sends a request to an instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe<'a> {
    endpoint: &'a Endpoint,
    token: &'a str,
}

/// The field of a message from the host to a runner. Never comes from outside: the forwarder strips its kind.
pub(crate) const DRAIN_FIELD: &str = "cohost-control";

type Message = Request<Empty<bytes::Bytes>>;

impl<'a> Probe<'a> {
    pub(super) fn new(endpoint: &'a Endpoint, token: &'a str) -> Self {
        Self { endpoint, token }
    }

    /// Whether it accepts a connection.
    pub(super) async fn connects(self) -> bool {
        match self.endpoint {
            Endpoint::Unix(path) => UnixStream::connect(path).await.is_ok(),
            Endpoint::Tcp(address) => TcpStream::connect(address).await.is_ok(),
        }
    }

    /// The status with which it answers a GET of `path`.
    pub(super) async fn health(self, path: &str) -> Option<StatusCode> {
        self.send(self.message(Method::GET, path)?).await
    }

    /// Sends the message with which IIS announces a shutdown; whether the application understood it.
    pub(super) async fn announce_shutdown(self, path_base: &str) -> bool {
        let path = format!("{}/iisintegration", path_base.trim_end_matches('/'));
        let Some(mut message) = self.message(Method::POST, &path) else { return false };
        message.headers_mut().insert("ms-aspnetcore-event", http::HeaderValue::from_static("shutdown"));
        self.send(message).await == Some(StatusCode::ACCEPTED)
    }

    /// Tells a runner of ours that its end is near; it goes on serving.
    pub(super) async fn announce_drain(self) -> bool {
        let Some(mut message) = self.message(Method::POST, "/") else { return false };
        message.headers_mut().insert(DRAIN_FIELD, http::HeaderValue::from_static("drain"));
        self.send(message).await == Some(StatusCode::ACCEPTED)
    }

    fn message(self, method: Method, path: &str) -> Option<Message> {
        let request = Request::builder().method(method).uri(path).header(http::header::HOST, "localhost");
        // Both names: programs of the one and of the other family refuse requests without theirs.
        let request = request.header("ms-aspnetcore-token", self.token).header("cohost-token", self.token);
        request.body(Empty::new()).ok()
    }

    async fn send(self, message: Message) -> Option<StatusCode> {
        match self.endpoint {
            Endpoint::Unix(path) => exchange(UnixStream::connect(path).await.ok()?, message).await,
            Endpoint::Tcp(address) => exchange(TcpStream::connect(address).await.ok()?, message).await,
        }
    }
}

async fn exchange<S>(stream: S, message: Message) -> Option<StatusCode>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // The connection does the work while the answer is awaited. It may be done first, with the answer delivered.
    let work = async {
        let _closed = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = sender.send_request(message) => answer.ok().map(|response| response.status()),
        never = work => never,
    }
}
