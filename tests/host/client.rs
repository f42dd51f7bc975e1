//! A plain HTTP client that shows what came.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::PATIENCE;

/// Makes requests, each on a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    address: SocketAddr,
    version: Version,
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header field that must be there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().unwrap()
    }

    /// Reads the whole of a response.
    pub async fn of(response: Response<Incoming>) -> Result<Self, hyper::Error> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        Ok(Self {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body: body.to_bytes(),
            trailers,
        })
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, version: Version::HTTP_11 }
    }

    /// Speaks HTTP/2 without asking first.
    pub fn http2(self) -> Self {
        Self { version: Version::HTTP_2, ..self }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Full::default()).unwrap()).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(self.request(Method::POST, path).body(Full::new(body.into())).unwrap()).await.unwrap()
    }

    /// A request to complete, with its authority.
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method);
        match self.version {
            Version::HTTP_2 => request.version(self.version).uri(format!("http://{}{path}", self.address)),
            _ => request.uri(path).header("host", self.address.to_string()),
        }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The answer was cut, or there was none.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Answer, hyper::Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let sending = async { Answer::of(self.begin(request).await?).await };
        tokio::time::timeout(PATIENCE, sending).await.expect("an answer in time")
    }

    /// Sends a request and returns with the head of the answer.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn begin<B>(&self, request: Request<B>) -> Result<Response<Incoming>, hyper::Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        match self.version {
            Version::HTTP_2 => self.connect_http2().await.send_request(request).await,
            _ => self.connect().await.send_request(request).await,
        }
    }

    /// A connection to make several requests on.
    pub async fn connect<B>(&self) -> http1::SendRequest<B>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender
    }

    /// The same in HTTP/2.
    pub async fn connect_http2<B>(&self) -> http2::SendRequest<B>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}
