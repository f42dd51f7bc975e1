//! The commands that ask or tell a running host: each waits for the effect, and ends with what came of it.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use cohost::admin::{self, AskError, Client, Code, Command, Replacement, Stop as How};
use tokio::time::timeout;

use crate::{
    cli::{Logs, Named, Offline, Recycle, Reload, Status, Stop, Upgrade},
    exit::{Exit, Refused},
    log::wants_colour,
    runtime_dir::RuntimeDir,
    say,
    tail::Tail,
    tree::{self, Paint},
};

/// `cohost status`
pub(crate) fn status(arguments: &Status) -> Result<Exit, Refused> {
    let client = client(&arguments.runtime_dir);
    asking(async {
        let mut status = client.status().await.map_err(refused)?;
        // On a terminal the next one stands in place of the last.
        let again = if arguments.watch && std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        while printed(format!("{again}{}", shown(&status, arguments)?).as_bytes()) && arguments.watch {
            tokio::time::sleep(EVERY).await;
            status = look_again(&client).await.map_err(refused)?;
        }
        Ok(Exit::Success)
    })
}

fn shown(status: &admin::Status, arguments: &Status) -> Result<String, Refused> {
    if !arguments.json {
        return Ok(tree::text(status, std::time::SystemTime::now(), paint()));
    }
    let status = serde_json::to_string(status);
    Ok(status.map_err(|error| Exit::Failed.because(error.to_string()))? + "\n")
}

/// How things are by now. A host that is being upgraded has nobody to ask for a moment.
async fn look_again(client: &Client) -> Result<admin::Status, AskError> {
    match client.status().await {
        Err(AskError::NoHost { .. } | AskError::Broken(_)) => {
            tokio::time::sleep(EVERY).await;
            client.status().await
        }
        looked => looked,
    }
}

/// `cohost reload`
pub(crate) fn reload(arguments: &Reload) -> Result<Exit, Refused> {
    change(&arguments.runtime_dir, &Command::Reload)
}

/// `cohost recycle`
pub(crate) fn recycle(arguments: &Recycle) -> Result<Exit, Refused> {
    let what = admin::Recycle { application: arguments.application.clone() };
    change(&arguments.runtime_dir, &Command::Recycle(what))
}

/// `cohost offline`
pub(crate) fn offline(arguments: &Offline) -> Result<Exit, Refused> {
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file)
            .map_err(|error| Exit::Failed.because(format!("cannot read {}: {error}", file.display())))
    };
    let page = arguments.page.as_ref().map(read).transpose()?;
    let what = admin::Offline { application: arguments.application.clone(), page };
    change(&arguments.runtime_dir, &Command::Offline(what))
}

/// `cohost online`
pub(crate) fn online(arguments: &Named) -> Result<Exit, Refused> {
    change(&arguments.runtime_dir, &Command::Online(arguments.what()))
}

/// `cohost rollback`
pub(crate) fn rollback(arguments: &Named) -> Result<Exit, Refused> {
    change(&arguments.runtime_dir, &Command::RollBack(arguments.what()))
}

/// `cohost promote`
pub(crate) fn promote(arguments: &Named) -> Result<Exit, Refused> {
    change(&arguments.runtime_dir, &Command::Promote(arguments.what()))
}

/// `cohost demote`
pub(crate) fn demote(arguments: &Named) -> Result<Exit, Refused> {
    change(&arguments.runtime_dir, &Command::Demote(arguments.what()))
}

/// `cohost logs`
pub(crate) fn logs(arguments: &Logs) -> Result<Exit, Refused> {
    let client = client(&arguments.runtime_dir);
    let what = admin::Named { application: arguments.application.clone() };
    asking(async {
        let logs = client.logs(what).await.map_err(refused)?;
        if logs.shared {
            eprintln!(
                "several applications in process print here; `cohost demote` gives one its own process"
            );
        }
        print_all(logs.file, arguments).await
    })
}

async fn print_all(file: PathBuf, arguments: &Logs) -> Result<Exit, Refused> {
    let unread = |error| Exit::Failed.because(format!("cannot read {}: {error}", file.display()));
    let mut tail = match arguments.lines {
        Some(lines) => Tail::last(file.clone(), lines).map_err(unread)?,
        None => Tail::new(file.clone()),
    };
    let mut piece = Vec::new();
    loop {
        tail.read(&mut piece).map_err(unread)?;
        match piece.is_empty() {
            true if arguments.follow => tokio::time::sleep(GLANCE).await,
            false if printed(&piece) => {}
            _ => return Ok(Exit::Success),
        }
    }
}

/// Prints this. False if nobody reads any more, as after `head` has its lines; that is no failure.
fn printed(bytes: &[u8]) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).is_ok()
}

/// `cohost upgrade`
pub(crate) fn upgrade(arguments: &Upgrade) -> Result<Exit, Refused> {
    let client = client(&arguments.runtime_dir);
    let absolute = |program: &PathBuf| {
        std::path::absolute(program).map_err(|error| {
            Exit::Failed.because(format!("cannot tell where {} is: {error}", program.display()))
        })
    };
    let what = admin::Upgrade { program: arguments.program.as_ref().map(absolute).transpose()? };
    asking(async {
        let before = client.status().await.map_err(refused)?;
        let gives_way = client.upgrade(what).await.map_err(refused)?;
        let followed = timeout(FOLLOWED, follows(&client, &before, SILENCE)).await;
        match followed {
            Ok(None) => {
                Err(Exit::Failed.because("the host has ended; somebody has stopped it, or its log says why"))
            }
            Ok(Some(admin::Host {
                upgraded: Some(admin::Upgraded { worker: Replacement::Refused, .. }),
                ..
            })) => {
                let message = "the next program has taken over, but its worker did not get ready; the one of the \
                               program before goes on, and the log says more";
                Err(Exit::Failed.because(message))
            }
            Ok(Some(host)) => {
                say(&format!("cohost {} serves in place of {}\n", host.version, gives_way.from));
                Ok(Exit::Success)
            }
            Err(_) => Err(Exit::Failed.because(
                "the next program has taken over, but no worker of its own serves yet; see its log",
            )),
        }
    })
}

/// Waits until it is decided whose worker serves after the program of `before` was followed by another one; `None` if
/// nobody has answered for as long as `silence`.
async fn follows(client: &Client, before: &admin::Status, silence: Duration) -> Option<admin::Host> {
    let mut heard = Instant::now();
    loop {
        match client.status().await {
            Ok(admin::Status { host, .. }) => {
                let upgraded = host.upgraded.as_ref();
                let is_decided = upgraded.is_some_and(|upgraded| upgraded.worker != Replacement::UnderWay);
                if host.since != before.host.since && is_decided {
                    return Some(host);
                }
                heard = Instant::now();
            }
            // For a moment there is nobody to ask.
            Err(_) if heard.elapsed() > silence => return None,
            Err(_) => {}
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// `cohost stop`
pub(crate) fn stop(arguments: &Stop) -> Result<Exit, Refused> {
    let client = client(&arguments.runtime_dir);
    let how = How { at_once: arguments.at_once };
    let stopped = asking(async { client.stop(how).await.map_err(refused) })?;
    Ok(if stopped.gracefully { Exit::Success } else { Exit::Forced })
}

impl Named {
    fn what(&self) -> admin::Named {
        admin::Named { application: self.application.clone() }
    }
}

fn change(directory: &RuntimeDir, command: &Command) -> Result<Exit, Refused> {
    let client = client(directory);
    let changed = asking(async { client.change(command).await.map_err(refused) })?;
    say(&format!("edition {} is in force\n", changed.edition));
    Ok(Exit::Success)
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

/// How long the next program may take until a worker of its own serves.
const FOLLOWED: Duration = Duration::from_secs(150);

/// How long there may be nobody to ask meanwhile.
const SILENCE: Duration = Duration::from_secs(10);

/// How often `--follow` looks.
const GLANCE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_an_upgrade_hears_that_the_host_is_gone() {
        let description: serde_json::Value =
            serde_json::from_str(include_str!("../../docs/admin.openapi.json")).unwrap();
        let content = "/paths/~1v1~1status/get/responses/200/content/application~1json/example";
        let before = serde_json::from_value(description.pointer(content).unwrap().clone()).unwrap();
        let nowhere = Client::new(tempfile::tempdir().unwrap().path().join("nowhere"));
        let waiting = follows(&nowhere, &before, Duration::from_millis(10));
        assert!(timeout(Duration::from_secs(5), waiting).await.expect("in time").is_none());
    }
}
