//! For whom a request is forwarded: `X-Forwarded-*` and `Forwarded` (RFC 7239), made anew for every request.
//!
//! In: the request's facts, its authority, and what a trusted proxy said. Out: the fields. Never: repeats what an
//! untrusted client said of itself, or more of a trusted proxy's list than can be read.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED, uri::Authority};

use crate::facts::{End, Facts, Scheme};

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// What a trusted proxy said, as far as it makes sense. Empty for anyone else.
#[derive(Debug, Default)]
pub(super) struct Claims {
    hops: String,
    scheme: Option<Scheme>,
    authority: Option<HeaderValue>,
    port: Option<HeaderValue>,
    forwarded: String,
}

impl Claims {
    /// Reads the fields of a request of a trusted proxy.
    pub(super) fn read(fields: &HeaderMap) -> Self {
        Self {
            hops: hops(fields),
            scheme: first(fields, &PROTO).and_then(scheme),
            authority: first(fields, &HOST).filter(|host| host.parse::<Authority>().is_ok()).and_then(value),
            port: first(fields, &PORT).filter(|port| port.parse::<u16>().is_ok()).and_then(value),
            forwarded: elements(fields),
        }
    }

    /// Writes the fields of a request whose sender may claim nothing, and of which none of them is left.
    ///
    /// A client's requests are mostly for one authority, so that the first one's fields will do for the others.
    pub(super) fn write_nothing(fields: &mut HeaderMap, facts: &Facts, authority: Option<&HeaderValue>) {
        let first = facts.connection.forwarded(|| {
            let mut first = HeaderMap::new();
            Self::default().write(&mut first, facts, authority);
            first
        });
        if first.get(&HOST) != authority
            || first.get(&PROTO).is_none_or(|scheme| scheme != facts.scheme.as_str())
        {
            return Self::default().write(fields, facts, authority);
        }
        fields.reserve(first.len());
        for (name, value) in first {
            fields.insert(name, value.clone());
        }
    }

    /// Writes the fields, over whatever is there.
    pub(super) fn write(mut self, fields: &mut HeaderMap, facts: &Facts, authority: Option<&HeaderValue>) {
        let peer = address(&facts.connection.peer);
        let scheme = self.scheme.unwrap_or(facts.scheme);
        let authority = self.authority.as_ref().or(authority);
        append(&mut self.forwarded, |element| write_element(element, peer, scheme, authority));
        if let Some(peer) = peer {
            append(&mut self.hops, |hops| write!(hops, "{peer}").expect("a string takes everything"));
        }
        let port = self.port.take().unwrap_or_else(|| port(&self, scheme, facts));
        put(fields, &FOR, value(&self.hops).filter(|hops| !hops.is_empty()));
        put(fields, &PROTO, Some(HeaderValue::from_static(scheme.as_str())));
        put(fields, &HOST, authority.cloned());
        put(fields, &PORT, Some(port));
        put(fields, &FORWARDED, value(&self.forwarded));
    }
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

/// The list of a proxy, from its right end as far as each entry is an address: whatever stands to the left of
/// something unreadable came from who knows where.
fn hops(fields: &HeaderMap) -> String {
    let mut kept: Vec<&str> = Vec::new();
    'walk: for value in fields.get_all(&FOR).into_iter().rev() {
        let Ok(value) = value.to_str() else { break };
        for hop in value.rsplit(',').map(str::trim) {
            if !is_address(hop) || kept.len() == HOPS {
                break 'walk;
            }
            kept.push(hop);
        }
    }
    kept.reverse();
    kept.join(", ")
}

/// An address as proxies write it: with or without port, brackets, zone.
fn is_address(text: &str) -> bool {
    if text.len() > LONGEST_ADDRESS {
        return false;
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let zoneless = bare.split_once('%').map_or(bare, |(address, _)| address);
    bare.parse::<IpAddr>().is_ok()
        || text.parse::<SocketAddr>().is_ok()
        || zoneless.parse::<Ipv6Addr>().is_ok()
}

/// The `Forwarded` list of a proxy, if it is short and legible.
fn elements(fields: &HeaderMap) -> String {
    let values: Option<Vec<&str>> =
        fields.get_all(FORWARDED).into_iter().map(|value| value.to_str().ok().map(str::trim)).collect();
    let list = values.unwrap_or_default().join(", ");
    let balanced = list.bytes().filter(|byte| *byte == b'"').count() % 2 == 0;
    if list.len() <= LONGEST_LIST && balanced && list.contains('=') { list } else { String::new() }
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
fn port(claims: &Claims, scheme: Scheme, facts: &Facts) -> HeaderValue {
    let named = claims.authority.as_ref().and_then(|authority| authority.to_str().ok()).and_then(port_of);
    let ours = match facts.connection.local {
        End::Ip(local) if claims.scheme.is_none() => Some(local.port()),
        _ => None,
    };
    let default = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    named.or(ours).unwrap_or(default).into()
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

fn scheme(text: &str) -> Option<Scheme> {
    match text {
        "http" | "ws" => Some(Scheme::Http),
        "https" | "wss" => Some(Scheme::Https),
        _ => None,
    }
}

/// The first entry, which is the one nearest to the client.
fn first<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    fields.get(name)?.to_str().ok()?.split(',').next().map(str::trim)
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

const HOPS: usize = 64;
const LONGEST_ADDRESS: usize = 64;
const LONGEST_LIST: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::facts::{Connection, empty_base};

    fn facts(peer: &str) -> Facts {
        let peer = peer.parse().map_or(End::Unix, End::Ip);
        let local = End::Ip("192.0.2.1:8080".parse().unwrap());
        Facts::new(Arc::new(Connection::new(peer, local, empty_base(), None)))
    }

    fn written(claims: Claims, peer: &str) -> Vec<String> {
        let mut fields = HeaderMap::new();
        claims.write(&mut fields, &facts(peer), Some(&HeaderValue::from_static("shop.example:8080")));
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    fn said(lines: &[(&'static HeaderName, &'static str)]) -> Claims {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        Claims::read(&fields)
    }

    #[test]
    fn without_claims_the_peer_speaks_for_itself() {
        assert_eq!(
            written(Claims::default(), "198.51.100.7:1234"),
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

            Claims::write_nothing(&mut fields, &facts, Some(&authority));

            Claims::default().write(&mut anew, &facts, Some(&authority));
            assert_eq!(fields, anew);
        }
    }

    #[test]
    fn an_address_of_version_6_stands_in_brackets_where_it_must() {
        let fields = written(Claims::default(), "[2001:db8::1]:1");

        assert_eq!(fields[0], "x-forwarded-for: 2001:db8::1");
        assert!(fields[4].starts_with("forwarded: for=\"[2001:db8::1]\";"), "{fields:?}");
        assert_eq!(written(Claims::default(), "[::ffff:192.0.2.9]:1")[0], "x-forwarded-for: 192.0.2.9");
    }

    #[test]
    fn a_unix_socket_has_no_address_to_tell() {
        let fields = written(Claims::default(), "unix");

        assert!(!fields.iter().any(|field| field.starts_with("x-forwarded-for")), "{fields:?}");
        assert!(fields.iter().any(|field| field.starts_with("forwarded: for=unknown;")), "{fields:?}");
    }

    #[test]
    fn what_a_trusted_proxy_said_is_appended_to() {
        let claims = said(&[
            (&FOR, "203.0.113.9, 10.0.0.2"),
            (&FOR, "10.0.0.3"),
            (&PROTO, "https"),
            (&HOST, "public.example"),
            (&FORWARDED, "for=203.0.113.9"),
        ]);

        assert_eq!(
            written(claims, "10.0.0.4:5"),
            [
                "x-forwarded-for: 203.0.113.9, 10.0.0.2, 10.0.0.3, 10.0.0.4",
                "x-forwarded-proto: https",
                "x-forwarded-host: public.example",
                "x-forwarded-port: 443",
                "forwarded: for=203.0.113.9, for=10.0.0.4;host=\"public.example\";proto=https",
            ]
        );
    }

    #[test]
    fn a_list_is_read_from_the_right_and_ends_at_garbage() {
        assert_eq!(
            said(&[(&FOR, "1.1.1.1, <script>, 2.2.2.2, [2001:db8::1]:80")]).hops,
            "2.2.2.2, [2001:db8::1]:80"
        );
        assert_eq!(said(&[(&FOR, "garbage")]).hops, "");
        assert_eq!(said(&[(&FOR, "fe80::1%eth0, 3.3.3.3:99")]).hops, "fe80::1%eth0, 3.3.3.3:99");
    }

    #[test]
    fn a_long_list_is_cut_on_the_left() {
        let mut fields = HeaderMap::new();
        let long = ["9.9.9.9"; 5000].join(",") + ",1.2.3.4";
        fields.append(&FOR, HeaderValue::from_str(&long).unwrap());

        let hops = Claims::read(&fields).hops;

        assert_eq!(hops.split(", ").count(), HOPS);
        assert!(hops.ends_with("1.2.3.4"), "{hops}");
    }

    #[test]
    fn claims_that_make_no_sense_are_not_believed() {
        let claims =
            said(&[(&PROTO, "gopher"), (&HOST, "a b"), (&PORT, "99999"), (&FORWARDED, "for=\"unbalanced")]);

        assert_eq!(written(claims, "10.0.0.4:5")[1..4], written(Claims::default(), "10.0.0.4:5")[1..4]);
    }
}
