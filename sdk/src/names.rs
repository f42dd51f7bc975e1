//! Field names by number, in both directions.
//!
//! In: numbers of the contract, names of responses. Out: the other.
//! Never: parses a name; one that is not found by number or address goes the long way.

use std::sync::LazyLock;

use cohost_abi::{HEADER_NAMES, header_id};
use http::HeaderName;

/// Made once: cloning them is free.
static NAMES: LazyLock<[HeaderName; HEADER_NAMES.len()]> =
    LazyLock::new(|| HEADER_NAMES.map(HeaderName::from_static));

/// Twice as many slots as names, and more.
const SLOTS: usize = 256;

/// Names and numbers by the address of the name's text, which is a constant of the crate `http` for the names it knows.
static NUMBERS: LazyLock<[(&str, u16); SLOTS]> = LazyLock::new(|| {
    let mut numbers = [("", header_id::NONE); SLOTS];
    for (number, name) in (1..).zip(NAMES.iter()) {
        let free = probe(name.as_str()).find(|slot| numbers[*slot].1 == header_id::NONE);
        numbers[free.expect("there are more slots than names")] = (name.as_str(), number);
    }
    numbers
});

/// The name with this number. One above the table is none: a newer host knows more.
pub(crate) fn by_number(number: u16) -> Option<&'static HeaderName> {
    NAMES.get(usize::from(number).checked_sub(1)?)
}

/// The number of a name, where it is found quickly; otherwise the host reads the text.
pub(crate) fn number(name: &HeaderName) -> u16 {
    let (text, numbers) = (name.as_str(), &*NUMBERS);
    for slot in probe(text) {
        let (known, number) = numbers[slot];
        if number == header_id::NONE || std::ptr::eq(known, text) {
            return number;
        }
    }
    header_id::NONE
}

fn probe(text: &str) -> impl Iterator<Item = usize> + use<> {
    // Fibonacci hashing; the highest bits are the best ones.
    let hash = (text.as_ptr().addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    (0..SLOTS).map(move |step| (hash as usize + step) % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_http_knows_have_the_number_of_the_contract() {
        assert_eq!(number(&http::header::CONTENT_TYPE), header_id::CONTENT_TYPE);
        assert_eq!(number(&http::header::SET_COOKIE), header_id::SET_COOKIE);
        assert_eq!(by_number(header_id::ACCEPT), Some(&http::header::ACCEPT));
    }

    #[test]
    fn a_name_of_the_applications_own_has_none() {
        assert_eq!(number(&HeaderName::from_static("x-own")), header_id::NONE);
        assert_eq!(by_number(header_id::NONE), None);
        assert_eq!(by_number(u16::MAX), None);
    }

    #[test]
    fn every_number_is_that_of_its_name() {
        for (name, text) in NAMES.iter().zip(HEADER_NAMES) {
            assert_eq!(name.as_str(), text);
            assert_eq!(by_number(number(name)), Some(name), "{name}");
        }
    }
}
