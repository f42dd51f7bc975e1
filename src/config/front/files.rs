//! `[site.static]`: files that are sent as they are.

use std::{collections::BTreeMap, path::PathBuf};

use http::HeaderValue;

use super::super::{
    fault::Refusal,
    keys,
    values::{boolean, one_of, size_or_none},
    written::{Section, Value},
};
use crate::front::{Files, Order, Pattern};

/// The table `static` of `section`; or its text, which is the folder alone.
pub(super) fn read(section: &Section<'_>) -> Option<Files> {
    if section.value("static")?.is_text() {
        return section.read("static", folder).map(Files::new);
    }
    let section = super::table(section, "static", &keys::STATIC)?;
    if section.value("root").is_none() {
        section.refuse("root", &section.at, Refusal::new("is missing; say in which folder the files are"));
    }
    let mut files = Files::new(section.read("root", folder)?);
    section.set(
        &mut files.order,
        "order",
        one_of(&[("files", Order::Files), ("application", Order::Application)]),
    );
    if let Some(names) = section.read_each("default_documents", name) {
        files.default_documents = names.into_iter().map(|(name, _)| name).collect();
    }
    files.fallback = section.read("fallback", path);
    section.set(&mut files.precompressed, "precompressed", boolean);
    section.set(&mut files.hidden, "hidden", boolean);
    section.set(&mut files.browse, "browse", boolean);
    section.set(&mut files.memory, "memory", |value| Ok(size_or_none(value)?.unwrap_or_default()));
    section.set(&mut files.types, "types", |value| types(&section, value));
    section.set(&mut files.cache_control, "cache_control", |value| cache_control(&section, value));
    Some(files)
}

fn folder(value: &Value<'_>) -> Result<PathBuf, Refusal> {
    match value.text()? {
        empty if empty.is_empty() => Err(Refusal::new("must be a folder (is empty)")),
        path => Ok(value.reading.resolve(path)),
    }
}

/// The name of a file in whichever folder.
fn name(value: &Value<'_>) -> Result<String, Refusal> {
    match value.text()? {
        name if name.is_empty() || name.contains('/') || name.starts_with('.') => {
            Err(Refusal::new(format!("must be the name of a file, without a path (is {name:?})")))
        }
        name => Ok(name),
    }
}

/// The path of a file, as a request would name it.
fn path(value: &Value<'_>) -> Result<String, Refusal> {
    let path = value.text()?;
    match path.strip_prefix('/') {
        Some(name) if !name.is_empty() && !name.ends_with('/') => Ok(path),
        _ => Err(Refusal::new(format!("must be the path of a file, as \"/index.html\" (is {path:?})"))),
    }
}

fn types(section: &Section<'_>, value: &Value<'_>) -> Result<BTreeMap<String, HeaderValue>, Refusal> {
    let pairs = pairs(section, "types", value)?.into_iter();
    Ok(pairs.map(|(name, value)| (name.trim_start_matches('.').to_ascii_lowercase(), value)).collect())
}

fn cache_control(section: &Section<'_>, value: &Value<'_>) -> Result<Vec<(Pattern, HeaderValue)>, Refusal> {
    let pairs = pairs(section, "cache_control", value)?.into_iter();
    Ok(pairs.map(|(name, value)| (Pattern::new(name), value)).collect())
}

/// Names and what fields say for them, in the order of the file.
fn pairs(section: &Section<'_>, key: &str, value: &Value<'_>) -> Result<Vec<(String, HeaderValue)>, Refusal> {
    let mut written: Vec<_> = value.table()?.iter().collect();
    written.sort_by_key(|(name, _)| name.span().start);
    let mut pairs = Vec::new();
    for (name, written) in written {
        let field = (Value { reading: section.reading, written }).text().and_then(|text| {
            HeaderValue::try_from(&text)
                .map_err(|_| Refusal::new(format!("cannot be the value of a field (is {text:?})")))
        });
        match field {
            Ok(field) => pairs.push((name.get_ref().to_string(), field)),
            Err(refusal) => section.refuse(&format!("{key}.{}", name.get_ref()), &written.span(), refusal),
        }
    }
    Ok(pairs)
}
