//! hyper with the set-up that a real host needs, and nothing else: HTTP/1 or 2 by what the client sends, a timer for
//! slow heads, graceful shutdown. Answers every request alike.

use std::{convert::Infallible, io, process::ExitCode};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};

use crate::{address::Address, serve, terminated};

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    serve(listen)
}

async fn listen(address: Address) -> io::Result<()> {
    let server = Server::new();
    tokio::select! {
        ended = server.accept(address) => ended?,
        () = terminated() => {}
    }
    server.connections.shutdown().await;
    Ok(())
}

struct Server {
    builder: auto::Builder<TokioExecutor>,
    connections: GracefulShutdown,
}

impl Server {
    fn new() -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder.http2().timer(TokioTimer::new());
        Self { builder, connections: GracefulShutdown::new() }
    }

    async fn accept(&self, address: Address) -> io::Result<()> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    self.connection(stream);
                }
            }
            Address::Unix(path) => {
                let listener = UnixListener::bind(path)?;
                loop {
                    self.connection(listener.accept().await?.0);
                }
            }
        }
    }

    fn connection(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(answer);
        let connection =
            self.builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        // How a connection ends is the client's affair.
        drop(tokio::spawn(self.connections.watch(connection)));
    }
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!")));
    let value = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    Ok(response)
}
