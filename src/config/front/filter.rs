//! `[site.filter]`: which requests are let through.

use http::HeaderName;

use super::super::{
    fault::Refusal,
    keys,
    values::{boolean, one_of, size_or_none},
    written::{Section, Value},
};
use crate::front::{Filter, Folded};

pub(super) fn read(section: &Section<'_>) -> Option<Filter> {
    let section = super::table(section, "filter", &keys::FILTER)?;
    let preset = section.read("preset", one_of(&[("iis", Filter::iis as fn() -> Filter)]));
    let mut filter = preset.map_or_else(Filter::default, |preset| preset());
    let more = |list: &mut Vec<Folded>, key, read: fn(&Value<'_>) -> Result<Folded, Refusal>| {
        list.extend(section.read_each(key, read).unwrap_or_default().into_iter().map(|(one, _)| one));
    };
    more(&mut filter.verbs.allowed, "allowed_verbs", verb);
    more(&mut filter.verbs.denied, "denied_verbs", verb);
    more(&mut filter.extensions.allowed, "allowed_extensions", extension);
    more(&mut filter.extensions.denied, "denied_extensions", extension);
    more(&mut filter.hidden_segments, "hidden_segments", segment);
    more(&mut filter.denied_sequences, "denied_sequences", sequence);
    more(&mut filter.denied_query_sequences, "denied_query_sequences", sequence);
    section.set(&mut filter.double_escaping, "double_escaping", boolean);
    section.set(&mut filter.max_url, "max_url", size_or_none);
    section.set(&mut filter.max_query, "max_query", size_or_none);
    filter.max_field = section.read("max_field", |value| max_field(&section, value)).unwrap_or_default();
    filter.enforcement = super::enforcement(&section);
    Some(filter)
}

fn verb(value: &Value<'_>) -> Result<Folded, Refusal> {
    let text = value.text()?;
    match text.parse::<http::Method>() {
        Ok(_) => Ok(text.as_str().into()),
        Err(_) => Err(Refusal::new(format!("not a method: {text:?}"))),
    }
}

/// With its dot, or without.
fn extension(value: &Value<'_>) -> Result<Folded, Refusal> {
    let text = value.text()?;
    match text.strip_prefix('.').unwrap_or(&text) {
        // Only what is behind the last dot is looked at.
        extension if extension.contains(['.', '/']) => {
            Err(Refusal::new(format!("must be what is behind the last dot of a name (is {text:?})")))
        }
        extension => Ok(extension.into()),
    }
}

fn segment(value: &Value<'_>) -> Result<Folded, Refusal> {
    match value.text()? {
        text if text.is_empty() || text.contains('/') => {
            Err(Refusal::new(format!("must be one segment of a path, without slashes (is {text:?})")))
        }
        text => Ok(text.as_str().into()),
    }
}

fn sequence(value: &Value<'_>) -> Result<Folded, Refusal> {
    match value.text()? {
        text if text.is_empty() => Err(Refusal::new("would be in everything (is empty)")),
        text => Ok(text.as_str().into()),
    }
}

fn max_field(section: &Section<'_>, value: &Value<'_>) -> Result<Vec<(HeaderName, u64)>, Refusal> {
    let mut fields = Vec::new();
    for (written_name, written) in value.table()? {
        let name = written_name.get_ref();
        let key = format!("max_field.{name}");
        let size = size_or_none(&Value { reading: section.reading, written });
        match (name.parse::<HeaderName>(), size) {
            (Err(_), _) => {
                section.refuse(
                    &key,
                    &written_name.span(),
                    Refusal::new(format!("not the name of a field: {name:?}")),
                );
            }
            (_, Err(refusal)) => section.refuse(&key, &written.span(), refusal),
            (Ok(name), Ok(Some(most))) => fields.push((name, most)),
            (Ok(_), Ok(None)) => {}
        }
    }
    Ok(fields)
}
