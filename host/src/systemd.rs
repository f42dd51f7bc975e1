//! The service manager that may have started us: what it hands over, and what it wants to hear.
//!
//! In: variables of the environment, as systemd sets them and others do after it. Out: listening sockets, and news of
//! our state. Without a service manager all of this does nothing. Never: lets a worker or an application have those
//! variables: they would speak in our name.

use std::time::Duration;

use cohost::listener::Bound;
use sd_notify::NotifyState;

/// The variables that are for this process alone.
pub(crate) const HIDDEN: [&str; 6] =
    ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Those of them that tell of sockets.
pub(crate) const SOCKETS: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// The sockets that were handed over. To be called once, before anything is opened.
pub(crate) fn sockets() -> Vec<Bound> {
    let numbers = sd_notify::listen_fds().into_iter().flatten();
    let socket = |number| cohost::runner::inherited(number).and_then(Bound::inherited);
    let taken = numbers.filter_map(|number| {
        socket(number)
            .inspect_err(|error| tracing::warn!(descriptor = number, %error, "handed over, but of no use"))
            .ok()
    });
    taken.collect()
}

/// How often it wants to hear that we live: twice as often as it insists on.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// We serve.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
}

/// We read our configuration again; [`ready`] says that it is done.
pub(crate) fn reloading() {
    // It wants to know when, to tell this from an earlier one.
    match NotifyState::monotonic_usec_now() {
        Ok(when) => notify(&[NotifyState::Reloading, when]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// We end.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// We live.
pub(crate) fn alive() {
    notify(&[NotifyState::Watchdog]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
