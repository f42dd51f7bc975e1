//! `cohost app`: one library, served on a private socket by a process of its own.

use crate::{
    cli::App,
    exit::{Exit, Refused},
    libraries,
};

/// Serves the library until the host says stop, or goes away.
pub(crate) fn run(arguments: &App) -> Result<Exit, Refused> {
    let refused = |error| Exit::Failed.because(libraries::explain(&error));
    libraries::examine(&arguments.library).map_err(refused)?;
    let endpoint = match (&arguments.endpoint.socket, arguments.endpoint.fd) {
        (Some(socket), _) => socket.display().to_string(),
        (None, Some(fd)) => format!("descriptor {fd}"),
        (None, None) => return Err(Exit::Usage.because("needs --socket or --fd")),
    };
    Err(Exit::Failed.because(format!("this version cannot serve on {endpoint} yet")))
}
