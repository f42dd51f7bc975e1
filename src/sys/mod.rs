//! What the operating system offers only through raw values, behind safe functions. Knows nothing of applications.

#[cfg(feature = "out-of-process")]
pub(crate) mod confine;
pub(crate) mod crash;
#[cfg(feature = "out-of-process")]
pub(crate) mod descriptors;
#[cfg(feature = "out-of-process")]
pub(crate) mod image;
pub(crate) mod listening;
pub(crate) mod shared;
pub(crate) mod stack;
#[cfg(feature = "out-of-process")]
pub(crate) mod stamp;

/// Has lists of processes, and whatever shows a process by its name, show this one by `name`: 15 letters at most.
///
/// A process that is started through `/proc/self/exe` is called `exe` otherwise.
#[cfg(feature = "out-of-process")]
pub(crate) fn call_this_process(name: &std::ffi::CStr) {
    // No more than a name: where it cannot be set, everything goes on as well.
    let _ = rustix::thread::set_name(name);
}

/// Has this thread, and those that it starts, hear signals, whatever the process has inherited from the one that
/// started it.
#[cfg(feature = "out-of-process")]
pub(crate) fn hear_signals() {
    let _cannot_fail = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Ends this process as a failed one: with SIGABRT, which leaves a core file where the system writes one, and, if the
/// application keeps that from it, with SIGKILL.
#[cfg(feature = "out-of-process")]
pub(crate) fn abort_this_process() {
    use rustix::process::{Signal, getpid, kill_process};
    let _cannot_fail = kill_process(getpid(), Signal::ABORT);
    // Nobody wakes this thread but by mistake, and then a little less time is no harm.
    std::thread::park_timeout(std::time::Duration::from_secs(2));
    let _cannot_fail = kill_process(getpid(), Signal::KILL);
}
