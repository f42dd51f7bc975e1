//! Where a program listens.

use std::{convert::Infallible, path::PathBuf, str::FromStr};

/// An address of TCP, or the path of a Unix socket.
pub(crate) enum Address {
    /// What `TcpListener::bind` takes.
    Tcp(String),
    /// A path where there is nothing yet.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(text.to_owned()),
        })
    }
}
