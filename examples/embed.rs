//! An application library inside a program of your own: an axum server that mounts it at `/app`.
//!
//! ```text
//! embed LIBRARY [inprocess | outofprocess]
//! ```
//!
//! Says where it listens, and serves until it is interrupted.

use std::{error::Error, io::Write as _, process::ExitCode};

use axum::{Router, routing::get};
use cohost::{Application, HostingModel, enter_if_asked};

fn main() -> ExitCode {
    // First of all: out of process, the instance is this very program, started anew.
    if let Some(code) = enter_if_asked() {
        return code;
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _unseen = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let library = arguments.next().ok_or("usage: embed LIBRARY [inprocess | outofprocess]")?;
    let model = arguments.next().map_or(Ok(HostingModel::InProcess), |model| model.parse())?;

    let app = Application::builder().library(library).path_base("/app").hosting_model(model).build()?;
    let router =
        Router::new().route("/", get(async || "not the application")).nest_service("/app", app.clone());

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, router).with_graceful_shutdown(interrupted).await?;
    app.stop().await;
    Ok(())
}
