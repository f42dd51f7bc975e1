//! This process as an instance of an application library: the other end of the forwarder.
//!
//! In: requests on a private Unix socket, with their facts in a field that only the host can have set. Out: the same
//! requests to the same in-process dispatcher that serves in the host's own process; so an application cannot tell
//! one hosting model from the other. Never: listens where others than the host can reach it.

use std::{
    io::Write as _,
    os::fd::OwnedFd,
    path::PathBuf,
    process::ExitCode,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response, StatusCode};
use tower_service::Service;

use crate::{
    Application, Body, Failure, HostingModel, Options,
    application::Hosted,
    dispatcher::{
        in_process::{self, Ended},
        out_of_process::facts as carried,
    },
    facts::Facts,
    failure::Code,
    http::{Audience, ErrorPage},
    listener::{Address, Listener},
    server::{self, Limits, Server, Stopped, Stopping},
    supervisor::{AppArguments, DRAIN_FIELD, Role, exit_of, guard},
    sys,
    telemetry::relay,
};

/// Plays the role that this process was started for, if it was started for one.
///
/// Call it first thing in `main`, and end the process with the code it returns. A program that is its own
/// [`Runner`](crate::supervisor::Runner) and leaves this out cannot start instances.
#[must_use]
pub fn enter_if_asked() -> Option<ExitCode> {
    match Role::asked_for()? {
        Role::Guard => Some(guard::run()),
        Role::Application(Ok(arguments)) => Some(run(&arguments)),
        Role::Application(Err(error)) => {
            complain(&format!("not started by a host: {error}"));
            Some(ExitCode::from(USAGE))
        }
    }
}

/// Serves one library until SIGTERM, on a runtime of its own.
fn run(arguments: &AppArguments) -> ExitCode {
    sys::call_this_process(c"cohost-app");
    relay::start(arguments.log_level);
    in_process::when_one_hangs(|_| sys::abort_this_process());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("cohost")
        .max_blocking_threads(arguments.blocking_threads.max(1) + 8)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("no threads to serve with: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let exit = runtime.block_on(serve_as_told(arguments));
    // What the application left running must not keep the process.
    runtime.shutdown_background();
    exit
}

async fn serve_as_told(arguments: &AppArguments) -> ExitCode {
    match application(arguments) {
        Ok(application) => {
            serve(application, Place::Socket(arguments.socket.clone()), arguments.shutdown_timeout).await
        }
        Err(said) => {
            complain(&said);
            ExitCode::FAILURE
        }
    }
}

/// Where an instance listens.
#[derive(Debug)]
pub enum Place {
    /// On a Unix socket that it makes.
    Socket(PathBuf),
    /// On a Unix socket that it was given, listening already.
    Descriptor(OwnedFd),
}

/// Takes over a descriptor that this process was started with, for [`Place::Descriptor`]. Once, at its start.
///
/// # Errors
/// It is not open, or one of the three standard ones.
pub fn inherited(descriptor: i32) -> std::io::Result<OwnedFd> {
    crate::sys::descriptors::take(descriptor)
}

impl Place {
    fn listener(self) -> Result<Listener, String> {
        match self {
            Self::Socket(path) => Listener::bind(Address::Unix(path)).map_err(|error| error.to_string()),
            Self::Descriptor(socket) => Listener::inherited(socket)
                .map_err(|error| format!("the descriptor is no listening socket: {error}")),
        }
    }
}

/// Serves an application as an instance until SIGTERM; a second one hurries.
///
/// What goes wrong is written to stderr, which the host keeps; the exit code tells it the failure's code.
pub async fn serve(application: Application, place: Place, shutdown_timeout: Duration) -> ExitCode {
    if let Err(failure) = application.start().await {
        if !relay::tell(&failure.detail) {
            complain(&failure.detail);
        }
        return ExitCode::from(exit_of(failure.code));
    }
    // Only now: that it accepts connections is how the host learns that it is ready.
    let listener = match place.listener() {
        Ok(listener) => listener,
        Err(said) => {
            complain(&said);
            return ExitCode::FAILURE;
        }
    };
    let stopping = Stopping::new();
    tokio::spawn(stop_on_signal(stopping.clone(), application.clone()));
    let options = server::Options {
        access: false,
        error_page: ErrorPage { audience: Audience::Host, ..ErrorPage::default() },
        shutdown_timeout,
        // The host has waited for the client already, and limited it.
        limits: Limits::none(),
        ..server::Options::default()
    };
    let service = FromHost { application: application.clone(), inner: application.hosted() };
    let stopped = Server::new(service).options(options).listener(listener).serve(stopping).await;
    match (stopped, application.stop().await) {
        (Stopped::Gracefully, Ended::Gracefully) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn application(arguments: &AppArguments) -> Result<Application, String> {
    let settings = arguments
        .read_settings()
        .map_err(|error| format!("cannot read the settings in {}: {error}", arguments.settings.display()))?;
    let settings =
        serde_json::from_str(&settings).map_err(|error| format!("settings are not JSON: {error}"))?;
    let pinned = arguments.pinned.as_ref().unwrap_or(&arguments.library);
    Application::builder()
        .library(&arguments.library)
        .pinned(pinned)
        .name(&*arguments.name.to_string_lossy())
        .content_root(&arguments.content_root)
        .path_base(&*arguments.path_base.to_string_lossy())
        .hosting_model(HostingModel::InProcess)
        .settings(settings)
        .options(Options {
            // The host has the limits, and the patience.
            max_request_body: None,
            request_timeout: None,
            startup_timeout: Duration::from_secs(24 * 60 * 60),
            shutdown_timeout: arguments.shutdown_timeout,
            runtime_threads: arguments.runtime_threads,
            blocking_threads: arguments.blocking_threads,
            hang_timeout: arguments.hang_timeout,
            ..Options::default()
        })
        .build()
        .map_err(|error| error.to_string())
}

async fn stop_on_signal(stopping: Stopping, application: Application) {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let Ok(mut terminate) = terminate else { return };
    terminate.recv().await;
    application.notify_drain().await;
    stopping.stop();
    terminate.recv().await;
    stopping.stop();
}

/// Requests as the host sends them, with their facts put back in place.
#[derive(Clone)]
struct FromHost {
    application: Application,
    inner: Hosted,
}

impl Service<Request<Body>> for FromHost {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Either<<Hosted as Service<Request<Body>>>::Future, Ready<Result<Response<Body>, Failure>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if request.headers().contains_key(DRAIN_FIELD) {
            let application = self.application.clone();
            tokio::spawn(async move { application.notify_drain().await });
            let mut accepted = Response::new(Body::empty());
            *accepted.status_mut() = StatusCode::ACCEPTED;
            return Either::Right(ready(Ok(accepted)));
        }
        match restore(&mut request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(why) => Either::Right(ready(Err(Failure::new(Code::BadRequest).detail(why)))),
        }
    }
}

/// Puts the facts that the host sent in place of those of the connection to it. Without them the request came from
/// somebody else who may open the socket, and is served as what it is.
fn restore(request: &mut Request<Body>) -> Result<(), String> {
    let Some(field) = request.headers_mut().remove(carried::FIELD) else { return Ok(()) };
    let carried = carried::decode(&field, carried::Clock::read).map_err(|error| error.to_string())?;
    *request.version_mut() = carried.version;
    if carried.host == carried::Host::Unnamed {
        request.headers_mut().remove(http::header::HOST);
    }
    request.extensions_mut().insert::<Facts>(carried.facts);
    Ok(())
}

/// As in `sysexits.h`: the command was used incorrectly.
const USAGE: u8 = 64;

/// Says why there is nothing to serve, to the host, which keeps what its instances print.
fn complain(said: &str) {
    let _ = writeln!(std::io::stderr(), "{said}");
}
