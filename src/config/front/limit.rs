//! `[[site.limit]]`: how many requests clients may make.

use std::{num::NonZeroU32, time::Duration};

use super::super::{
    fault::Refusal,
    keys,
    values::count,
    written::{Section, Value},
};
use crate::front::{Key, Limit, Rate};

/// All of them.
pub(super) fn read(section: &Section<'_>) -> Vec<Limit> {
    let tables = section.tables("limit").into_iter().enumerate();
    let limits = tables.filter_map(|(place, (table, at))| {
        let name = format!("{}.limit[{}]", section.name, place + 1);
        one(&Section::new(section.reading, name, at, table, &keys::LIMIT))
    });
    limits.collect()
}

fn one(section: &Section<'_>) -> Option<Limit> {
    if section.value("rate").is_none() && section.value("concurrent").is_none() {
        let refusal =
            Refusal::new("is missing; say how many requests, as rate = \"100/s\", or concurrent = 10");
        section.refuse("rate", &section.at, refusal);
    }
    let rate = section.read("rate", rate);
    let burst = section.read("burst", |value| match section.value("rate") {
        Some(_) => count::<u32>(MOST)(value),
        None => Err(Refusal::new("has no effect without rate; leave it out")),
    });
    Some(Limit {
        key: section.read("key", key).unwrap_or(Key::Client),
        rate: rate.map(|rate| Rate { burst: burst.and_then(NonZeroU32::new).unwrap_or(rate.burst), ..rate }),
        concurrent: section.read("concurrent", count::<usize>(MOST)).and_then(|most| most.try_into().ok()),
        enforcement: super::enforcement(section),
    })
}

fn key(value: &Value<'_>) -> Result<Key, Refusal> {
    let text = value.text()?;
    match text.split_once(':') {
        None if text.eq_ignore_ascii_case("client") => Ok(Key::Client),
        None if text.eq_ignore_ascii_case("authority") => Ok(Key::Authority),
        Some((kind, name)) if kind.eq_ignore_ascii_case("header") => name
            .parse()
            .map(Key::Field)
            .map_err(|_| Refusal::new(format!("not the name of a field: {name:?}"))),
        _ => Err(Refusal::new(format!(
            "must be \"client\", \"authority\" or \"header:\" and the name of a field (is {text:?})"
        ))),
    }
}

fn rate(value: &Value<'_>) -> Result<Rate, Refusal> {
    if !value.is_text() {
        return Err(value.must_be("a rate, as \"100/s\""));
    }
    rate_of(&value.text()?)
}

/// `100/s`, `10/1m30s`.
fn rate_of(text: &str) -> Result<Rate, Refusal> {
    let none = || Refusal::new(format!("not a rate, as \"100/s\" or \"10/1m\" are: {text:?}"));
    let (requests, per) = text.split_once('/').ok_or_else(none)?;
    let (requests, per) = (requests.trim(), per.trim());
    let requests: NonZeroU32 = requests.parse().map_err(|_| none())?;
    // A unit alone is one of it.
    let one = if per.starts_with(|first: char| first.is_ascii_digit()) { "" } else { "1" };
    let per = humantime::parse_duration(&format!("{one}{per}")).map_err(|_| none())?;
    if per > LONGEST || per < Duration::from_micros(requests.get().into()) {
        return Err(Refusal::new(format!(
            "must be at most 1000000 a second, and in 365 days at the longest (is {text:?})"
        )));
    }
    Ok(Rate { requests, per, burst: requests })
}

const MOST: u64 = 1_000_000_000;

const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_is_requests_in_a_time() {
        let read = |text: &str| rate_of(text).ok().map(|rate| (rate.requests.get(), rate.per.as_secs()));
        for (text, meaning) in [
            ("100/s", (100, 1)),
            ("100/1s", (100, 1)),
            ("10 / 1m", (10, 60)),
            ("1/1h30m", (1, 5400)),
            ("7/day", (7, 86400)),
            ("5/min", (5, 60)),
        ] {
            assert_eq!(read(text), Some(meaning), "{text}");
        }
        for text in [
            "",
            "100",
            "/s",
            "100/",
            "0/s",
            "-1/s",
            "1/0s",
            "1.5/s",
            "1/s/s",
            "2000000/s",
            "1/400days",
            "1/ s x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_rate_or_refused(text in "[0-9]{0,12} ?/? ?[0-9]{0,20}[smhd ]{0,3}[smhd0-9]{0,4}") {
            if let Ok(rate) = rate_of(&text) {
                prop_assert!(rate.interval() >= Duration::from_micros(1), "{:?}", rate);
                prop_assert_eq!(rate.burst, rate.requests);
            }
        }

        #[test]
        fn what_is_written_as_a_rate_is_read_as_that(requests in 1..1_000_000_u32, seconds in 1..31_536_000_u64) {
            let rate = rate_of(&format!("{requests}/{seconds}s")).map_err(|refusal| refusal.message).unwrap();
            prop_assert_eq!((rate.requests.get(), rate.per.as_secs()), (requests, seconds));
        }
    }
}
