//! `[site.compression]`: which answers are compressed, and whether bodies of requests are unpacked.

use super::super::{
    fault::Refusal,
    keys,
    values::{boolean, one_of, size_or_none},
    written::{Section, Value},
};
use crate::front::{Algorithm, Compression, Level, MediaTypes};

pub(super) fn read(section: &Section<'_>) -> Option<Compression> {
    let section = super::table(section, "compression", &keys::COMPRESSION)?;
    let mut compression = Compression::default();
    let algorithms = Algorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm));
    if let Some(algorithms) = section.read_each("algorithms", one_of(&algorithms)) {
        compression.algorithms = algorithms.into_iter().map(|(algorithm, _)| algorithm).collect();
    }
    if let Some(types) = section.read_each("types", media_types) {
        compression.types = types.into_iter().map(|(types, _)| types).collect();
    }
    section.set(&mut compression.min_size, "min_size", |value| Ok(size_or_none(value)?.unwrap_or_default()));
    section.set(&mut compression.level, "level", one_of(&LEVELS));
    section.set(&mut compression.decompress, "decompress", boolean);
    Some(compression)
}

fn media_types(value: &Value<'_>) -> Result<MediaTypes, Refusal> {
    let text = value.text()?;
    text.parse().map_err(|error| Refusal::new(format!("{error} (is {text:?})")))
}

const LEVELS: [(&str, Level); 3] =
    [("fast", Level::Fast), ("balanced", Level::Balanced), ("best", Level::Best)];
