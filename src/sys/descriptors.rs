//! Descriptors that this process was started with.
//!
//! In: nothing. Out: none of them, beyond the three standard ones, reaches a program that this process starts.
#![expect(unsafe_code, reason = "a descriptor that was inherited is known by its number alone")]

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd as _, OwnedFd},
};

use rustix::io::{FdFlags, fcntl_setfd};

/// Marks every descriptor above the standard ones close-on-exec.
///
/// Meant for the start of a process, when nobody closes descriptors yet.
///
/// # Errors
/// `/proc` is not mounted.
pub(crate) fn seal() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number| *number > 2) else { continue };
        // SAFETY: the number is not negative, and the descriptor is open: it was just listed, the listing's own one
        // lives until the loop ends, and nothing else runs at the start of a process.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        // One that is gone after all needs no mark.
        let _gone = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
    }
    Ok(())
}

/// Takes over a descriptor that this process was started with.
///
/// Meant for the start of a process, and once for each number.
///
/// # Errors
/// It is not open, or one of the three standard ones.
pub(crate) fn take(number: i32) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "0, 1 and 2 are taken"));
    }
    // SAFETY: not negative; whether it is open is what is asked here.
    let lent = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_setfd(lent, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and nobody else in this process knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
