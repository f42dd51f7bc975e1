//! A program to become, with its arguments and its environment, whole.
//!
//! In: what to run. Out: nothing but the reason, if it cannot be run. Never: leaves it to a shell: that is what the C
//! library does with a file that the system does not know how to run, if it is asked as the standard library asks it.
#![expect(unsafe_code, reason = "the system takes addresses of addresses")]

use std::{
    ffi::{CString, OsStr, OsString, c_char},
    io,
    os::unix::ffi::OsStrExt as _,
    ptr,
};

/// A program to become.
pub(crate) struct Image {
    program: CString,
    arguments: Addresses,
    environment: Addresses,
}

/// Strings, and their addresses with a null behind them.
struct Addresses {
    _strings: Vec<CString>,
    addresses: Vec<*const c_char>,
}

// SAFETY: the addresses are of the strings beside them, which stay where they are and which nobody changes.
unsafe impl Send for Addresses {}
// SAFETY: as above.
unsafe impl Sync for Addresses {}

impl Image {
    /// `program` by its path; the arguments begin with the name under which it was asked for.
    ///
    /// # Errors
    /// Something in it contains a NUL byte.
    pub(crate) fn new(
        program: &OsStr,
        arguments: &[OsString],
        environment: &[(OsString, OsString)],
    ) -> io::Result<Self> {
        let program = string(program)?;
        let mut arguments: Vec<CString> =
            arguments.iter().map(|word| string(word)).collect::<Result<_, _>>()?;
        if arguments.is_empty() {
            arguments.push(program.clone());
        }
        let variable = |(name, value): &(OsString, OsString)| {
            let mut variable = name.clone();
            variable.push("=");
            variable.push(value);
            string(&variable)
        };
        let environment = environment.iter().map(variable).collect::<Result<_, _>>()?;
        let (arguments, environment) = (Addresses::of(arguments), Addresses::of(environment));
        Ok(Self { program, arguments, environment })
    }

    /// Becomes the program. Returns only if that fails, with the reason. Allocates nothing.
    pub(crate) fn become_it(&self) -> io::Error {
        let (arguments, environment) =
            (self.arguments.addresses.as_ptr(), self.environment.addresses.as_ptr());
        // SAFETY: a path, and two lists of strings that end with a null; all of it lives in `self`.
        unsafe { libc::execve(self.program.as_ptr(), arguments, environment) };
        io::Error::last_os_error()
    }
}

impl Addresses {
    fn of(strings: Vec<CString>) -> Self {
        let addresses = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Self { _strings: strings, addresses }
    }
}

fn string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::from)
}
