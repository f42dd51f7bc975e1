//! Whom a forwarder speaks to, how, and whom it believes.
//!
//! In: what the supervisor and the configuration know of an instance. Out: plain values. Never: a socket.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;

use crate::{endpoint::Endpoint, facts::End};

/// One instance, and how requests are carried to it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What program it is.
    pub peer: Peer,
    /// How long to wait for it.
    pub limits: Limits,
    /// Which clients are proxies whose forwarding fields are believed.
    pub trusted: Trust,
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

/// Which peers may say on whose behalf they speak.
#[derive(Clone, Default)]
pub struct Trust(Trusted);

#[derive(Clone, Default)]
enum Trusted {
    #[default]
    Nobody,
    Networks(Arc<[IpNet]>),
    When(Arc<dyn Fn(&End) -> bool + Send + Sync>),
}

impl Trust {
    /// Every peer is a client like any other.
    #[must_use]
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Peers in these networks are proxies of ours.
    #[must_use]
    pub fn networks(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(Trusted::Networks(networks.into_iter().collect()))
    }

    /// Peers of which `decide` says so. Also asked about Unix sockets, which are in no network.
    #[must_use]
    pub fn when(decide: impl Fn(&End) -> bool + Send + Sync + 'static) -> Self {
        Self(Trusted::When(Arc::new(decide)))
    }

    /// Whether `peer` is believed.
    #[must_use]
    pub fn covers(&self, peer: &End) -> bool {
        match (&self.0, peer) {
            (Trusted::Networks(networks), End::Ip(address)) => {
                // A listener on `::` shows IPv4 clients as mapped addresses, which no IPv4 network contains.
                let address: IpAddr = address.ip().to_canonical();
                networks.iter().any(|network| network.contains(&address))
            }
            (Trusted::When(decide), peer) => decide(peer),
            (Trusted::Nobody | Trusted::Networks(_), _) => false,
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Trusted::Nobody => f.write_str("Nobody"),
            Trusted::Networks(networks) => f.debug_tuple("Networks").field(networks).finish(),
            Trusted::When(_) => f.write_str("When(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_covers_its_mapped_addresses_and_nothing_else() {
        let trust = Trust::networks(["10.0.0.0/8".parse().unwrap()]);

        assert!(trust.covers(&End::Ip("10.1.2.3:9".parse().unwrap())));
        assert!(trust.covers(&End::Ip("[::ffff:10.1.2.3]:9".parse().unwrap())));
        assert!(!trust.covers(&End::Ip("11.0.0.1:9".parse().unwrap())));
        assert!(!trust.covers(&End::Unix));
        assert!(!Trust::nobody().covers(&End::Ip("10.1.2.3:9".parse().unwrap())));
        assert!(Trust::when(|peer| *peer == End::Unix).covers(&End::Unix));
    }

    #[test]
    fn a_token_is_not_shown() {
        let shown = format!("{:?}", Peer::Foreign { token: Some("secret".into()) });

        assert!(!shown.contains("secret"), "{shown}");
    }
}
