//! The sample application's routes, linked into a program of their own and served by axum.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    process::ExitCode,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request},
    response::{IntoResponse, Response},
    routing::{any, get},
    serve::ListenerExt as _,
};
use bytes::Bytes;
use http::header;
use http_body::{Frame, SizeHint};
use tokio::net::{TcpListener, UnixListener};

use crate::{address::Address, serve, terminated};

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    serve(listen)
}

async fn listen(address: Address) -> io::Result<()> {
    match address {
        Address::Tcp(address) => {
            let listener = TcpListener::bind(address).await?.tap_io(|stream| {
                // A connection that is gone already shows itself when it is read.
                let _ = stream.set_nodelay(true);
            });
            axum::serve(listener, routes()).with_graceful_shutdown(terminated()).await
        }
        Address::Unix(path) => {
            axum::serve(UnixListener::bind(path)?, routes()).with_graceful_shutdown(terminated()).await
        }
    }
}

fn routes() -> Router {
    Router::new()
        .route("/plaintext", get(async || "Hello, World!"))
        .route("/bytes/{n}", get(bytes))
        .route("/echo", any(echo))
}

async fn bytes(Path(n): Path<u64>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::new(Letters { left: n }))
}

async fn echo(request: Request) -> Response {
    Response::new(request.into_body())
}

struct Letters {
    left: u64,
}

static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

impl http_body::Body for Letters {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let n = self.left.min(PIECE.len() as u64);
        self.left -= n;
        Poll::Ready((n > 0).then(|| Ok(Frame::data(Bytes::from_static(&PIECE[..n as usize])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
