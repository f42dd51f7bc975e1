//! A server on loopback that does what a test makes it do, for hosts that have it as an upstream.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
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
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};

use crate::host::PATIENCE;

/// A server. Dropping it closes its listener and all its connections.
pub struct Upstream {
    pub address: SocketAddr,
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
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen {
            name,
            is_well: true.into(),
            asked: watch::Sender::new(0),
            fields: Mutex::default(),
            go: Semaphore::new(0),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&seen)));
        Self { address, seen, server }
    }

    /// As it stands in a configuration.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
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

async fn serve(listener: TcpListener, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let seen = Arc::clone(&seen);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&seen), request));
            let server = auto::Builder::new(TokioExecutor::new());
            let _broken = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
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
