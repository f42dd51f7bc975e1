//! TLS towards a server that somebody else runs: whom the host believes, and what it shows of itself.

use std::path::PathBuf;

/// What is wanted of TLS towards a server. The defaults are what browsers have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outward {
    /// PEM files with authorities, or with servers' own certificates. If there are none: those that the system believes.
    pub ca: Vec<PathBuf>,
    /// The name that the server's certificate has to be for, and that it is asked for, in place of the one in its URL.
    pub server_name: Option<String>,
    /// What the host shows to a server that wants to know who comes.
    pub own: Option<Own>,
}

/// A certificate of the host's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// PEM: the certificate, and those between it and the root's.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
}
