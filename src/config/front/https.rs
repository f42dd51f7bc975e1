//! `[site.https]` and `canonical_host`: where requests go that came another way than they should have.

use std::time::Duration;

use http::StatusCode;
use toml::de::DeValue;

use super::super::{
    fault::Refusal,
    keys,
    values::{boolean, count, duration},
    written::{Section, Value},
};
use crate::front::{CanonicalHost, Hsts, Https, ToHttps};

pub(super) fn read(section: &Section<'_>) -> Option<Https> {
    let section = super::table(section, "https", &keys::HTTPS)?;
    let redirect = section.read("redirect", boolean).unwrap_or_default();
    let status = section.read("status", redirect_status(&[301, 302, 307, 308]));
    let port = section.read("port", count::<u16>(u16::MAX.into()));
    for key in ["status", "port"].into_iter().filter(|_| !redirect) {
        without_effect(&section, key, "redirect = true");
    }
    let redirect = redirect.then(|| ToHttps {
        status: status.unwrap_or(StatusCode::PERMANENT_REDIRECT),
        port: port.unwrap_or(443),
    });
    Some(Https { redirect, hsts: hsts(&section) })
}

fn hsts(section: &Section<'_>) -> Option<Hsts> {
    let max_age = section.read("hsts", duration);
    let include_subdomains = section.read("include_subdomains", boolean).unwrap_or_default();
    let preload = section.read("preload", boolean).unwrap_or_default();
    if section.value("hsts").is_none() {
        for key in ["include_subdomains", "preload"] {
            without_effect(section, key, "hsts = \"365d\"");
        }
    }
    let hsts = Hsts { max_age: max_age?, include_subdomains, preload };
    if preload && (!include_subdomains || hsts.max_age < YEAR) {
        let at = section.value("preload").map_or(section.at.clone(), |value| value.at());
        let refusal =
            Refusal::new("browsers take names only that have hsts = \"365d\" and include_subdomains = true");
        section.refuse("preload", &at, refusal);
    }
    Some(hsts)
}

fn without_effect(section: &Section<'_>, key: &'static str, needs: &str) {
    if let Some(value) = section.value(key) {
        section.refuse(key, &value.at(), Refusal::new(format!("has no effect without {needs}")));
    }
}

/// `canonical_host = "www.shop.example"`
pub(super) fn canonical_host(section: &Section<'_>) -> Option<CanonicalHost> {
    section.read("canonical_host", |value| {
        let text = value.text()?;
        text.parse().map_err(|error| Refusal::new(format!("{error} (is {text:?})")))
    })
}

/// One of these, as a number.
pub(super) fn redirect_status(among: &'static [u16]) -> impl Fn(&Value<'_>) -> Result<StatusCode, Refusal> {
    move |value| {
        let number = match value.written.get_ref() {
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let status = number
            .filter(|number| among.contains(number))
            .and_then(|number| StatusCode::from_u16(number).ok());
        status.ok_or_else(|| {
            let among: Vec<_> = among.iter().map(u16::to_string).collect();
            Refusal::new(format!("must be one of {}", among.join(", ")))
        })
    }
}

/// The least that lists of browsers take.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
