//! `[site.auth]`: who may come in, by what they know.

use std::time::Duration;

use http::{HeaderName, Uri};

use super::super::{
    fault::Refusal,
    keys, outward,
    values::duration,
    written::{Section, Value},
};
use crate::front::{Auth, Basic, Forward, Hashed, Users};

pub(super) fn read(section: &Section<'_>) -> Option<Auth> {
    let section = super::table(section, "auth", &keys::AUTH)?;
    if section.value("basic").is_none() && section.value("forward").is_none() {
        let refusal = Refusal::new("is missing; say who may come in, with basic = {…} or forward = {…}");
        section.refuse("basic", &section.at, refusal);
    }
    Some(Auth { basic: basic(&section), forward: forward(&section) })
}

fn basic(section: &Section<'_>) -> Option<Basic> {
    let section = super::table(section, "basic", &keys::BASIC)?;
    if section.value("users").is_none() {
        let refusal =
            Refusal::new("is missing; name a file that htpasswd -B has made, or write a table of hashes");
        section.refuse("users", &section.at, refusal);
    }
    let realm = section.read("realm", realm);
    let users = match section.value("users")?.is_text() {
        true => section.read("users", file).map(Users::File),
        false => section.read("users", |value| these(&section, value)).map(Users::These),
    };
    Some(Basic { users: users?, realm: realm.unwrap_or_else(|| "restricted".to_owned()) })
}

fn file(value: &Value<'_>) -> Result<std::path::PathBuf, Refusal> {
    match value.text()? {
        path if path.is_empty() => Err(Refusal::new("must be a file, or a table of hashes (is empty)")),
        path => Ok(value.reading.resolve(path)),
    }
}

fn these(section: &Section<'_>, value: &Value<'_>) -> Result<Vec<(String, Hashed)>, Refusal> {
    let mut users = Vec::new();
    for (name, written) in value.table()? {
        let (key, name) = (format!("users.{}", name.get_ref()), name.get_ref().to_string());
        // Dollars begin variables elsewhere; in a hash they are what they are.
        match written.get_ref().as_str().map(str::parse::<Hashed>) {
            // What is written is not shown: it may be the password itself.
            None => section.refuse(&key, &written.span(), Refusal::new("must be a hash, in quotes")),
            Some(Err(error)) => section.refuse(&key, &written.span(), Refusal::new(error.to_string())),
            Some(Ok(_)) if name.contains(':') => {
                section.refuse(
                    &key,
                    &written.span(),
                    Refusal::new("no name has a colon: the password is behind it"),
                );
            }
            Some(Ok(hashed)) => users.push((name, hashed)),
        }
    }
    Ok(users)
}

fn realm(value: &Value<'_>) -> Result<String, Refusal> {
    match value.text()? {
        text if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Ok(text),
        text => Err(Refusal::new(format!("must be of ASCII, without control characters (is {text:?})"))),
    }
}

fn forward(section: &Section<'_>) -> Option<Forward> {
    let section = super::table(section, "forward", &keys::FORWARD)?;
    if section.value("url").is_none() {
        section.refuse("url", &section.at, Refusal::new("is missing; say which server is to be asked"));
    }
    let copy = section.read_each("copy", field).unwrap_or_default();
    let timeout = section.read("timeout", duration);
    let tls = outward::read(&section, &keys::FORWARD_TLS);
    let url = section.read("url", url)?;
    if url.scheme_str() != Some("https") {
        outward::refuse(&section, "has no effect on an http:// url; leave it out, or ask at https://");
    }
    Some(Forward {
        url,
        outward: tls,
        terms: None,
        copy: copy.into_iter().map(|(name, _)| name).collect(),
        timeout: timeout.unwrap_or(Duration::from_secs(5)),
    })
}

fn url(value: &Value<'_>) -> Result<Uri, Refusal> {
    let text = value.text()?;
    let refusal = || Refusal::new(format!("not a URL, as \"http://127.0.0.1:9000/verify\" is: {text:?}"));
    let url: Uri = text.parse().map_err(|_| refusal())?;
    let authority = url.authority().filter(|authority| !authority.as_str().contains('@'));
    match (url.scheme_str(), authority) {
        (Some("http"), Some(_)) => Ok(url),
        (Some("https"), Some(_)) => outward::supported(&text).map(|()| url),
        _ => Err(refusal()),
    }
}

/// The name of a field that says nothing about how a message is read.
fn field(value: &Value<'_>) -> Result<HeaderName, Refusal> {
    let text = value.text()?;
    let name: HeaderName =
        text.parse().map_err(|_| Refusal::new(format!("not the name of a field: {text:?}")))?;
    let framing = ["connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"];
    let is_forwarding =
        ["forwarded", "x-forwarded-", "x-real-ip"].iter().any(|start| name.as_str().starts_with(start));
    if is_forwarding || framing.contains(&name.as_str()) || crate::private::is_private(name.as_str()) {
        return Err(Refusal::new(format!("is the host's to say (is {text:?})")));
    }
    Ok(name)
}
