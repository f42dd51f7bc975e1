//! What signals ask of the program.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Refused};

/// The signals that ask something of the program.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
    upgrade: Option<Signal>,
    reopen: Signal,
    /// Caught, so that a limit on the size of files is an error of a write and not the end.
    _too_large: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To end; by the signal of this name.
    Stop(&'static str),
    /// To read the configuration again.
    Reload,
    /// To let the program that is installed by now take over.
    Upgrade,
}

impl Signals {
    /// Those that end the program.
    pub(crate) fn to_stop() -> Result<Self, Refused> {
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let (reopen, _too_large) =
            (listen(SignalKind::user_defined1())?, listen(SignalKind::from_raw(SIGXFSZ))?);
        Ok(Self { terminate, interrupt, hangup: None, upgrade: None, reopen, _too_large })
    }

    /// Those, and the ones that have it change: its configuration, or the program itself.
    pub(crate) fn to_stop_or_change() -> Result<Self, Refused> {
        let (hangup, upgrade) = (listen(SignalKind::hangup())?, listen(SignalKind::user_defined2())?);
        Ok(Self { hangup: Some(hangup), upgrade: Some(upgrade), ..Self::to_stop()? })
    }

    /// One that came already, though nobody has looked since.
    pub(crate) async fn came_by_now(&mut self) -> Option<Asked> {
        // The runtime has to look once, too.
        tokio::time::timeout(Duration::from_millis(1), self.next()).await.ok()
    }

    /// Waits for the next. May be dropped at any time.
    ///
    /// The one that asks for files to be opened anew is obeyed here: it means the same whatever else is going on.
    pub(crate) async fn next(&mut self) -> Asked {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Asked::Stop("SIGTERM"),
                _ = self.interrupt.recv() => return Asked::Stop("SIGINT"),
                () = came(&mut self.hangup) => return Asked::Reload,
                () = came(&mut self.upgrade) => return Asked::Upgrade,
                _ = self.reopen.recv() => cohost::output::reopen(),
            }
        }
    }
}

/// Waits for a signal, if it is one that is listened to.
async fn came(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Has this process take no notice of signals: whoever sent one to the whole group meant somebody else, too.
///
/// Caught and not looked at. Not ignored: that would be inherited.
pub(crate) fn deafen() -> Result<Vec<Signal>, Refused> {
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ];
    kinds.into_iter().map(listen).collect()
}

/// Says what the first signal does.
pub(crate) fn first(asked: Asked) {
    let Asked::Stop(signal) = asked else { return };
    tracing::info!(signal, "stopping: finishing what is in flight; a second signal hurries");
}

/// Says what the second signal does.
pub(crate) fn second(asked: Asked) {
    let Asked::Stop(signal) = asked else { return };
    tracing::warn!(signal, "stopping at once");
}

/// The terminal that the program was started from, if it was started from one.
pub(crate) struct Terminal {
    there: bool,
}

impl Terminal {
    pub(crate) fn of_this_process() -> Self {
        Self { there: Self::is_there() }
    }

    /// What a signal asks for: a terminal that is closed sends the same signal as somebody who wants a reload.
    pub(crate) fn meant(&mut self, asked: Asked) -> Asked {
        if asked == Asked::Reload && self.there && !Self::is_there() {
            return Asked::Stop("SIGHUP");
        }
        asked
    }

    fn is_there() -> bool {
        std::fs::File::open("/dev/tty").is_ok()
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Refused> {
    signal(kind).map_err(|error| Exit::Failed.because(format!("cannot wait for signals: {error}")))
}

/// On all machines that Linux runs on, but for MIPS.
const SIGXFSZ: i32 = 25;
