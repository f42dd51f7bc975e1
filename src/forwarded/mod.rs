//! For whom a proxy in front of us speaks: `X-Forwarded-*` and `Forwarded` (RFC 7239), read once for each request.
//!
//! In: a request of a proxy that is trusted. Out: its facts name the client, the scheme and the port as the client sees
//! them, and its own authority is the one that the client asked for. Never: believes anybody else, or what stands in a
//! list to the left of the first address that is not a trusted proxy's: that is what somebody says of himself.
//!
//! Lists are read from their right end, which is what the proxy before us wrote, and no further than needed. Whatever is
//! illegible ends the reading; so does the sixty-fourth entry.

mod list;
mod node;
mod trust;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{FORWARDED, HOST},
    uri::Authority,
};

pub use self::trust::{Fields, Proxy, Trust};
use self::{list::Element, node::address};
use crate::facts::{End, Facts, Forwarded, Scheme};

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static ASKED: HeaderName = HeaderName::from_static("x-forwarded-host");
static PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Most entries of a list that are looked at.
const HOPS: usize = 64;

/// Has `facts` and the request say what the client of a trusted proxy sees. Whoever calls it has asked whether
/// [`trust`](Trust::covers) covers the peer.
pub fn believe<B>(request: &mut Request<B>, facts: &mut Facts, trust: &Trust) {
    let claims = Claims::read(request.headers(), &facts.connection.peer, trust);
    if let Some(scheme) = claims.scheme {
        facts.scheme = scheme;
    }
    if let Some(authority) = claims.authority {
        rename(request, &authority);
    }
    facts.forwarded = Some(Box::new(claims.forwarded));
}

/// What a trusted proxy says, as far as it makes sense.
struct Claims {
    forwarded: Forwarded,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
}

impl Claims {
    fn read(fields: &HeaderMap, peer: &End, trust: &Trust) -> Self {
        match trust.fields() {
            Fields::XForwarded => Self::x_forwarded(fields, peer, trust),
            Fields::Forwarded => Self::forwarded(fields, peer, trust),
        }
    }

    fn x_forwarded(fields: &HeaderMap, peer: &End, trust: &Trust) -> Self {
        let mut walk = Walk::new(*peer);
        for hop in list::entries(fields, &FOR) {
            let Some(address) = address(hop) else { break };
            if !walk.step(End::Ip(address), trust) {
                break;
            }
        }
        // Each proxy adds one to each list, or replaces the whole: then there are fewer.
        let of_ours = walk.steps.max(1);
        let of_the_client = |name| list::entries(fields, name).take(of_ours).last();
        Self {
            scheme: of_the_client(&PROTO).and_then(scheme),
            authority: of_the_client(&ASKED).and_then(authority),
            forwarded: walk.end(of_the_client(&PORT).and_then(port)),
        }
    }

    fn forwarded(fields: &HeaderMap, peer: &End, trust: &Trust) -> Self {
        let mut walk = Walk::new(*peer);
        let (mut scheme_said, mut authority_said) = (None, None);
        for element in list::elements(fields, &FORWARDED) {
            let Element { node, proto, host } = element;
            // Said by the same proxy that names the address, also where that is none.
            scheme_said = proto.as_deref().and_then(scheme).or(scheme_said);
            authority_said = host.as_deref().and_then(authority).or(authority_said);
            let Some(address) = node.as_deref().and_then(address) else { break };
            if !walk.step(End::Ip(address), trust) {
                break;
            }
        }
        Self { scheme: scheme_said, authority: authority_said, forwarded: walk.end(None) }
    }
}

/// From the peer towards the client, from one trusted proxy to the next.
struct Walk {
    at: End,
    /// Behind us, nearest to us first.
    passed: Vec<std::net::IpAddr>,
    steps: usize,
}

impl Walk {
    fn new(peer: End) -> Self {
        Self { at: peer, passed: Vec::new(), steps: 0 }
    }

    /// Goes to the one that spoke to where we are; returns whether to go further.
    fn step(&mut self, to: End, trust: &Trust) -> bool {
        if let (1.., End::Ip(proxy)) = (self.steps, self.at) {
            self.passed.push(proxy.ip());
        }
        self.at = to;
        self.steps += 1;
        self.steps < HOPS && trust.covers(&to)
    }

    fn end(mut self, port: Option<u16>) -> Forwarded {
        self.passed.reverse();
        Forwarded { client: self.at, proxies: self.passed, port }
    }
}

/// Puts the authority that the client asked for in the place of the one that the proxy asked for.
///
/// A request that names none, several, or contradicting ones stays as it is: it will be refused.
fn rename<B>(request: &mut Request<B>, to: &Authority) {
    let mut hosts = request.headers().get_all(HOST).into_iter();
    let (host, second) = (hosts.next(), hosts.next());
    let same = |host: &HeaderValue, authority: &Authority| {
        host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
    };
    let clear = match (host, request.uri().authority()) {
        _ if second.is_some() => false,
        (Some(host), Some(authority)) => same(host, authority),
        (host, authority) => host.is_some() || authority.is_some(),
    };
    if !clear {
        return;
    }
    if host.is_some() {
        let value = HeaderValue::from_str(to.as_str()).expect("an authority is visible ASCII");
        request.headers_mut().insert(HOST, value);
    }
    if request.uri().authority().is_some() {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.authority = Some(to.clone());
        *request.uri_mut() = parts.try_into().expect("it had an authority before");
    }
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    match text {
        b"http" | b"ws" => Some(Scheme::Http),
        b"https" | b"wss" => Some(Scheme::Https),
        _ => None,
    }
}

fn authority(text: &[u8]) -> Option<Authority> {
    Authority::try_from(text).ok().filter(|authority| !authority.as_str().contains('@'))
}

fn port(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests;
