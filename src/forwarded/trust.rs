//! Which peers are proxies of ours, and which of their fields say for whom they speak.

use std::{fmt, sync::Arc};

use ipnet::IpNet;

use crate::facts::End;

/// Which peers may say on whose behalf they speak, and how.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    who: Who,
    fields: Fields,
}

/// Proxies that are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// Those in this network.
    Network(IpNet),
    /// Whoever connects to a Unix socket.
    Socket,
}

#[derive(Clone, Default)]
enum Who {
    #[default]
    Nobody,
    These(Arc<[Proxy]>),
    When(Arc<dyn Fn(&End) -> bool + Send + Sync>),
}

/// The fields in which a proxy says for whom it speaks. The others are nobody's word: a proxy passes on what it does not
/// know, so that they may be the client's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
    #[default]
    XForwarded,
    /// `Forwarded`, RFC 7239.
    Forwarded,
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
        Self::these(networks.into_iter().map(Proxy::Network))
    }

    /// These peers are proxies of ours.
    #[must_use]
    pub fn these(proxies: impl IntoIterator<Item = Proxy>) -> Self {
        let proxies: Arc<[Proxy]> = proxies.into_iter().collect();
        let who = if proxies.is_empty() { Who::Nobody } else { Who::These(proxies) };
        Self { who, fields: Fields::default() }
    }

    /// Peers of which `decide` says so. Also asked about Unix sockets, which are in no network.
    #[must_use]
    pub fn when(decide: impl Fn(&End) -> bool + Send + Sync + 'static) -> Self {
        Self { who: Who::When(Arc::new(decide)), fields: Fields::default() }
    }

    /// They say it in these fields.
    #[must_use]
    pub fn saying(self, fields: Fields) -> Self {
        Self { fields, ..self }
    }

    pub(super) fn fields(&self) -> Fields {
        self.fields
    }

    /// Whether `peer` is believed.
    #[must_use]
    pub fn covers(&self, peer: &End) -> bool {
        match (&self.who, peer) {
            (Who::These(proxies), End::Ip(address)) => {
                // A listener on `::` shows IPv4 clients as mapped addresses, which no IPv4 network contains.
                let address = address.ip().to_canonical();
                let is_in =
                    |proxy: &Proxy| matches!(proxy, Proxy::Network(network) if network.contains(&address));
                proxies.iter().any(is_in)
            }
            (Who::These(proxies), End::Unix) => proxies.contains(&Proxy::Socket),
            (Who::When(decide), peer) => decide(peer),
            (Who::Nobody | Who::These(_), _) => false,
        }
    }
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::These(proxies) => f.debug_list().entries(proxies.iter()).finish(),
            Self::When(_) => f.write_str("When(…)"),
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
        assert!(Trust::these([Proxy::Socket]).covers(&End::Unix));
    }
}
