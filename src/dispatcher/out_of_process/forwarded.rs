//! For whom a request is forwarded: `X-Forwarded-*` and `Forwarded` (RFC 7239), made anew for every request.
//!
//! In: the request's facts and its authority. Out: the fields. Never: reads such a field; what of a trusted proxy's is
//! believed stands in the facts.

use std::{fmt::Write, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED, uri::Authority};

use crate::facts::{End, Facts, Scheme};

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Writes the fields, over whatever a proxy has said; of what anybody else has said nothing is left by now.
///
/// A client's requests are mostly for one authority, so that the first one's fields will do for the others.
pub(super) fn write(fields: &mut HeaderMap, facts: &Facts, authority: Option<&HeaderValue>) {
    if facts.forwarded.is_some() {
        return write_anew(fields, facts, authority);
    }
    let first = facts.connection.forwarded(|| {
        let mut first = HeaderMap::new();
        write_anew(&mut first, facts, authority);
        first
    });
    if first.get(&HOST) != authority || first.get(&PROTO).is_none_or(|scheme| scheme != facts.scheme.as_str())
    {
        return write_anew(fields, facts, authority);
    }
    fields.reserve(first.len());
    for (name, value) in first {
        fields.insert(name, value.clone());
    }
}

fn write_anew(fields: &mut HeaderMap, facts: &Facts, authority: Option<&HeaderValue>) {
    let (mut hops, mut forwarded) = (String::new(), String::new());
    for hop in way(facts) {
        append(&mut forwarded, |element| write_element(element, hop, facts.scheme, authority));
        if let Some(hop) = hop {
            append(&mut hops, |hops| write!(hops, "{hop}").expect("a string takes everything"));
        }
    }
    if fields.contains_key(&REAL_IP) {
        put(fields, &REAL_IP, address(&facts.client()).and_then(|client| value(&client.to_string())));
    }
    put(fields, &FOR, value(&hops).filter(|hops| !hops.is_empty()));
    put(fields, &PROTO, Some(HeaderValue::from_static(facts.scheme.as_str())));
    put(fields, &HOST, authority.cloned());
    put(fields, &PORT, Some(port(facts, authority)));
    put(fields, &FORWARDED, value(&forwarded));
}

/// Who has the request been with, from the client to whoever is connected to us; `None` has no address.
fn way(facts: &Facts) -> impl Iterator<Item = Option<IpAddr>> {
    let peer = &facts.connection.peer;
    let before = facts.forwarded.iter().filter(|forwarded| forwarded.client != *peer);
    let before = before.flat_map(|forwarded| {
        let proxies = forwarded.proxies.iter().map(|proxy| Some(proxy.to_canonical()));
        std::iter::once(address(&forwarded.client)).chain(proxies)
    });
    before.chain(std::iter::once(address(peer)))
}

fn put(fields: &mut HeaderMap, name: &HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => fields.insert(name, value),
        None => fields.remove(name),
    };
}

fn append(list: &mut String, element: impl FnOnce(&mut String)) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    element(list);
}

fn write_element(into: &mut String, peer: Option<IpAddr>, scheme: Scheme, authority: Option<&HeaderValue>) {
    let written = match peer {
        Some(IpAddr::V6(address)) => write!(into, "for=\"[{address}]\""),
        Some(address) => write!(into, "for={address}"),
        None => write!(into, "for=unknown"),
    };
    written.expect("a string takes everything");
    if let Some(authority) = authority.and_then(|authority| authority.to_str().ok()) {
        // Quoted, since a port's colon is not allowed outside; an authority with a quote in it is none.
        if !authority.is_empty() && !authority.contains(['"', '\\']) {
            write!(into, ";host=\"{authority}\"").expect("a string takes everything");
        }
    }
    write!(into, ";proto={}", scheme.as_str()).expect("a string takes everything");
}

/// The port a client sees: of the proxy if it spoke for one, else ours.
fn port(facts: &Facts, authority: Option<&HeaderValue>) -> HeaderValue {
    let named = || authority.and_then(|authority| authority.to_str().ok()).and_then(port_of);
    let told = match (&facts.forwarded, facts.connection.local) {
        (Some(forwarded), _) => forwarded.port.or_else(named),
        (None, End::Ip(local)) => Some(local.port()),
        (None, End::Unix | End::Unknown) => named(),
    };
    told.unwrap_or(facts.scheme.port()).into()
}

fn port_of(authority: &str) -> Option<u16> {
    authority.parse::<Authority>().ok()?.port_u16()
}

fn address(peer: &End) -> Option<IpAddr> {
    match peer {
        End::Ip(address) => Some(address.ip().to_canonical()),
        End::Unix | End::Unknown => None,
    }
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::facts::{Connection, Forwarded, empty_base};

    fn facts(peer: &str) -> Facts {
        let peer = peer.parse().map_or(End::Unix, End::Ip);
        let local = End::Ip("192.0.2.1:8080".parse().unwrap());
        Facts::new(Arc::new(Connection::new(peer, local, empty_base(), None)))
    }

    fn lines(facts: &Facts, authority: &'static str) -> Vec<String> {
        let mut fields = HeaderMap::new();
        write(&mut fields, facts, Some(&HeaderValue::from_static(authority)));
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    fn of_a_client(peer: &str) -> Vec<String> {
        lines(&facts(peer), "shop.example:8080")
    }

    fn through_a_proxy(forwarded: Forwarded, scheme: Scheme) -> Vec<String> {
        let mut facts = facts("10.0.0.4:5");
        facts.forwarded = Some(Box::new(forwarded));
        facts.scheme = scheme;
        lines(&facts, "public.example")
    }

    #[test]
    fn without_a_proxy_the_peer_speaks_for_itself() {
        assert_eq!(
            of_a_client("198.51.100.7:1234"),
            [
                "x-forwarded-for: 198.51.100.7",
                "x-forwarded-proto: http",
                "x-forwarded-host: shop.example:8080",
                "x-forwarded-port: 8080",
                "forwarded: for=198.51.100.7;host=\"shop.example:8080\";proto=http",
            ]
        );
    }

    #[test]
    fn requests_on_one_connection_may_be_for_several_authorities() {
        let facts = facts("198.51.100.7:1234");
        for authority in ["shop.example", "shop.example", "other.example:81", "shop.example"] {
            let authority = HeaderValue::from_static(authority);
            let (mut fields, mut anew) = (HeaderMap::new(), HeaderMap::new());

            write(&mut fields, &facts, Some(&authority));

            write_anew(&mut anew, &facts, Some(&authority));
            assert_eq!(fields, anew);
        }
    }

    #[test]
    fn an_address_of_version_6_stands_in_brackets_where_it_must() {
        let fields = of_a_client("[2001:db8::1]:1");

        assert_eq!(fields[0], "x-forwarded-for: 2001:db8::1");
        assert!(fields[4].starts_with("forwarded: for=\"[2001:db8::1]\";"), "{fields:?}");
        assert_eq!(of_a_client("[::ffff:192.0.2.9]:1")[0], "x-forwarded-for: 192.0.2.9");
    }

    #[test]
    fn a_unix_socket_has_no_address_to_tell() {
        let fields = of_a_client("unix");

        assert!(!fields.iter().any(|field| field.starts_with("x-forwarded-for")), "{fields:?}");
        assert!(fields.iter().any(|field| field.starts_with("forwarded: for=unknown;")), "{fields:?}");
    }

    #[test]
    fn the_whole_way_from_the_client_is_told() {
        let forwarded = Forwarded {
            client: End::Ip("203.0.113.9:0".parse().unwrap()),
            proxies: vec!["10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap()],
            port: None,
        };

        assert_eq!(
            through_a_proxy(forwarded, Scheme::Https),
            [
                "x-forwarded-for: 203.0.113.9, 10.0.0.2, 10.0.0.3, 10.0.0.4",
                "x-forwarded-proto: https",
                "x-forwarded-host: public.example",
                "x-forwarded-port: 443",
                "forwarded: for=203.0.113.9;host=\"public.example\";proto=https, \
                 for=10.0.0.2;host=\"public.example\";proto=https, \
                 for=10.0.0.3;host=\"public.example\";proto=https, \
                 for=10.0.0.4;host=\"public.example\";proto=https",
            ]
        );
    }

    #[test]
    fn a_proxy_that_names_nobody_is_the_client_itself() {
        let client = End::Ip("10.0.0.4:5".parse().unwrap());
        let fields =
            through_a_proxy(Forwarded { client, proxies: Vec::new(), port: Some(8443) }, Scheme::Http);

        assert_eq!((&*fields[0], &*fields[3]), ("x-forwarded-for: 10.0.0.4", "x-forwarded-port: 8443"));
    }

    #[test]
    fn another_field_for_the_client_says_the_same() {
        let client = End::Ip("203.0.113.9:0".parse().unwrap());
        let mut facts = facts("10.0.0.4:5");
        facts.forwarded = Some(Box::new(Forwarded { client, proxies: Vec::new(), port: None }));
        let mut fields = HeaderMap::new();
        fields.insert(&REAL_IP, HeaderValue::from_static("1.1.1.1"));

        write(&mut fields, &facts, None);

        assert_eq!(fields[&REAL_IP], "203.0.113.9");
    }
}
