//! A request's facts on the way from host to runner: one private field, `cohost-facts`.
//!
//! In: [`Facts`] and the HTTP version. Out: one line, `conn=…;peer=…;id=…;scheme=https`, and the same facts again on
//! the other side. Never: read by anyone but our own runner, on its private socket, and never passed on from outside.
//!
//! Keys that are missing mean "nothing to say", unknown ones are skipped, so that a host and a runner of neighbouring
//! versions understand each other.

use std::{
    borrow::Cow,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::facts::{Asked, Base, Connection, End, Facts, Forwarded, RequestId, Scheme, Tls, empty_base};

/// The field's name.
pub const FIELD: HeaderName = HeaderName::from_static("cohost-facts");

/// What the field carries.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The facts, with the numbers that the host gave to connection and request.
    pub facts: Facts,
    /// What the client spoke, whatever brought the request here.
    pub version: Version,
    /// Whether the request's Host field is the client's.
    pub host: Host,
}

/// Whether a client named the host it asked. Only one of HTTP/1.0 may leave that out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Host {
    /// It did.
    #[default]
    Named,
    /// It did not; what the request says on its way to the runner is made up.
    Unnamed,
}

/// The time, also on the clock that host and runner share.
///
/// A deadline is the same moment on both sides: a runner that is cut off at a deadline must be able to tell that from a
/// client that went away a moment before.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now: Instant,
    /// The same on `CLOCK_MONOTONIC`, which an [`Instant`] does not show.
    monotonic: Duration,
}

impl Clock {
    /// Now.
    #[must_use]
    pub fn read() -> Self {
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let monotonic = Duration::new(monotonic.tv_sec.unsigned_abs(), monotonic.tv_nsec as u32);
        Self { now: Instant::now(), monotonic }
    }

    /// In nanoseconds; what has passed is now.
    fn number(self, instant: Instant) -> u128 {
        (self.monotonic + instant.saturating_duration_since(self.now)).as_nanos()
    }

    /// What has passed is now; `None` is too far away to be one.
    fn instant(self, number: u64) -> Option<Instant> {
        self.now.checked_add(Duration::from_nanos(number).saturating_sub(self.monotonic))
    }
}

/// The field is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cohost-facts: {key} is malformed")]
pub struct Malformed {
    /// Which key.
    pub key: &'static str,
}

/// The field's value for a request that came as `version`. The clock is looked at only if there is a deadline.
#[must_use]
pub fn encode(facts: &Facts, version: Version, host: Host, clock: impl FnOnce() -> Clock) -> HeaderValue {
    let connection = facts.connection.carried(write_connection);
    let mut text = String::with_capacity(connection.len() + 64);
    text.push_str(connection);
    write_request(&mut text, facts, version, clock).expect("a string takes everything");
    if host == Host::Unnamed {
        text.push_str(";host=unnamed");
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("only visible ASCII was written")
}

/// The facts in a field's value.
///
/// # Errors
/// Names the first key that cannot be read.
pub fn decode(value: &HeaderValue, clock: impl FnOnce() -> Clock) -> Result<Carried, Malformed> {
    let text = value.to_str().map_err(|_| Malformed { key: "text" })?;
    // What is said of the connection comes first, and is the same for all its requests.
    let (connection, request) = text.find(REQUEST).map_or((text, ""), |at| text.split_at(at));
    let connection = known::connection(connection)?;
    let mut read = Read::new(connection);
    for (key, value) in pairs(request) {
        read.take(key, value)?;
    }
    read.finish(clock)
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';').filter_map(|pair| pair.split_once('='))
}

/// With this begins what is said of the request.
const REQUEST: &str = ";id=";

fn write_connection(connection: &Connection) -> String {
    let mut text = String::with_capacity(128);
    let written = write!(text, "conn={:x}", connection.id)
        .and_then(|()| write_end(&mut text, "peer", connection.peer))
        .and_then(|()| write_end(&mut text, "local", connection.local))
        .and_then(|()| write_bytes(&mut text, "binding", connection.binding.as_bytes()))
        .and_then(|()| connection.tls.as_ref().map_or(Ok(()), |tls| write_tls(&mut text, tls)));
    written.expect("a string takes everything");
    text
}

fn write_request(
    text: &mut String,
    facts: &Facts,
    version: Version,
    clock: impl FnOnce() -> Clock,
) -> std::fmt::Result {
    text.push_str(REQUEST);
    write_number(text, facts.request_id.0);
    text.push_str(";v=");
    text.push_str(digits(version));
    if let Some(forwarded) = &facts.forwarded {
        write_end(text, "client", forwarded.client)?;
    }
    if facts.scheme == Scheme::Https {
        text.push_str(";scheme=https");
    }
    if !facts.path_base.is_empty() {
        write_bytes(text, "base", facts.path_base.as_bytes())?;
    }
    if facts.base == Base::InPath {
        text.push_str(";in=path");
    }
    if let Some(target) = &facts.target {
        write_bytes(text, "target", target)?;
    }
    if let Some(deadline) = facts.deadline {
        write!(text, ";deadline={}", clock().number(deadline))?;
    }
    Ok(())
}

/// As `{:x}` does, which takes longer than all the rest of a plain request's facts.
fn write_number(text: &mut String, number: u64) {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (number >> (place * 4)) as u32 & 0xf;
        text.push(char::from_digit(digit, 16).expect("four bits are a digit"));
    }
}

fn write_end(text: &mut String, key: &str, end: End) -> std::fmt::Result {
    match end {
        End::Unknown => Ok(()),
        End::Unix => write!(text, ";{key}=unix"),
        // A zone's `%` is the one character of an address that must not stand for itself.
        End::Ip(address @ std::net::SocketAddr::V6(_)) => {
            write_bytes(text, key, address.to_string().as_bytes())
        }
        End::Ip(address) => write!(text, ";{key}={address}"),
    }
}

fn write_tls(text: &mut String, tls: &Tls) -> std::fmt::Result {
    write!(text, ";tls={:x}-{:x}", tls.version, tls.cipher)?;
    if !tls.sni.is_empty() {
        write_bytes(text, "sni", tls.sni.as_bytes())?;
    }
    if !tls.alpn.is_empty() {
        write_bytes(text, "alpn", &tls.alpn)?;
    }
    tls.client_chain.iter().try_for_each(|certificate| write_bytes(text, "cert", certificate))
}

fn write_bytes(text: &mut String, key: &str, bytes: &[u8]) -> std::fmt::Result {
    write!(text, ";{key}={}", percent_encode(bytes, ESCAPED))
}

/// What has been read so far of a connection.
#[derive(Default)]
struct ReadConnection {
    conn: u64,
    peer: Option<End>,
    local: Option<End>,
    binding: Option<Arc<str>>,
    tls: Option<Tls>,
}

impl ReadConnection {
    fn take(&mut self, key: &str, value: &str) -> Result<(), Malformed> {
        match key {
            "conn" => self.conn = number(value, "conn")?,
            "peer" => self.peer = Some(end(value, "peer")?),
            "local" => self.local = Some(end(value, "local")?),
            "binding" => self.binding = Some(text(value, "binding")?.into()),
            "tls" => self.tls = Some(tls(value)?),
            _ => self.take_tls(key, value)?,
        }
        Ok(())
    }

    fn take_tls(&mut self, key: &str, value: &str) -> Result<(), Malformed> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        match key {
            "sni" => tls.sni = text(value, "sni")?.into(),
            "alpn" => tls.alpn = bytes(value),
            "cert" => tls.client_chain.push(bytes(value)),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Connection {
        Connection::numbered(
            self.conn,
            (self.peer.unwrap_or(End::Unknown), self.local.unwrap_or(End::Unknown)),
            self.binding.unwrap_or_else(empty_base),
            self.tls,
        )
    }
}

/// Connections that requests have come from: reading about one costs more than carrying a small request.
mod known {
    use std::{cell::RefCell, collections::HashMap, sync::Arc};

    use super::{Malformed, ReadConnection, pairs};
    use crate::facts::Connection;

    thread_local! {
        static KNOWN: RefCell<HashMap<Box<str>, Arc<Connection>>> = RefCell::default();
    }

    /// The connection that `text` tells of.
    pub(super) fn connection(text: &str) -> Result<Arc<Connection>, Malformed> {
        if text.len() > LONGEST {
            return read(text);
        }
        KNOWN.with_borrow_mut(|known| {
            if let Some(connection) = known.get(text) {
                return Ok(Arc::clone(connection));
            }
            let connection = read(text)?;
            if known.len() >= MOST {
                // Nobody says when a connection has ended. Those that have not are read once more.
                known.clear();
            }
            known.insert(text.into(), Arc::clone(&connection));
            Ok(connection)
        })
    }

    fn read(text: &str) -> Result<Arc<Connection>, Malformed> {
        let mut read = ReadConnection::default();
        for (key, value) in pairs(text) {
            read.take(key, value)?;
        }
        Ok(Arc::new(read.finish()))
    }

    const MOST: usize = 1024;
    /// With certificates it may be long.
    const LONGEST: usize = 512;
}

/// What has been read so far of a request.
struct Read<'a> {
    connection: Arc<Connection>,
    id: u64,
    version: Version,
    client: Option<End>,
    scheme: Scheme,
    path_base: Option<Arc<str>>,
    base: Base,
    target: Option<Bytes>,
    deadline: Option<&'a str>,
    host: Host,
}

impl<'a> Read<'a> {
    fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            id: 0,
            version: Version::HTTP_11,
            client: None,
            scheme: Scheme::Http,
            path_base: None,
            base: Base::Removed,
            target: None,
            deadline: None,
            host: Host::Named,
        }
    }

    fn take(&mut self, key: &str, value: &'a str) -> Result<(), Malformed> {
        match key {
            "id" => self.id = number(value, "id")?,
            "v" => self.version = version(value)?,
            "client" => self.client = Some(end(value, "client")?),
            "scheme" if value == "https" => self.scheme = Scheme::Https,
            "base" => self.path_base = Some(text(value, "base")?.into()),
            "in" if value == "path" => self.base = Base::InPath,
            "host" if value == "unnamed" => self.host = Host::Unnamed,
            "target" => self.target = Some(bytes(value)),
            "deadline" => self.deadline = Some(value),
            _ => {}
        }
        Ok(())
    }

    fn finish(self, clock: impl FnOnce() -> Clock) -> Result<Carried, Malformed> {
        let number = self.deadline.map(str::parse).transpose().map_err(|_| Malformed { key: "deadline" })?;
        let facts = Facts {
            connection: self.connection,
            // Who is between concerns only those who speak to foreign programs.
            forwarded: self
                .client
                .map(|client| Box::new(Forwarded { client, proxies: Vec::new(), port: None })),
            request_id: RequestId(self.id),
            scheme: self.scheme,
            target: self.target,
            path_base: self.path_base.unwrap_or_else(empty_base),
            base: self.base,
            deadline: number.and_then(|number| clock().instant(number)),
        };
        Ok(Carried { facts, version: self.version, host: self.host })
    }
}

fn number(value: &str, key: &'static str) -> Result<u64, Malformed> {
    u64::from_str_radix(value, 16).map_err(|_| Malformed { key })
}

fn end(value: &str, key: &'static str) -> Result<End, Malformed> {
    if value == "unix" {
        return Ok(End::Unix);
    }
    text(value, key)?.parse().map(End::Ip).map_err(|_| Malformed { key })
}

fn tls(value: &str) -> Result<Tls, Malformed> {
    let parsed = value.split_once('-').and_then(|(version, cipher)| {
        Some((u16::from_str_radix(version, 16).ok()?, u16::from_str_radix(cipher, 16).ok()?))
    });
    let (version, cipher) = parsed.ok_or(Malformed { key: "tls" })?;
    // What was asked is the host's to know, who has seen to it.
    let asked = Asked::Nothing;
    Ok(Tls { version, cipher, sni: "".into(), alpn: Bytes::new(), asked, client_chain: Vec::new() })
}

fn text<'a>(value: &'a str, key: &'static str) -> Result<Cow<'a, str>, Malformed> {
    percent_decode_str(value).decode_utf8().map_err(|_| Malformed { key })
}

fn bytes(value: &str) -> Bytes {
    Bytes::from(Cow::from(percent_decode_str(value)).into_owned())
}

fn digits(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "10",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "11",
    }
}

fn version(value: &str) -> Result<Version, Malformed> {
    match value {
        "10" => Ok(Version::HTTP_10),
        "11" => Ok(Version::HTTP_11),
        "2" => Ok(Version::HTTP_2),
        "3" => Ok(Version::HTTP_3),
        _ => Err(Malformed { key: "v" }),
    }
}

/// Everything but what reads well in a path or an address and separates nothing here.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b':')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~')
    .remove(b'[')
    .remove(b']')
    .remove(b'?')
    .remove(b'&');

#[cfg(test)]
mod tests;
