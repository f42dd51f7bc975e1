//! An address as proxies write it: with or without port, brackets, zone.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The address; port 0 where none is said. IPv4 that is written as IPv6 becomes IPv4 again. A zone is dropped: it means
/// something on the proxy's machine only.
pub(super) fn address(text: &[u8]) -> Option<SocketAddr> {
    if text.len() > LONGEST {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let (ip, port) = match text.strip_prefix('[') {
        Some(inside) => {
            let (ip, rest) = inside.split_once(']')?;
            (IpAddr::V6(v6(ip)?), port(rest)?)
        }
        None => match text.split_once(':') {
            Some((ip, rest)) if !rest.contains(':') => (IpAddr::V4(ip.parse().ok()?), number(rest)?),
            Some(_) => (IpAddr::V6(v6(text)?), 0),
            None => (IpAddr::V4(text.parse().ok()?), 0),
        },
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

fn v6(text: &str) -> Option<Ipv6Addr> {
    text.split_once('%').map_or(text, |(address, _)| address).parse().ok()
}

fn port(rest: &str) -> Option<u16> {
    match rest {
        "" => Some(0),
        _ => number(rest.strip_prefix(':')?),
    }
}

fn number(digits: &str) -> Option<u16> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_all_its_spellings() {
        for (text, is) in [
            ("192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1:443", "192.0.2.1:443"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("fe80::1%eth0", "[fe80::1]:0"),
            ("[fe80::1%eth0]:7", "[fe80::1]:7"),
            ("::ffff:192.0.2.1", "192.0.2.1:0"),
        ] {
            assert_eq!(address(text.as_bytes()), Some(is.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_only_resembles_an_address_is_none() {
        for text in [
            "",
            "127.1",
            "0x7f.0.0.1",
            "127.0.0.01",
            "192.0.2.1:",
            "192.0.2.1:+80",
            "192.0.2.1:99999",
            "[192.0.2.1]",
            "[::1",
            "::1]",
            "[::1]80",
            "unknown",
            "_hidden",
            "a.example",
            " 192.0.2.1",
        ] {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
    }
}
