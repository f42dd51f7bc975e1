//! What signals ask of the program.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Refused};

/// The signals that ask something of the program.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To end; by the signal of this name.
    Stop(&'static str),
    /// To read the configuration again.
    Reload,
}

impl Signals {
    /// Those that end the program.
    pub(crate) fn to_stop() -> Result<Self, Refused> {
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: None })
    }

    /// Those, and the one that has it read its configuration again.
    pub(crate) fn to_stop_or_reload() -> Result<Self, Refused> {
        Ok(Self { hangup: Some(listen(SignalKind::hangup())?), ..Self::to_stop()? })
    }

    /// Waits for the next. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Asked {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = hangup => Asked::Reload,
        }
    }
}

/// Has this process take no notice of signals: whoever sent one to the whole group meant somebody else, too.
///
/// Caught and not looked at. Not ignored: that would be inherited.
pub(crate) fn deafen() -> Result<[Signal; 3], Refused> {
    Ok([listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?])
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

fn listen(kind: SignalKind) -> Result<Signal, Refused> {
    signal(kind).map_err(|error| Exit::Failed.because(format!("cannot wait for signals: {error}")))
}
