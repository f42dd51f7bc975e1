//! Where an instance listens, or a server that somebody else runs.
//!
//! A leaf: the supervisor or the configuration decides it, the forwarder connects to it.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc};

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

/// Where a server listens that may be elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here.
    At(Endpoint),
    /// At whatever address the system knows for this name when somebody connects.
    Named {
        /// The name.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
}

impl From<Endpoint> for Place {
    fn from(endpoint: Endpoint) -> Self {
        Self::At(endpoint)
    }
}

impl Place {
    /// Its name, or its address, without the port. A socket has neither.
    #[cfg(all(feature = "front", feature = "out-of-process"))]
    pub(crate) fn host(&self) -> Option<String> {
        match self {
            Self::At(Endpoint::Unix(_)) => None,
            Self::At(Endpoint::Tcp(address)) => Some(address.ip().to_string()),
            Self::Named { host, .. } => Some(host.to_string()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(endpoint) => endpoint.fmt(f),
            Self::Named { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
