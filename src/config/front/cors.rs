//! `[site.cors]`: what pages of other origins may.

use http::{HeaderName, HeaderValue};

use super::super::{
    fault::Refusal,
    keys,
    values::{boolean, duration},
    written::{Section, Value},
};
use crate::front::{Cors, Shared};

pub(super) fn read(section: &Section<'_>) -> Option<Cors> {
    let section = super::table(section, "cors", &keys::CORS)?;
    if section.value("origins").is_none() {
        let refusal =
            Refusal::new("is missing; say whose pages may, as [\"https://shop.example\"], or \"any\"");
        section.refuse("origins", &section.at, refusal);
    }
    let cors = Cors {
        origins: shared(&section, "origins", origin),
        methods: shared(&section, "methods", |value| {
            let text = value.text()?;
            text.parse().map_err(|_| Refusal::new(format!("not a method: {text:?}")))
        }),
        headers: shared(&section, "headers", field),
        expose: shared(&section, "expose", field),
        credentials: section.read("credentials", boolean).unwrap_or(false),
        max_age: section.read("max_age", duration),
    };
    refuse_credentials_for_all(&section, &cors);
    Some(cors)
}

/// Browsers refuse it, and whoever got it to work would have opened all that its users see to any page.
fn refuse_credentials_for_all(section: &Section<'_>, cors: &Cors) {
    if !cors.credentials || cors.has_credentials() {
        return;
    }
    let Some(credentials) = section.value("credentials") else { return };
    let open = [
        ("origins", cors.origins.is_any()),
        ("methods", cors.methods.is_any()),
        ("headers", cors.headers.is_any()),
        ("expose", cors.expose.is_any()),
    ];
    for (key, _) in open.into_iter().filter(|(_, is_any)| *is_any) {
        let refusal =
            Refusal::new(format!("would be for anybody, since {key} is \"any\"; list those that may"));
        section.refuse("credentials", &credentials.at(), refusal);
    }
}

/// A list, or `"any"`.
fn shared<T>(
    section: &Section<'_>,
    key: &'static str,
    read: impl Fn(&Value<'_>) -> Result<T, Refusal>,
) -> Shared<T> {
    let Some(value) = section.value(key) else { return Shared::With(Vec::new()) };
    if value.is_text() {
        let any = |value: &Value<'_>| match value.text()? {
            text if text.eq_ignore_ascii_case("any") => Ok(()),
            text => Err(Refusal::new(format!("must be \"any\" or a list (is {text:?})"))),
        };
        return match section.read(key, any) {
            Some(()) => Shared::WithAny,
            None => Shared::With(Vec::new()),
        };
    }
    let read = |value: &Value<'_>| match value.text() {
        Ok(star) if star == "*" => {
            Err(Refusal::new(format!("must be written {key} = \"any\"; \"*\" is none")))
        }
        _ => read(value),
    };
    Shared::With(section.read_each(key, read).unwrap_or_default().into_iter().map(|(one, _)| one).collect())
}

/// A scheme and an authority, as browsers write them.
fn origin(value: &Value<'_>) -> Result<HeaderValue, Refusal> {
    let text = value.text()?;
    let refusal = || Refusal::new(format!("not an origin, as \"https://shop.example\" is: {text:?}"));
    let (scheme, authority) = text.split_once("://").ok_or_else(refusal)?;
    if let Some(authority) = authority.strip_suffix('/').filter(|authority| !authority.contains('/')) {
        return Err(refusal().suggest(format!("\"{scheme}://{authority}\"")));
    }
    let is_scheme = !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_authority = authority.parse::<http::uri::Authority>().is_ok() && !authority.contains('@');
    if !is_scheme || !is_authority {
        return Err(refusal());
    }
    HeaderValue::from_str(&text.to_ascii_lowercase()).map_err(|_| refusal())
}

fn field(value: &Value<'_>) -> Result<HeaderName, Refusal> {
    let text = value.text()?;
    text.parse().map_err(|_| Refusal::new(format!("not the name of a field: {text:?}")))
}
