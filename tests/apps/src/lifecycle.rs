//! What goes wrong at the start and at the end: the setting `fault`.

use std::{error::Error, fmt, time::Duration};

use cohost_app::{BoxError, Context};

use crate::crash;

/// Starts as the setting `fault` says.
pub(crate) async fn start(cx: &Context) -> Result<Ending, BoxError> {
    let fault = cx.setting("fault").unwrap_or_default();
    match fault.as_str() {
        "" | "none" => {}
        "constructor-error" => return Err(NoDatabase(Refused).into()),
        "constructor-panic" => panic!("the constructor was told to panic"),
        "constructor-hang" => forever(),
        "constructor-abort" => std::process::abort(),
        "constructor-exit" => crash::exit_now(),
        "constructor-segfault" => crash::write_nowhere(),
        // A task of its own lives on for as long as the process.
        "not-ready" => cx.set_ready(false),
        "slow-ready" => ready_later(cx)?,
        "slow-start" => tokio::time::sleep(start_time(cx)?).await,
        "needs-file" => finds_its_file(cx)?,
        "gated-start" => gate_opens(cx).await?,
        "print-and-fail" => {
            crate::logs::print(64)?;
            return Err("it printed 64 KB, and then it failed".into());
        }
        "shutdown-hang" => return Ok(Ending::Never),
        "shutdown-panic" => return Ok(Ending::Panic),
        unknown => {
            return Err(format!("there is no fault {unknown:?}; see tests/apps/src/lifecycle.rs").into());
        }
    }
    Ok(Ending::Well)
}

/// How the application ends: what becomes of it when the service is dropped.
pub(crate) enum Ending {
    /// As it should.
    Well,
    /// Not at all.
    Never,
    /// With a panic.
    Panic,
}

impl Drop for Ending {
    fn drop(&mut self) {
        match self {
            Self::Well => {}
            Self::Never => forever(),
            Self::Panic => panic!("the application was told to panic at its end"),
        }
    }
}

/// Keeps the thread, and costs nothing.
fn forever() -> ! {
    loop {
        std::thread::park();
    }
}

fn ready_later(cx: &Context) -> Result<(), BoxError> {
    cx.set_ready(false);
    let (cx, delay) = (cx.clone(), start_time(cx)?);
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        cx.set_ready(true);
    });
    Ok(())
}

/// Until there is a file, which whoever wants it to start makes.
async fn gate_opens(cx: &Context) -> Result<(), BoxError> {
    let gate = cx.setting("gate").ok_or("the setting `gate` is missing")?;
    while !std::path::Path::new(&gate).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Fails without a file, which may come to be there.
fn finds_its_file(cx: &Context) -> Result<(), BoxError> {
    let needs = cx.setting("needs").ok_or("the setting `needs` is missing")?;
    std::fs::metadata(&needs).map(drop).map_err(|error| format!("{needs}: {error}").into())
}

fn start_time(cx: &Context) -> Result<Duration, BoxError> {
    let ms = cx.setting("start_ms").ok_or("the setting `start_ms` is missing")?;
    Ok(Duration::from_millis(ms.parse().map_err(|error| format!("start_ms = {ms:?}: {error}"))?))
}

/// An error with a cause, since both should be told.
#[derive(Debug)]
struct NoDatabase(Refused);

impl fmt::Display for NoDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the database is not there")
    }
}

impl Error for NoDatabase {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection refused")
    }
}

impl Error for Refused {}
