//! Which header fields travel on, in each direction.
//!
//! In: the fields as the other side sent them. Out: those meant for the end of the way. Never: passes on a field that
//! is about the connection (RFC 9110, 7.6.1), or, from outside, one that only the host may set.
//!
//! The host adds its own fields after [`clean_request`] has run, so that no client can name them in `Connection`; what adds
//! some before that, uses [`put`].

#[cfg(feature = "out-of-process")]
use http::header::TRANSFER_ENCODING;
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TE, TRAILER, UPGRADE},
};

use crate::private::{begins, is_private};

#[cfg(test)]
mod tests;

/// Whether the client's own forwarding fields may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Anyone.
    Untrusted,
    /// A proxy of ours.
    Trusted,
}

/// Leaves what an application library is to see of a request's fields, in either hosting model.
///
/// Forwarding fields stay as they came: from its facts the application learns who the client is. So does `trailer`,
/// since our server sends no trailers that the answer does not announce.
pub(crate) fn clean_for_library(fields: &mut HeaderMap) {
    if is_clean(fields, Sender::Trusted) {
        return;
    }
    let trailer: Vec<HeaderValue> = fields.get_all(TRAILER).into_iter().cloned().collect();
    clean_request(fields, Sender::Trusted);
    for announced in trailer {
        fields.append(TRAILER, announced);
    }
}

/// Whether there is nothing to remove or to unify, as in most requests that no browser made.
fn is_clean(fields: &HeaderMap, sender: Sender) -> bool {
    let repeated = fields.len() > fields.keys_len();
    // In one line: looking a name up costs more than passing all of a request's.
    let unclean = |(name, value): (&HeaderName, &HeaderValue)| {
        let text = name.as_str();
        may_be_unclean(text)
            && (is_hop_by_hop(text)
                || is_request_only_hop(text)
                || is_hosts(text, sender)
                || (*name == CONTENT_LENGTH && is_list(value)))
    };
    !repeated && !fields.iter().any(unclean)
}

/// Whether a name begins like one of those that are not for an application; most do not.
fn may_be_unclean(name: &str) -> bool {
    matches!(name.as_bytes().first(), Some(b'c' | b'f' | b'h' | b'k' | b'm' | b'p' | b't' | b'u' | b'x'))
}

/// What a request of HTTP/1.1 wants its connection to become, if that is something an application may decide.
///
/// Never HTTP itself, which would hide requests from the host; and nothing behind a body, where it would not be clear
/// where the new protocol begins.
pub(crate) fn upgrade_wanted(
    fields: &HeaderMap,
    version: Version,
    body: &crate::Body,
) -> Option<HeaderValue> {
    let to = fields.get(UPGRADE)?;
    let asked = version == Version::HTTP_11 && has_token(fields, &CONNECTION, "upgrade");
    let protocols =
        fields.get_all(UPGRADE).into_iter().flat_map(|list| list.as_bytes().split(|b| *b == b','));
    let forbidden = protocols.into_iter().any(is_forbidden);
    (asked && !forbidden && http_body::Body::is_end_stream(body)).then(|| to.clone())
}

/// Asks for the change of protocol, after the fields have been cleaned.
pub(crate) fn ask_upgrade(fields: &mut HeaderMap, to: HeaderValue) {
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(UPGRADE, to);
}

/// HTTP itself, or beneath it, in whatever version. What is no text is no name either, but another parser may see one
/// in it.
fn is_forbidden(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default().trim_ascii();
    !protocol.is_ascii()
        || [&b"h2c"[..], b"h2", b"http", b"tls"].iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// Leaves a request's end-to-end fields, of which a client may have set every one.
pub(crate) fn clean_request(fields: &mut HeaderMap, sender: Sender) {
    if is_clean(fields, sender) {
        return;
    }
    let trailers = accepts_trailers(fields);
    remove_named_in_connection(fields);
    remove_all(fields, |name| is_hop_by_hop(name) || is_request_only_hop(name) || is_hosts(name, sender));
    if trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(fields);
    unify_length(fields);
}

/// Whether a field of a response is nothing that an application has to say to a client.
pub(crate) fn ends_at_host(name: &HeaderName) -> bool {
    is_hop_by_hop(name.as_str()) || is_private(name.as_str())
}

/// Leaves a response's end-to-end fields. `trailer` stays: our own server sends no trailers that are not announced.
#[cfg(any(feature = "front", feature = "out-of-process"))]
pub(crate) fn clean_response(fields: &mut HeaderMap) {
    if is_clean_response(fields) {
        return;
    }
    remove_named_in_connection(fields);
    remove_all(fields, |name| is_hop_by_hop(name) || is_private(name));
    unify_length(fields);
}

/// Whether there is nothing to remove or to unify, as in most responses.
#[cfg(any(feature = "front", feature = "out-of-process"))]
fn is_clean_response(fields: &HeaderMap) -> bool {
    let repeated = fields.len() > fields.keys_len();
    let unclean = |(name, value): (&HeaderName, &HeaderValue)| {
        ends_at_host(name) || (*name == CONTENT_LENGTH && is_list(value))
    };
    !repeated && !fields.iter().any(unclean)
}

/// Gives a request the field `name` with these values, and none of it from anybody else: not in the spelling that is the
/// same where names become variables, nor as one that `Connection` takes away again, further on.
#[cfg(feature = "front")]
pub(crate) fn put<'a>(
    fields: &mut HeaderMap,
    name: &HeaderName,
    values: impl IntoIterator<Item = &'a HeaderValue>,
) {
    remove_all(fields, |other| is_same_variable(other, name.as_str()));
    if tokens(fields, &CONNECTION).any(|token| token.eq_ignore_ascii_case(name.as_str())) {
        let others = tokens(fields, &CONNECTION).filter(|token| !token.eq_ignore_ascii_case(name.as_str()));
        let others = others.collect::<Vec<_>>().join(", ");
        fields.remove(CONNECTION);
        if let Some(others) = HeaderValue::try_from(others).ok().filter(|others| !others.is_empty()) {
            fields.insert(CONNECTION, others);
        }
    }
    for value in values {
        fields.append(name, value.clone());
    }
}

/// Whether two names are the same where `_` and `-` are.
#[cfg(feature = "front")]
fn is_same_variable(one: &str, other: &str) -> bool {
    let variable = |byte| if byte == b'_' { b'-' } else { byte };
    one.len() == other.len() && one.bytes().map(variable).eq(other.bytes().map(variable))
}

/// Leaves of a request's trailers what could not be mistaken for something the host says.
pub(crate) fn clean_request_trailers(fields: &mut HeaderMap) {
    remove_all(fields, |name| is_framing(name) || is_hosts(name, Sender::Untrusted));
}

/// Leaves a response's trailers that are no framing.
pub(crate) fn clean_response_trailers(fields: &mut HeaderMap) {
    remove_all(fields, |name| is_framing(name) || is_private(name));
}

/// Whether `list`, one of the fields that are lists of tokens, has `token`.
pub(crate) fn has_token(fields: &HeaderMap, list: &HeaderName, token: &str) -> bool {
    tokens(fields, list).any(|found| found.eq_ignore_ascii_case(token))
}

fn tokens<'a>(fields: &'a HeaderMap, list: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = fields.get_all(list).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// `TE: trailers`, possibly among others and with a weight.
fn accepts_trailers(fields: &HeaderMap) -> bool {
    tokens(fields, &TE).any(|coding| {
        coding.split(';').next().is_some_and(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    })
}

fn remove_named_in_connection(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(fields, &CONNECTION)
        .filter(|token| !token.eq_ignore_ascii_case("keep-alive") && !token.eq_ignore_ascii_case("close"))
        .filter_map(|token| token.parse().ok())
        // A message without its host or its length would be another message.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named {
        fields.remove(name);
    }
}

fn remove_all(fields: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let unwanted: Vec<HeaderName> = fields.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in unwanted {
        fields.remove(name);
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    // Most names are none of these; the first letter says so at once.
    match name.as_bytes().first() {
        Some(b'c') => name == "connection",
        Some(b'k') => name == "keep-alive",
        Some(b'p') => name == "proxy-connection" || name == "proxy-authenticate",
        Some(b't') => name == "transfer-encoding" || name == "te",
        Some(b'u') => name == "upgrade",
        _ => false,
    }
}

/// About the connection, or aimed at a proxy, but only in requests. `proxy` is here because CGI makes of it the
/// variable by which many programs are told their outgoing proxy.
fn is_request_only_hop(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'h') => name == "http2-settings",
        Some(b'p') => name == "proxy" || name == "proxy-authorization",
        Some(b't') => name == "trailer",
        _ => false,
    }
}

/// What only the host may say to an instance. Where names become variables (CGI, WSGI), `_` and `-` are the same, so
/// a name is the host's in either spelling; the spelling with `_` is nobody's, not even a trusted proxy's.
fn is_hosts(name: &str, sender: Sender) -> bool {
    match name.as_bytes().first() {
        Some(b'c') if begins(name, "client-cert") => {
            // RFC 9440: what the host says of the client's certificate, and nobody else, not even a proxy.
            name.len() == "client-cert".len()
                || (begins(name, "client-cert-chain") && name.len() == "client-cert-chain".len())
        }
        Some(b'c' | b'm') => is_private(name),
        Some(b'f') => name == "forwarded" && sender == Sender::Untrusted,
        Some(b'x') => {
            let forwarding = begins(name, "x-forwarded-") || begins(name, "x-real-ip");
            forwarding && (sender == Sender::Untrusted || name.contains('_'))
        }
        _ => false,
    }
}

/// Not allowed in trailers (RFC 9110, 6.5.1), because they decide how a message is read, routed or believed.
fn is_framing(name: &str) -> bool {
    is_hop_by_hop(name)
        || is_request_only_hop(name)
        || matches!(
            name,
            "content-length"
                | "content-encoding"
                | "content-type"
                | "content-range"
                | "host"
                | "authorization"
                | "cookie"
                | "set-cookie"
                | "cache-control"
                | "expect"
                | "max-forwards"
        )
}

/// HTTP/2 sends each cookie alone; HTTP/1.1 knows one field (RFC 9113, 8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    if fields.get_all(COOKIE).into_iter().nth(1).is_none() {
        return;
    }
    let cookies: Vec<&[u8]> = fields.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        fields.insert(COOKIE, joined);
    }
}

/// The same length twice is allowed to arrive, but goes on once: the next parser may be less tolerant.
fn unify_length(fields: &mut HeaderMap) {
    let Some(first) = fields.get(CONTENT_LENGTH) else { return };
    if !is_list(first) && fields.get_all(CONTENT_LENGTH).into_iter().nth(1).is_none() {
        return;
    }
    // hyper has compared them all before, and refuses the message where they differ.
    let one = first.to_str().ok().and_then(|value| value.split(',').next());
    if let Some(one) = one.and_then(|value| HeaderValue::from_str(value.trim()).ok()) {
        fields.insert(CONTENT_LENGTH, one);
    }
}

fn is_list(value: &HeaderValue) -> bool {
    value.as_bytes().contains(&b',')
}

/// Whether a response says its length twice, in ways that may contradict each other.
#[cfg(feature = "out-of-process")]
pub(crate) fn is_ambiguous(fields: &HeaderMap) -> bool {
    fields.contains_key(TRANSFER_ENCODING) && fields.contains_key(CONTENT_LENGTH)
}
