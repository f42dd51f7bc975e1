//! The sample application's routes, linked into a program of their own and served by axum.

use std::{io, process::ExitCode};

use axum::{Router, serve::ListenerExt as _};
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
    sample_app::router(sample_app::Sample::default())
}
