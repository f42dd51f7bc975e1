//! Which bytes of a file a `Range` field asks for: RFC 9110, section 14.
//!
//! In: the field, and how many bytes there are. Out: parts that are there. Never: more bytes than there are in all, however
//! often somebody asks for them.

use std::ops::Range;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: what a field asks for that is none, or that asks for too much.
    Whole,
    /// These, in the order of the field; at least one.
    Parts(Vec<Range<u64>>),
    /// Only what is not there.
    Nothing,
}

/// What `field` asks for, of `length` bytes.
pub(crate) fn wanted(field: &[u8], length: u64) -> Wanted {
    let Some((unit, set)) = field.split_at_checked(UNIT.len()) else { return Wanted::Whole };
    if !unit.eq_ignore_ascii_case(UNIT) {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    let mut count = 0;
    for part in set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|part| !part.is_empty()) {
        count += 1;
        match one(part, length) {
            Some(part) if count <= MOST_PARTS => parts.extend(part),
            _ => return Wanted::Whole,
        }
    }
    // Parts that overlap so far are not worth sending one by one, and somebody may want the load rather than the bytes.
    let asked = parts.iter().map(|part| part.end - part.start).fold(0, u64::saturating_add);
    match (count, parts.is_empty()) {
        (0, _) => Wanted::Whole,
        (_, true) => Wanted::Nothing,
        _ if asked > length => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

/// One part; `Some(None)` if nothing of it is there, `None` if it is none.
fn one(part: &[u8], length: u64) -> Option<Option<Range<u64>>> {
    let dash = part.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&part[..dash], &part[dash + 1..]);
    let range = match (first, last) {
        ([], last) => length.saturating_sub(number(last)?)..length,
        (first, []) => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some((range.start < range.end).then_some(range))
}

/// Digits only. A number that is too large for any file is as good as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

const UNIT: &[u8] = b"bytes=";

/// More than any player or downloader asks for at once.
const MOST_PARTS: usize = 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(field: &str) -> Vec<Range<u64>> {
        match wanted(field.as_bytes(), 10) {
            Wanted::Parts(parts) => parts,
            other => panic!("{field}: {other:?}"),
        }
    }

    #[test]
    fn what_is_there_is_given() {
        for (field, part) in [
            ("bytes=0-", 0..10),
            ("bytes=2-4", 2..5),
            ("bytes=9-9", 9..10),
            ("bytes=2-100", 2..10),
            ("bytes=-3", 7..10),
            ("bytes=-100", 0..10),
            ("Bytes= 2-4 ,", 2..5),
            ("bytes=0-18446744073709551615", 0..10),
            ("bytes=0-99999999999999999999999", 0..10),
            ("bytes=20-30, 1-1", 1..2),
        ] {
            assert_eq!(parts(field), [part], "{field}");
        }
        assert_eq!(parts("bytes=0-0,-1"), [0..1, 9..10]);
        assert_eq!(parts("bytes=5-6,0-1"), [5..7, 0..2]);
    }

    #[test]
    fn what_is_no_range_asks_for_all() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=5-2",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "lines=0-1",
            "bytes=0-1,x",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes 0-1",
        ] {
            assert_eq!(wanted(field.as_bytes(), 10), Wanted::Whole, "{field}");
        }
    }

    #[test]
    fn too_much_is_answered_with_all_of_it_once() {
        let many = |part: &str, count| format!("bytes={}", vec![part; count].join(","));
        assert_eq!(wanted(many("0-0", 21).as_bytes(), 1000), Wanted::Whole);
        assert_eq!(wanted(many("0-0", 1000).as_bytes(), 1000), Wanted::Whole);
        assert_eq!(wanted(many("0-", 2).as_bytes(), 1000), Wanted::Whole);
        assert_eq!(wanted(many("5-", 200).as_bytes(), 3), Wanted::Whole);
        assert!(
            matches!(wanted(many("0-0", 20).as_bytes(), 1000), Wanted::Parts(parts) if parts.len() == 20)
        );
    }

    #[test]
    fn what_is_not_there_cannot_be_had() {
        for field in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=20-,30-40"] {
            assert_eq!(wanted(field.as_bytes(), 10), Wanted::Nothing, "{field}");
        }
        assert_eq!(wanted(b"bytes=0-", 0), Wanted::Nothing);
    }

    proptest! {
        #[test]
        fn parts_are_never_more_than_there_is(field in "(bytes=)?([0-9]{0,21}|-|,| ){0,60}", length: u64) {
            if let Wanted::Parts(parts) = wanted(field.as_bytes(), length) {
                prop_assert!(!parts.is_empty() && parts.len() <= MOST_PARTS);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                prop_assert!(parts.iter().map(|part| u128::from(part.end - part.start)).sum::<u128>() <= u128::from(length));
            }
        }
    }
}
