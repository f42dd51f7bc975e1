//! Where an instance listens.
//!
//! A leaf: the supervisor decides it, the forwarder connects to it.

use std::{fmt, net::SocketAddr, path::PathBuf};

/// Where an instance listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket in a private directory.
    Unix(PathBuf),
    /// A loopback port, for foreign programs.
    Tcp(SocketAddr),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}
