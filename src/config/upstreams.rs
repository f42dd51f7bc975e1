//! `upstreams = [...]` and `[site.application.balance]`: servers that somebody else runs, as an application.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    ops::RangeInclusive,
    time::Duration,
};

use super::{
    binding,
    fault::Refusal,
    front, keys, outward,
    values::{count, count_or_none, duration, one_of},
    written::{Section, Value},
};
use crate::{
    facts::Scheme,
    front::{Balance, Endpoint, HashKey, Passive, Place, Policy, Probe, Retry, Upstream, Upstreams},
};

/// The upstreams of an application.
pub(super) fn read(section: &Section<'_>) -> Option<Upstreams> {
    let written = section.read_each("upstreams", |value| upstream(section, value))?;
    let mut members: Vec<Upstream> = Vec::new();
    for (upstream, at) in written {
        if members.iter().any(|other| other.place == upstream.place) {
            let refusal = Refusal::new(format!(
                "is there twice: {}; one that is to have more requests gets a weight",
                upstream.place
            ));
            section.refuse("upstreams", &at, refusal);
        }
        members.push(upstream);
    }
    let value = section.value("upstreams")?;
    match value.list() {
        Ok(list) if list.is_empty() => {
            let refusal = Refusal::new("needs at least one, as \"http://10.0.0.1:8080\"");
            section.refuse("upstreams", &value.at(), refusal);
        }
        Ok(list) if list.len() > MOST_UPSTREAMS => {
            section.refuse(
                "upstreams",
                &value.at(),
                Refusal::new(format!("must be at most {MOST_UPSTREAMS}")),
            );
        }
        _ => {}
    }
    let mut upstreams = Upstreams::new(members);
    let is_secured = upstreams.is_secured();
    if let Some(section) = front::table(section, "balance", &keys::BALANCE) {
        upstreams.balance = balance(&section);
        upstreams.outward = Box::new(outward::read(&section, &keys::BALANCE_TLS));
        if !is_secured {
            outward::refuse(&section, "has no effect without an upstream at https://; leave it out");
        }
    }
    if let Some(value) = section.value("protocol").filter(|_| is_secured) {
        protocol(section, &value);
    }
    Some(upstreams)
}

/// Over TLS they are spoken to in HTTP/1.1.
fn protocol(section: &Section<'_>, value: &Value<'_>) {
    if value.text().is_ok_and(|text| text.eq_ignore_ascii_case("h2c")) {
        let refusal = Refusal::new(
            "h2c is HTTP/2 in clear text, and an upstream at https:// is spoken to in HTTP/1.1; leave it out, or write http://",
        );
        section.refuse("protocol", &value.at(), refusal);
    }
}

/// An upstream, written as its place, or as a table of place and weight.
fn upstream(section: &Section<'_>, value: &Value<'_>) -> Result<Upstream, Refusal> {
    if value.is_text() {
        let (scheme, place) = place(value)?;
        return Ok(Upstream { place, scheme, weight: NonZeroU16::MIN });
    }
    let table = value.table().map_err(|_| value.must_be("a place, or a table of its url and weight"))?;
    let name = format!("{}.upstreams", section.name);
    let section = Section::new(section.reading, name, value.at(), table, &keys::UPSTREAM);
    let url = section.value("url").ok_or_else(|| Refusal::new("has no url, which says where it listens"))?;
    let mut weight = NonZeroU16::MIN;
    section.set(&mut weight, "weight", |value| {
        count::<u16>(MOST_WEIGHT)(value).map(|weight| NonZeroU16::new(weight).unwrap_or(NonZeroU16::MIN))
    });
    let (scheme, place) = place(&url)?;
    Ok(Upstream { place, scheme, weight })
}

/// `http://10.0.0.1:8080`, `https://[::1]:9000`, `http://name`, `unix:/run/x.sock`.
fn place(value: &Value<'_>) -> Result<(Scheme, Place), Refusal> {
    let text = value.text()?;
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(Refusal::new("must be the path of a socket (is empty)")),
            path => Ok((Scheme::Http, Place::At(Endpoint::Unix(value.reading.resolve(path))))),
        };
    }
    let (scheme, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (Scheme::Http, rest),
        (_, Some(rest)) => (Scheme::Https, rest),
        (None, None) => {
            return Err(Refusal::new(format!("must begin with http://, https:// or unix: (is {text:?})"))
                .suggest(format!("\"http://{text}\"")));
        }
    };
    if scheme == Scheme::Https {
        outward::supported(&text)?;
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if let Some((authority, _)) = authority.split_once(['/', '?', '#']) {
        return Err(Refusal::new(format!("must end with the port; paths stay as clients ask (is {text:?})"))
            .suggest(format!("\"{}://{authority}\"", scheme.as_str())));
    }
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Err(Refusal::new(format!("an IPv6 address stands in brackets (is {text:?})"))
            .suggest(format!("\"{}://[{authority}]\"", scheme.as_str())));
    }
    at_authority(authority, scheme.port())
        .map(|place| (scheme, place))
        .ok_or_else(|| Refusal::new(format!("must name a host and perhaps a port (is {text:?})")))
}

fn at_authority(text: &str, usual: u16) -> Option<Place> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() > 0).then_some(Place::At(Endpoint::Tcp(address)));
    }
    let at_address = |address| Place::At(Endpoint::Tcp(SocketAddr::new(address, usual)));
    let bracketed = text.strip_prefix('[').and_then(|inside| inside.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse().ok().map(|address| at_address(IpAddr::V6(address)));
    }
    if let Ok(address) = text.parse() {
        return Some(at_address(IpAddr::V4(address)));
    }
    let (host, port) = match text.rsplit_once(':') {
        // `parse` would take a plus sign too.
        Some((_, port)) if port.starts_with('+') => return None,
        Some((host, port)) => (host, port.parse::<NonZeroU16>().ok()?.get()),
        None => (text, usual),
    };
    // With a dot at its end it is looked up as it is, and not below the domains of this machine.
    binding::host_name(host.strip_suffix('.').unwrap_or(host)).ok()?;
    Some(Place::Named { host: host.to_ascii_lowercase().into(), port })
}

fn balance(section: &Section<'_>) -> Balance {
    let mut balance = Balance {
        policy: policy(section),
        sticky: section.read("sticky", cookie_name),
        probe: probe(section),
        passive: passive(section),
        slow_start: section.read("slow_start", duration),
        ..Balance::default()
    };
    let retries = [("never", Retry::Never), ("unsent", Retry::Unsent), ("idempotent", Retry::Idempotent)];
    section.set(&mut balance.retry, "retry", one_of(&retries));
    section.set(&mut balance.retry_budget, "retry_budget", |value| match balance.retry {
        Retry::Never => Err(Refusal::new("has no effect with retry = \"never\"; leave one of them out")),
        _ => count(100)(value),
    });
    balance
}

fn policy(section: &Section<'_>) -> Policy {
    let words = [
        ("least_outstanding", Policy::LeastOutstanding),
        ("round_robin", Policy::RoundRobin),
        ("random_two", Policy::RandomTwo),
    ];
    let policy = section.read("policy", one_of(&words));
    let hash = section.read("hash", |value| match policy {
        Some(_) => Err(Refusal::new("decides instead of a policy; leave one of them out")),
        None => key(value),
    });
    hash.map(Policy::Hash).or(policy).unwrap_or(Policy::LeastOutstanding)
}

fn key(value: &Value<'_>) -> Result<HashKey, Refusal> {
    let text = value.text()?;
    match (&*text, text.strip_prefix("header:")) {
        ("client", _) => Ok(HashKey::Client),
        ("path", _) => Ok(HashKey::Path),
        (_, Some(name)) => name
            .parse()
            .map(HashKey::Header)
            .map_err(|_| Refusal::new(format!("must name a field behind header: (is {text:?})"))),
        _ => Err(Refusal::new(format!("must be \"client\", \"path\" or \"header:NAME\" (is {text:?})"))),
    }
}

fn cookie_name(value: &Value<'_>) -> Result<String, Refusal> {
    let name = value.text()?;
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if name.is_empty() || name.len() > LONGEST_COOKIE || !name.chars().all(fits) {
        let refusal =
            format!("must be the name of a cookie: 1 to {LONGEST_COOKIE} of a-z A-Z 0-9 - _ . (is {name:?})");
        return Err(Refusal::new(refusal));
    }
    Ok(name)
}

fn probe(section: &Section<'_>) -> Option<Probe> {
    let section = front::table(section, "health", &keys::BALANCE_HEALTH)?;
    if section.value("path").is_none() {
        section.refuse("path", &section.at, Refusal::new("is missing; say what upstreams are asked for"));
    }
    let mut probe = Probe::new(section.read("path", super::application::path_to_ask)?);
    section.set(&mut probe.interval, "interval", duration);
    section.set(&mut probe.timeout, "timeout", duration);
    section.set(&mut probe.healthy, "healthy", count(MOST_IN_A_ROW));
    section.set(&mut probe.unhealthy, "unhealthy", count(MOST_IN_A_ROW));
    if let Some(expected) = statuses(&section, "status") {
        probe.expected = expected;
    }
    Some(probe)
}

fn passive(section: &Section<'_>) -> Option<Passive> {
    let max_fails = section.read("max_fails", count_or_none(MOST_FAILS));
    if max_fails == Some(None) {
        for key in ["fail_window", "fail_statuses", "out_time", "longest_out_time"] {
            if let Some(value) = section.value(key) {
                let refusal = Refusal::new("has no effect with max_fails = \"none\"; leave one of them out");
                section.refuse(key, &value.at(), refusal);
            }
        }
        return None;
    }
    let mut passive = Passive::default();
    if let Some(Some(max_fails)) = max_fails {
        passive.max_fails = max_fails;
    }
    section.set(&mut passive.window, "fail_window", duration);
    section.set(&mut passive.out, "out_time", duration);
    section.set(&mut passive.longest_out, "longest_out_time", |value| {
        let longest = duration(value)?;
        at_least(longest, passive.out)
    });
    // Nobody who wants it out for longer than the default means to have it out for less.
    passive.longest_out = passive.longest_out.max(passive.out);
    if let Some(statuses) = statuses(section, "fail_statuses") {
        passive.statuses = statuses;
    }
    Some(passive)
}

fn at_least(longest: Duration, first: Duration) -> Result<Duration, Refusal> {
    match longest < first {
        true => Err(Refusal::new(format!("must be no shorter than out_time, which is {first:?}"))),
        false => Ok(longest),
    }
}

fn statuses(section: &Section<'_>, key: &'static str) -> Option<Vec<RangeInclusive<u16>>> {
    let statuses = section.read_each(key, status)?;
    Some(statuses.into_iter().map(|(range, _)| range).collect())
}

/// `204`, or `"200-299"`.
fn status(value: &Value<'_>) -> Result<RangeInclusive<u16>, Refusal> {
    let refusal = || Refusal::new("must be a status, as 204, or a range of them, as \"200-299\"");
    if !value.is_text() {
        return count::<u16>(u16::MAX.into())(value)
            .ok()
            .filter(is_status)
            .map(|one| one..=one)
            .ok_or_else(refusal);
    }
    let text = value.text()?;
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let number = |text: &str| text.parse::<u16>().ok().filter(is_status);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(refusal()),
    }
}

fn is_status(number: &u16) -> bool {
    (100..=599).contains(number)
}

const LONGEST_COOKIE: usize = 64;
const MOST_UPSTREAMS: usize = 1000;
const MOST_WEIGHT: u64 = 1000;
const MOST_IN_A_ROW: u64 = 1000;
/// As many moments are kept for each upstream.
const MOST_FAILS: u64 = 10_000;
