//! Whom a forwarder speaks to, and how.
//!
//! In: what the supervisor or the configuration knows of an instance, or of a server that somebody else runs. Out:
//! plain values. Never: a socket.

use std::{fmt, time::Duration};

use crate::{endpoint::Place, outward::Secured};

/// One instance, and how requests are carried to it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub endpoint: Place,
    /// How connections to it are secured. `None`: not at all.
    pub secured: Option<Secured>,
    /// What program it is.
    pub peer: Peer,
    /// How long to wait for it.
    pub limits: Limits,
    /// What a foreign program speaks. Our runner speaks both, and the forwarder chooses for each request.
    pub protocol: Protocol,
}

/// What program an instance is.
#[derive(Clone)]
pub enum Peer {
    /// `cohost app`: gets the request's facts in a private field of its private socket.
    Runner,
    /// Any other server.
    Foreign {
        /// Sent with every request, so that the program can refuse those that did not come through the host.
        token: Option<String>,
    },
}

// By hand: the token must not reach a log.
impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runner => f.write_str("Runner"),
            Self::Foreign { token } => {
                f.debug_struct("Foreign").field("token", &token.as_ref().map(|_| "…")).finish()
            }
        }
    }
}

/// What a foreign program speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 in clear text, without asking first.
    Http2,
}

/// How long an instance may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until it has accepted a connection.
    pub connect: Duration,
    /// From when it has the request, as far as the client has sent it, until its answer begins.
    pub first_byte: Duration,
    /// Between two parts of an answer. Upgraded connections may be idle for as long as they like.
    pub idle: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), first_byte: Duration::from_secs(120), idle: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let shown = format!("{:?}", Peer::Foreign { token: Some("secret".into()) });

        assert!(!shown.contains("secret"), "{shown}");
    }
}
