//! The service manager that may have started us: what it hands over, and what it wants to hear.
//!
//! In: variables of the environment, as systemd sets them and others do after it. Out: listening sockets, and news of
//! our state. Without a service manager all of this does nothing. Never: lets a worker or an application have those
//! variables: they would speak in our name.

use std::{os::fd::BorrowedFd, time::Duration};

use cohost::listener::{Address, Bound};
use sd_notify::NotifyState;

/// The variables that are for this process alone.
pub(crate) const HIDDEN: [&str; 6] =
    ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Those of them that tell of sockets.
pub(crate) const SOCKETS: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// A listening socket that was handed over.
pub(crate) struct Given {
    pub(crate) bound: Bound,
    /// Whether it is one that we had [`keep`] kept.
    pub(crate) kept: bool,
}

/// The sockets that were handed over. To be called once, before anything is opened.
pub(crate) fn sockets() -> Vec<Given> {
    let numbers = sd_notify::listen_fds_with_names().into_iter().flatten();
    let socket = |number| cohost::runner::inherited(number).and_then(Bound::inherited);
    let taken = numbers.filter_map(|(number, name)| {
        socket(number)
            .inspect_err(|error| tracing::warn!(descriptor = number, %error, "handed over, but of no use"))
            .ok()
            .map(|bound| Given { kept: name.starts_with(KEPT), bound })
    });
    taken.collect()
}

/// Has the service manager keep a socket, so that it stays open while the service is restarted.
pub(crate) fn keep(address: &Address, socket: BorrowedFd<'_>) {
    let told =
        sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(&kept(address))], &[socket]);
    if let Err(error) = told {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// Has it keep a socket no longer.
pub(crate) fn forget(address: &Address) {
    notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&kept(address))]);
}

/// What a socket is called there: no colon, no control character, at most 255 of them. See sd_pid_notify_with_fds(3).
fn kept(address: &Address) -> String {
    let text = address.to_string();
    let fits =
        |character: char| if character.is_ascii_graphic() && character != ':' { character } else { '_' };
    KEPT.chars().chain(text.chars().map(fits)).collect()
}

/// How the names of sockets begin that we had kept.
const KEPT: &str = "cohost.";

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
