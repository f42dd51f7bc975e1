//! An application's own settings: any TOML, handed to it as JSON.

use serde_json::{Number, Value as Json};
use toml::de::DeValue;

use super::{fault::Refusal, written::Value};

/// The settings as JSON. Text has its variables put in; a date or time becomes text.
///
/// Refused at the place where it stands: a number that JSON cannot hold.
pub(super) fn json(value: &Value<'_>, refuse: &dyn Fn(&Value<'_>, Refusal)) -> Json {
    let inner = |written| Value { reading: value.reading, written };
    match value.written.get_ref() {
        DeValue::Boolean(boolean) => Json::Bool(*boolean),
        DeValue::Datetime(datetime) => Json::String(datetime.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json(&inner(item), refuse)).collect(),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, item)| (key.get_ref().to_string(), json(&inner(item), refuse)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        DeValue::String(_) => scalar(value.text().map(Json::String), value, refuse),
        DeValue::Integer(written) => {
            let number = i64::from_str_radix(written.as_str(), written.radix())
                .map_err(|_| Refusal::new(format!("is too large a number (is {written})")));
            scalar(number.map(Json::from), value, refuse)
        }
        DeValue::Float(written) => {
            let number = written.as_str().parse().ok().and_then(Number::from_f64);
            let refusal =
                || Refusal::new(format!("must be a number that JSON has (is {})", written.as_str()));
            scalar(number.map(Json::Number).ok_or_else(refusal), value, refuse)
        }
    }
}

fn scalar(read: Result<Json, Refusal>, value: &Value<'_>, refuse: &dyn Fn(&Value<'_>, Refusal)) -> Json {
    read.unwrap_or_else(|refusal| {
        refuse(value, refusal);
        Json::Null
    })
}
