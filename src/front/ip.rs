//! Which clients may come in, by their address.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Enforcement;

/// Networks that may come in, and such that may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ip {
    /// Who may. Empty: all.
    pub allow: Vec<IpNet>,
    /// Who may not, also if they are among the allowed.
    pub deny: Vec<IpNet>,
    /// Whether the others are refused.
    pub enforcement: Enforcement,
}

impl Ip {
    /// Whether this address may come in. An IPv4 address that is written as IPv6 is the IPv4 address.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let among = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !among(&self.deny) && (self.allow.is_empty() || among(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(allow: &[&str], deny: &[&str]) -> Ip {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Ip { allow: networks(allow), deny: networks(deny), enforcement: Enforcement::Refuse }
    }

    fn admits(ip: &Ip, address: &str) -> bool {
        ip.admits(address.parse().unwrap())
    }

    #[test]
    fn a_denied_network_is_denied_also_inside_an_allowed_one() {
        let ip = ip(&["10.0.0.0/8", "::1/128"], &["10.9.0.0/16"]);
        assert!(admits(&ip, "10.1.2.3") && admits(&ip, "::1"));
        assert!(!admits(&ip, "10.9.2.3") && !admits(&ip, "192.0.2.1") && !admits(&ip, "::2"));
    }

    #[test]
    fn where_nobody_is_allowed_by_name_all_are_but_the_denied() {
        let ip = ip(&[], &["192.0.2.0/24"]);
        assert!(admits(&ip, "10.1.2.3"));
        assert!(!admits(&ip, "192.0.2.7"));
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_is_the_ipv4_address() {
        assert!(!admits(&ip(&[], &["192.0.2.0/24"]), "::ffff:192.0.2.7"));
        assert!(admits(&ip(&["192.0.2.0/24"], &[]), "::ffff:192.0.2.7"));
    }
}
