//! The commands that ask or tell a running host: each waits for the effect, and ends with what came of it.

use std::{io::IsTerminal as _, time::Duration};

use cohost::admin::{AskError, Client, Code, Stop as How};

use crate::{
    cli::{Reload, Status, Stop},
    exit::{Exit, Refused},
    log::wants_colour,
    runtime_dir::RuntimeDir,
    say,
    tree::{self, Paint},
};

/// `cohost status`
pub(crate) fn status(arguments: &Status) -> Result<Exit, Refused> {
    let client = client(&arguments.runtime_dir);
    asking(async {
        loop {
            let status = client.status().await.map_err(refused)?;
            let text = if arguments.json {
                let status = serde_json::to_string(&status);
                status.map_err(|error| Exit::Failed.because(error.to_string()))? + "\n"
            } else {
                tree::text(&status, std::time::SystemTime::now(), paint())
            };
            if !arguments.watch {
                say(&text);
                return Ok(Exit::Success);
            }
            // On a terminal the next one stands in place of the last.
            let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
            say(&format!("{clear}{text}"));
            tokio::time::sleep(EVERY).await;
        }
    })
}

/// `cohost reload`
pub(crate) fn reload(arguments: &Reload) -> Result<Exit, Refused> {
    let client = client(&arguments.runtime_dir);
    let changed = asking(async { client.reload().await.map_err(refused) })?;
    say(&format!("edition {} is in force\n", changed.edition));
    Ok(Exit::Success)
}

/// `cohost stop`
pub(crate) fn stop(arguments: &Stop) -> Result<Exit, Refused> {
    let client = client(&arguments.runtime_dir);
    let how = How { at_once: arguments.at_once };
    let stopped = asking(async { client.stop(how).await.map_err(refused) })?;
    Ok(if stopped.gracefully { Exit::Success } else { Exit::Forced })
}

fn client(directory: &RuntimeDir) -> Client {
    Client::new(directory.path())
}

fn asking<T>(asking: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Exit::Failed.because(format!("cannot ask: {error}")))?.block_on(asking)
}

/// The exit code that tells scripts what came of it, and all that there is to say to people.
fn refused(error: AskError) -> Refused {
    let exit = match &error {
        AskError::NoHost { .. } => Exit::NoHost,
        AskError::Refused(problem) if problem.code == Code::ConfigurationRefused => Exit::Configuration,
        _ => Exit::Failed,
    };
    match error {
        AskError::Refused(problem) if !problem.faults.is_empty() => {
            let faults = problem.faults.join("\n");
            // Faults of a configuration say all themselves.
            match exit {
                Exit::Configuration => exit.because(faults),
                _ => exit.because(format!("{}\n{faults}", problem.detail)),
            }
        }
        error => exit.because(error.to_string()),
    }
}

fn paint() -> Paint {
    if std::io::stdout().is_terminal() && wants_colour() { Paint::Colours } else { Paint::Plain }
}

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(1);
