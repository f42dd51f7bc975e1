//! The smallest program that starts an instance: its own runner, and the host of one command.
//!
//! ```text
//! guard RUNTIME_DIRECTORY COMMAND [ARGUMENT…]
//! ```
//!
//! Says the instance's number once it is ready, and stays until the instance ends. The tests start it to kill it.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use cohost::{
    enter_if_asked,
    supervisor::{Instance, Launch, Program, Runner},
};

fn main() -> ExitCode {
    // First of all: the guard is this very program, started anew.
    if let Some(code) = enter_if_asked() {
        return code;
    }
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments.next().unwrap_or_default();
    match host(directory, arguments.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _unseen = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn host(directory: OsString, command: Vec<OsString>) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let launch = Launch::new("example", Program::Command(command), "/");
        let instance = Instance::start(&launch, &Runner::current(directory)).await?;
        writeln!(io::stdout(), "{}", instance.pid())?;
        instance.exited().await;
        Ok(())
    })
}
