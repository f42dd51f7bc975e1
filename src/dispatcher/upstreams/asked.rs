//! What of a request decides where it goes: the key it shares with others, and the cookie that names an upstream.
//!
//! Never: takes a client's word for anything but a wish.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{COOKIE, SET_COOKIE},
};
use sha2::{Digest, Sha256};

use crate::{
    Body,
    facts::{End, Facts, Scheme},
    front::{HashKey, Policy, Upstreams},
};

/// What is known of a request that outlives it.
pub(super) struct Asked {
    pub(super) key: Option<u64>,
    /// The upstream that its cookie names.
    pub(super) sticky: Option<usize>,
    scheme: Scheme,
    path: String,
}

/// The values of the cookie, one for each upstream.
#[derive(Debug)]
pub(super) struct Cookie {
    name: String,
    values: Vec<String>,
}

impl Asked {
    pub(super) fn of(request: &Request<Body>, upstreams: &Upstreams, cookie: Option<&Cookie>) -> Self {
        let facts = request.extensions().get::<Facts>();
        let key = match &upstreams.balance.policy {
            Policy::Hash(key) => hashed(key, request, facts),
            _ => None,
        };
        Self {
            key,
            sticky: cookie.and_then(|cookie| cookie.read(request.headers())),
            scheme: facts.map_or(Scheme::Http, |facts| facts.scheme),
            path: facts
                .filter(|_| cookie.is_some())
                .map_or(String::new(), |facts| cookie_path(&facts.path_base)),
        }
    }
}

impl Cookie {
    /// Values that are the same after a restart, and are another application's nowhere. They name no address, but who
    /// guesses one, and knows how the application is called, can find out whether it is right: there is no secret that
    /// lasts, and none is worth keeping for that.
    pub(super) fn new(name: &str, application: &str, upstreams: &Upstreams) -> Self {
        let value = |place: &crate::front::Place| {
            let digest = Sha256::digest(format!("{application}\n{place}"));
            digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let values = upstreams.members.iter().map(|upstream| value(&upstream.place)).collect();
        Self { name: name.to_owned(), values }
    }

    /// The upstream that one of the cookies of this name names.
    pub(super) fn read(&self, fields: &HeaderMap) -> Option<usize> {
        let fields = fields.get_all(COOKIE).into_iter();
        let cookies = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
        cookies
            .filter_map(|cookie| cookie.trim_ascii().strip_prefix(self.name.as_bytes())?.strip_prefix(b"="))
            .find_map(|value| self.values.iter().position(|own| own.as_bytes() == value))
    }

    /// Has the client come back to this upstream, unless it would anyway.
    pub(super) fn write(&self, asked: &Asked, index: usize, answer: &mut Response<Body>) {
        if asked.sticky == Some(index) {
            return;
        }
        let Asked { scheme, path, .. } = asked;
        let secure = if *scheme == Scheme::Https { "; Secure" } else { "" };
        let Self { name, values } = self;
        let path = if path.is_empty() { "/" } else { path };
        let text = format!("{name}={}; Path={path}; HttpOnly; SameSite=Lax{secure}", values[index]);
        if let Ok(value) = HeaderValue::try_from(text) {
            answer.headers_mut().append(SET_COOKIE, value);
        }
    }
}

/// Where the cookie belongs. A path that would end the attribute early is left out.
fn cookie_path(path_base: &str) -> String {
    if path_base.contains([';', ',']) { String::new() } else { path_base.to_owned() }
}

/// What an upstream is called among hashes: the same in every process.
pub(super) fn number(text: &[u8]) -> u64 {
    let digest = Sha256::digest(text);
    u64::from_be_bytes(digest[..8].try_into().expect("a digest is longer than that"))
}

fn hashed(key: &HashKey, request: &Request<Body>, facts: Option<&Facts>) -> Option<u64> {
    match key {
        HashKey::Client => match facts?.client() {
            // Another port is the same client.
            End::Ip(address) => Some(match address.ip().to_canonical() {
                IpAddr::V4(address) => number(&address.octets()),
                IpAddr::V6(address) => number(&address.octets()),
            }),
            End::Unix | End::Unknown => None,
        },
        HashKey::Header(name) => request.headers().get(name).map(|value| number(value.as_bytes())),
        HashKey::Path => Some(number(request.uri().path().as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{endpoint::Endpoint, front::Upstream};

    fn cookie() -> Cookie {
        let member = |port| Upstream {
            place: Endpoint::Tcp(([127, 0, 0, 1], port).into()).into(),
            scheme: Scheme::Http,
            weight: std::num::NonZeroU16::MIN,
        };
        Cookie::new("node", "shop", &Upstreams::new(vec![member(1), member(2)]))
    }

    fn read(fields: &[&str]) -> Option<usize> {
        let mut map = HeaderMap::new();
        for field in fields {
            map.append(COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        cookie().read(&map)
    }

    #[test]
    fn a_cookie_names_the_upstream_that_it_was_made_for_and_forged_ones_none() {
        let values = cookie().values;
        assert_eq!(read(&[&format!("a=b; node={}; c=d", values[1])]), Some(1));
        assert_eq!(read(&["node=x", &format!("node={}", values[0])]), Some(0));
        let long = format!("node={}", "a".repeat(4096));
        let half = format!("node={}", &values[0][..31]);
        let other = format!("nodes={}", values[0]);
        for forged in ["node=", "node", "node=0", ";;;=;", "node=\u{fc}", &long, &half, &other] {
            assert_eq!(read(&[forged]), None, "{forged}");
        }
    }

    #[test]
    fn a_cookie_is_for_its_application_and_over_tls_only_for_tls() {
        let set = |scheme, base| {
            let asked = Asked { key: None, sticky: Some(0), scheme, path: cookie_path(base) };
            let mut answer = Response::new(Body::empty());
            cookie().write(&asked, 0, &mut answer);
            assert!(answer.headers().is_empty(), "it has that one already");
            cookie().write(&asked, 1, &mut answer);
            let value = answer.headers()[SET_COOKIE].to_str().unwrap().to_owned();
            value.split_once("; ").unwrap().1.to_owned()
        };
        assert_eq!(set(Scheme::Https, "/shop"), "Path=/shop; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(set(Scheme::Http, ""), "Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(set(Scheme::Http, "/a;b"), "Path=/; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn a_cookie_names_no_address_and_is_the_same_the_next_time() {
        let Cookie { values, .. } = cookie();
        assert_eq!(values, cookie().values);
        assert!(values.iter().all(|value| value.len() == 32 && !value.contains("127")), "{values:?}");
        assert_ne!(values[0], values[1]);
    }

    proptest::proptest! {
        #[test]
        fn no_cookie_field_is_too_strange_to_be_read(bytes in proptest::collection::vec(0x20_u8..=0xff, 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut fields = HeaderMap::new();
                fields.insert(COOKIE, value);
                assert_eq!(cookie().read(&fields), None);
            }
        }
    }
}
