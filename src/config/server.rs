//! The tables `[log]` and `[server]`.

use std::{num::NonZeroU32, ops::RangeInclusive};

use super::{
    Log, LogFormat, Server, UnknownAuthority,
    fault::{Quote, Refusal},
    keys, output,
    values::{boolean, count, count_or_none, duration, duration_or_none, network, one_of, size_or_none},
    written::{Reading, Section, Value},
};
use crate::forwarded::{Fields, Proxy};

/// What `[log]` says, and defaults for the rest.
pub(super) fn log(reading: &Reading<'_>, top: &Section<'_>) -> Log {
    let mut log = Log::default();
    log.output.folder = reading.resolve(&log.output.folder);
    let Some(section) = top.section("log", &keys::LOG) else { return log };
    section.set(&mut log.level, "level", filter);
    let formats = [("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
    section.set(&mut log.format, "format", one_of(&formats));
    section.set(&mut log.access, "access", boolean);
    log.output = output::read(&section, log.output);
    log
}

/// What `[server]` says, and defaults for the rest.
pub(super) fn server(top: &Section<'_>) -> Server {
    let mut server = Server::default();
    let Some(section) = top.section("server", &keys::SERVER) else { return server };
    section.set(&mut server.threads, "threads", |value| {
        count(MOST_THREADS)(value).map(std::num::NonZeroUsize::new)
    });
    section.set(&mut server.max_connections, "max_connections", count_or_none(u32::MAX.into()));
    section.set(
        &mut server.max_connections_per_client,
        "max_connections_per_client",
        count_or_none(u32::MAX.into()),
    );
    section.set(&mut server.header_timeout, "header_timeout", duration);
    section.set(&mut server.handshake_timeout, "handshake_timeout", duration);
    section.set(&mut server.keep_alive_timeout, "keep_alive_timeout", duration);
    limits(&section, &mut server);
    section.set(&mut server.shutdown_timeout, "shutdown_timeout", duration);
    section.set(&mut server.standby, "standby", boolean);
    section.set(&mut server.watch, "watch", boolean);
    section.set(&mut server.recycle_memory, "recycle_memory", size_or_none);
    let answers = [
        ("default", UnknownAuthority::DefaultSite),
        ("misdirected", UnknownAuthority::Misdirected),
        ("not_found", UnknownAuthority::NotFound),
    ];
    section.set(&mut server.unknown_authority, "unknown_authority", one_of(&answers));
    trust(&section, &mut server);
    section.set(&mut server.error_page, "error_page", boolean);
    section.set(&mut server.detailed_errors, "detailed_errors", boolean);
    section.set(&mut server.error_link, "error_link", |value| link(value).map(Some));
    server
}

/// Something that a browser follows to a page or a mail, and nothing that it would run.
fn link(value: &Value<'_>) -> Result<String, Refusal> {
    let link = value.text()?;
    let is_known = ["https://", "http://", "mailto:", "/"].iter().any(|begin| link.starts_with(begin));
    if is_known && !link.contains(char::is_whitespace) {
        return Ok(link);
    }
    Err(Refusal::new(format!(
        "must begin with https://, http://, mailto: or / and have no spaces (is {link:?})"
    )))
}

/// What clients may cost.
fn limits(section: &Section<'_>, server: &mut Server) {
    section.set(&mut server.send_timeout, "send_timeout", duration_or_none);
    section.set(&mut server.body_timeout, "body_timeout", duration_or_none);
    section.set(&mut server.min_body_rate, "min_body_rate", |value| {
        let rate = size_or_none(value)?;
        let rate = rate.map(|rate| u32::try_from(rate).ok().and_then(NonZeroU32::new).ok_or(rate));
        rate.transpose().map_err(|rate| Refusal::new(format!("must be less than 4GiB a second (is {rate})")))
    });
    if let (Some(rate), None) = (section.value("min_body_rate"), server.body_timeout) {
        let nowhen = "has no effect with body_timeout = \"none\", over which the average is taken";
        section.refuse("min_body_rate", &rate.at(), Refusal::new(nowhen));
    }
    section.set(&mut server.max_header_size, "max_header_size", |value| {
        let size = size_or_none(value)?.and_then(|size| usize::try_from(size).ok());
        size.filter(|size| HEADS.contains(size))
            .ok_or_else(|| Refusal::new("must be from 4KiB to 1MiB; all of it is held in memory"))
    });
    section.set(&mut server.max_header_fields, "max_header_fields", count(MOST_FIELDS));
    section.set(&mut server.max_streams, "max_streams", count(MOST_STREAMS));
}

fn trust(section: &Section<'_>, server: &mut Server) {
    if let Some(proxies) = section.read_each("trusted_proxies", proxy) {
        server.trusted_proxies = proxies.into_iter().map(|(proxy, _)| proxy).collect();
    }
    let fields = [("x-forwarded", Fields::XForwarded), ("forwarded", Fields::Forwarded)];
    section.set(&mut server.trusted_fields, "trusted_fields", one_of(&fields));
    if let (Some(fields), None) = (section.value("trusted_fields"), section.value("trusted_proxies")) {
        let nobody = "has no effect without trusted_proxies; say there which proxies write these fields";
        section.refuse("trusted_fields", &fields.at(), Refusal::new(nobody));
    }
}

/// A network, or `"unix"` for those who connect to Unix sockets.
fn proxy(value: &Value<'_>) -> Result<Proxy, Refusal> {
    if value.text()?.eq_ignore_ascii_case("unix") {
        return Ok(Proxy::Socket);
    }
    network(value).map(Proxy::Network)
}

/// A level, or levels by target: `"info"`, `"info,app::db=debug"`.
fn filter(value: &Value<'_>) -> Result<String, Refusal> {
    let filter = value.text()?;
    for directive in filter.split(',').map(str::trim) {
        let level = match directive.split_once('=') {
            Some(("", _)) => {
                return Err(Refusal::new(format!("a target is missing before \"=\" (is {filter:?})")));
            }
            Some((target, level)) if target.bytes().all(is_target) => level,
            Some((target, _)) => {
                return Err(Refusal::new(format!(
                    "{target:?} is no target, as \"app::db\" is (is {filter:?})"
                )));
            }
            None => directive,
        };
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            return Err(Refusal::new(format!(
                "must be {}, or levels by target, as \"info,app::db=debug\" (is {filter:?})",
                super::values::alternatives(&LEVELS)
            ))
            .suggest_nearest(&filter, &LEVELS, Quote::Value));
        }
    }
    Ok(filter)
}

fn is_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_:-.".contains(&byte)
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

const MOST_THREADS: u64 = 4096;
/// Sizes of heads that may be allowed.
const HEADS: RangeInclusive<usize> = 4 * 1024..=1024 * 1024;
const MOST_FIELDS: u64 = 10_000;
const MOST_STREAMS: u64 = 100_000;
