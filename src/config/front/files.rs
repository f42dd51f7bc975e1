//! `[site.static]`: files that are sent as they are.

use std::path::PathBuf;

use super::super::{
    fault::Refusal,
    keys,
    written::{Section, Value},
};
use crate::front::Files;

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
    if let Some(names) = section.read_each("default_documents", name) {
        files.default_documents = names.into_iter().map(|(name, _)| name).collect();
    }
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
