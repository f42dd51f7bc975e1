//! What single values mean: words, numbers, durations, sizes, networks.

use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use toml::de::DeValue;

use super::{
    fault::{Quote, Refusal},
    written::Value,
};
use crate::options::TimeOfDay;

/// Switches a limit off, where that is possible.
const NONE: &str = "none";

/// The longest duration. Far beyond any use, and far from where adding it to a clock overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `true` or `false`; in quotes too, since a variable can only stand there.
pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Refusal> {
    if let DeValue::Boolean(boolean) = value.written.get_ref() {
        return Ok(*boolean);
    }
    if !value.is_text() {
        return Err(value.must_be("true or false"));
    }
    let text = value.text()?;
    text.parse().map_err(|_| Refusal::new(format!("must be true or false (is {text:?})")))
}

/// A whole number from 1 to `most`; in quotes too, since a variable can only stand there.
pub(super) fn count<T: TryFrom<u64>>(most: u64) -> impl Fn(&Value<'_>) -> Result<T, Refusal> {
    move |value| {
        let number = whole(value)?;
        if number < 1 {
            return Err(Refusal::new(format!("must be at least 1 (is {number})")));
        }
        let fitting = u64::try_from(number).ok().filter(|number| *number <= most);
        fitting
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| Refusal::new(format!("must be at most {most} (is {number})")))
    }
}

/// The same, with `"none"` for no limit.
pub(super) fn count_or_none<T: TryFrom<u64>>(most: u64) -> impl Fn(&Value<'_>) -> Result<Option<T>, Refusal> {
    move |value| if is_none(value) { Ok(None) } else { count(most)(value).map(Some) }
}

/// A duration with units, longer than nothing: `"10s"`, `"1m30s"`.
pub(super) fn duration(value: &Value<'_>) -> Result<Duration, Refusal> {
    if let DeValue::Integer(number) = value.written.get_ref() {
        return Err(Refusal::new(format!("must be a duration with its unit (is {number})"))
            .suggest(format!("\"{number}s\"")));
    }
    let text = value.text()?;
    let duration = humantime::parse_duration(&text).map_err(|_| {
        let refusal = Refusal::new(format!("not a duration: {text:?}"));
        let without_unit = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
        if without_unit { refusal.suggest(format!("\"{text}s\"")) } else { refusal }
    })?;
    if duration.is_zero() {
        return Err(Refusal::new(format!("must be longer than nothing (is {text:?})")));
    }
    if duration > LONGEST {
        return Err(Refusal::new(format!("must be at most 365 days (is {text:?})")));
    }
    Ok(duration)
}

/// The same, with `"none"` for no limit.
pub(super) fn duration_or_none(value: &Value<'_>) -> Result<Option<Duration>, Refusal> {
    if is_none(value) { Ok(None) } else { duration(value).map(Some) }
}

/// A time of day: `"03:00"`.
pub(super) fn time_of_day(value: &Value<'_>) -> Result<TimeOfDay, Refusal> {
    let text = value.text()?;
    text.parse().map_err(|error| Refusal::new(format!("{error} (is {text:?})")))
}

/// A size in bytes, or `"none"` for no limit: `"30MB"` is 30,000,000 bytes, `"30MiB"` 31,457,280.
pub(super) fn size_or_none(value: &Value<'_>) -> Result<Option<u64>, Refusal> {
    if is_none(value) {
        return Ok(None);
    }
    if let DeValue::Integer(_) = value.written.get_ref() {
        return count(i64::MAX.unsigned_abs())(value).map(Some);
    }
    let text = value.text()?;
    let ByteSize(size) =
        text.trim().parse().map_err(|_| Refusal::new(format!("not a size, as \"30MB\" is: {text:?}")))?;
    match size {
        0 => Err(Refusal::new(format!("must be at least 1 byte (is {text:?})")).suggest("\"none\"")),
        size if i64::try_from(size).is_err() => {
            Err(Refusal::new(format!("must be less than 8EiB (is {text:?})")).suggest("\"none\""))
        }
        size => Ok(Some(size)),
    }
}

/// One of `words`, upper and lower case being the same.
pub(super) fn one_of<T: Clone>(words: &[(&'static str, T)]) -> impl Fn(&Value<'_>) -> Result<T, Refusal> {
    move |value| {
        let text = value.text()?;
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        found.map(|(_, meaning)| meaning.clone()).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            Refusal::new(format!("must be {} (is {text:?})", alternatives(&words))).suggest_nearest(
                &text,
                &words,
                Quote::Value,
            )
        })
    }
}

/// A network, or one address: `"10.0.0.0/8"`, `"::1"`.
pub(super) fn network(value: &Value<'_>) -> Result<IpNet, Refusal> {
    let text = value.text()?;
    if let Ok(address) = text.parse() {
        return Ok(IpNet::new_assert(address, if text.contains(':') { 128 } else { 32 }));
    }
    let network: IpNet =
        text.parse().map_err(|_| Refusal::new(format!("not a network, as \"10.0.0.0/8\" is: {text:?}")))?;
    if network.trunc() != network {
        // Whoever wrote this meant either one address or the whole network, and trust is not for guessing.
        return Err(Refusal::new(format!("has address bits behind its prefix (is {text:?})"))
            .suggest(format!("\"{}\"", network.trunc())));
    }
    Ok(network)
}

/// `a`, `a or b`, `a, b or c`, in quotes.
pub(super) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn whole(value: &Value<'_>) -> Result<i64, Refusal> {
    if let DeValue::Integer(number) = value.written.get_ref() {
        return i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| Refusal::new(format!("is too large a number (is {number})")));
    }
    if !value.is_text() {
        return Err(value.must_be("a whole number"));
    }
    let text = value.text()?;
    text.trim().parse().map_err(|_| Refusal::new(format!("must be a whole number (is {text:?})")))
}

fn is_none(value: &Value<'_>) -> bool {
    value.text().is_ok_and(|text| text.eq_ignore_ascii_case(NONE))
}
