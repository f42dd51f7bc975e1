//! `[site.headers]`: fields that answers have, or have not.

use http::{HeaderName, HeaderValue};

use super::super::{
    fault::Refusal,
    keys,
    values::boolean,
    written::{Section, Value},
};
use crate::front::Headers;

pub(super) fn read(section: &Section<'_>) -> Option<Headers> {
    let section = super::table(section, "headers", &keys::HEADERS)?;
    let names = section.read_each("remove", |value| name(&value.text()?)).unwrap_or_default();
    Some(Headers {
        remove: names.into_iter().map(|(name, _)| name).collect(),
        set: fields(&section, "set", |value| Ok(vec![*value])),
        append: fields(&section, "append", one_or_more),
        security: section.read("security", boolean).unwrap_or_default(),
    })
}

/// The fields of a table of names and values.
fn fields<'a>(
    section: &Section<'a>,
    key: &'static str,
    values: fn(&Value<'a>) -> Result<Vec<Value<'a>>, Refusal>,
) -> Vec<(HeaderName, HeaderValue)> {
    let Some(table) = section.read(key, Value::table) else { return Vec::new() };
    let mut fields = Vec::new();
    for (written, value) in table {
        let key = format!("{key}.{}", written.get_ref());
        let value = Value { reading: section.reading, written: value };
        let name = name(written.get_ref()).map_err(|refusal| section.refuse(&key, &written.span(), refusal));
        let values = values(&value).map_err(|refusal| section.refuse(&key, &value.at(), refusal));
        let (Ok(name), Ok(values)) = (name, values) else { continue };
        for value in values {
            match field_value(&value) {
                Ok(read) => fields.push((name.clone(), read)),
                Err(refusal) => section.refuse(&key, &value.at(), refusal),
            }
        }
    }
    fields
}

fn one_or_more<'a>(value: &Value<'a>) -> Result<Vec<Value<'a>>, Refusal> {
    if value.is_text() { Ok(vec![*value]) } else { value.list() }
}

/// The name of a field that is anybody's to change.
pub(super) fn name(text: &str) -> Result<HeaderName, Refusal> {
    let name: HeaderName = text
        .parse()
        .map_err(|_| Refusal::new(format!("not the name of a field, as \"X-Frame-Options\" is: {text:?}")))?;
    if FRAMING.contains(&name.as_str()) {
        return Err(Refusal::new(format!("{text} says how an answer is sent, which is the host's to say")));
    }
    Ok(name)
}

fn field_value(value: &Value<'_>) -> Result<HeaderValue, Refusal> {
    let text = value.text()?;
    HeaderValue::from_str(&text)
        .map_err(|_| Refusal::new(format!("must not contain control characters (is {text:?})")))
}

/// Fields without which an answer cannot be told from the next.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
