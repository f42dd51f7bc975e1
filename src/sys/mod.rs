//! What the operating system offers only through raw values, behind safe functions. Knows nothing of applications.

pub(crate) mod crash;
#[cfg(feature = "out-of-process")]
pub(crate) mod descriptors;
pub(crate) mod listening;
pub(crate) mod shared;

/// Has lists of processes, and whatever shows a process by its name, show this one by `name`: 15 letters at most.
///
/// A process that is started through `/proc/self/exe` is called `exe` otherwise.
#[cfg(feature = "out-of-process")]
pub(crate) fn call_this_process(name: &std::ffi::CStr) {
    // No more than a name: where it cannot be set, everything goes on as well.
    let _ = rustix::thread::set_name(name);
}
