//! `cohost app`: one library, served on a private socket by a process of its own.

use std::process::ExitCode;

use cohost::{Application, runner::Place};

use crate::{
    artifact::name_of,
    cli::App,
    exit::{Exit, Refused},
    libraries, log,
};

/// Serves the library until SIGTERM. What came of it is the runner's own exit code, which hosts understand.
pub(crate) fn run(arguments: &App) -> Result<ExitCode, Refused> {
    let refused = |error| Exit::Failed.because(libraries::explain(&error));
    libraries::examine(&arguments.library).map_err(refused)?;
    log::start(&cohost::config::Log::default())?;
    let application = Application::builder()
        .library(&arguments.library)
        .name(name_of(&arguments.library))
        .content_root(arguments.library.with_file_name(""))
        .build()
        .map_err(|error| Exit::Usage.because(error.to_string()))?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Exit::Failed.because(format!("no threads to serve with: {error}")))?;
    // Taking an inherited descriptor needs the runtime.
    let _inside = runtime.enter();
    let place = place(arguments)?;
    let limit = cohost::Options::default().shutdown_timeout;
    Ok(runtime.block_on(cohost::runner::serve(application, place, limit)))
}

fn place(arguments: &App) -> Result<Place, Refused> {
    match (&arguments.endpoint.socket, arguments.endpoint.fd) {
        (Some(socket), _) => Ok(Place::Socket(socket.clone())),
        (None, Some(fd)) => cohost::runner::inherited(fd)
            .map(Place::Descriptor)
            .map_err(|error| Exit::Usage.because(format!("--fd {fd}: {error}"))),
        (None, None) => Err(Exit::Usage.because("needs --socket or --fd")),
    }
}
