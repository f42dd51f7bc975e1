//! Header maps that were made before.
//!
//! A client sends the same fields in the same order, request after request. Cloning the map of an earlier request and
//! writing the new values into it saves hashing and probing for each field.
//!
//! In: the numbers of a request's field names. Out: a map with these names, and placeholders for values.
//! Never: keeps a value of a request; grows.

use std::sync::OnceLock;

use cohost_abi::{HEADER_NAMES, Header};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use crate::names;

/// Enough for the kinds of clients of one application. A client that sends every order there is fills them for nothing,
/// and then everybody's maps are made anew: slower, not wrong.
const SLOTS: usize = 64;

/// The shapes of one instance; each slot is written once.
pub(crate) struct Shapes([OnceLock<Shape>; SLOTS]);

struct Shape {
    numbers: Numbers,
    map: HeaderMap,
}

type Numbers = SmallVec<[u16; 32]>;

/// Which fields, in which order. Only for fields that all have a number, and no two the same: then the map has the
/// order of the fields.
pub(crate) struct Key {
    numbers: Numbers,
    slot: usize,
}

impl Key {
    /// `None` for fields that have no shape.
    pub(crate) fn of(fields: &[Header]) -> Option<Self> {
        const { assert!(HEADER_NAMES.len() < u128::BITS as usize, "a bit for each number") };
        let mut seen = 0_u128;
        let mut hash = 0_u64;
        let mut numbers = Numbers::new();
        for field in fields {
            names::by_number(field.name_id)?;
            let bit = 1 << field.name_id;
            if seen & bit != 0 {
                return None;
            }
            seen |= bit;
            hash = (hash.rotate_left(5) ^ u64::from(field.name_id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            numbers.push(field.name_id);
        }
        Some(Self { numbers, slot: (hash >> 58) as usize })
    }
}

impl Shapes {
    pub(crate) fn new() -> Self {
        Self([const { OnceLock::new() }; SLOTS])
    }

    /// A map with these fields, in their order; the values are to be written.
    pub(crate) fn find(&self, key: &Key) -> Option<HeaderMap> {
        let shape = self.0[key.slot].get()?;
        (shape.numbers == key.numbers).then(|| shape.map.clone())
    }

    /// Keeps the shape of `map`, which was made for `key`, if its slot is free.
    pub(crate) fn keep(&self, key: Key, map: &HeaderMap) {
        let slot = &self.0[key.slot];
        if slot.get().is_some() {
            return;
        }
        // A map says nothing of its order; what is kept is what has been seen.
        if !map.keys().zip(&key.numbers).all(|(name, number)| names::by_number(*number) == Some(name)) {
            return;
        }
        let mut map = map.clone();
        map.values_mut().for_each(|value| *value = HeaderValue::from_static(""));
        // An error: another thread was quicker.
        let _ = slot.set(Shape { numbers: key.numbers, map });
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use cohost_abi::header_id;

    use super::*;

    fn fields(numbers: &[u16]) -> Vec<Header> {
        let field = |number: &u16| Header {
            name: ptr::null(),
            value: ptr::null(),
            name_len: 0,
            value_len: 0,
            name_id: *number,
            flags: 0,
            reserved: 0,
        };
        numbers.iter().map(field).collect()
    }

    fn map(numbers: &[u16]) -> HeaderMap {
        let name = |number: &u16| names::by_number(*number).unwrap().clone();
        numbers.iter().map(|number| (name(number), HeaderValue::from_static("secret"))).collect()
    }

    #[test]
    fn a_shape_that_was_kept_is_found_without_its_values() {
        let shapes = Shapes::new();
        let numbers = [header_id::HOST, header_id::ACCEPT];

        shapes.keep(Key::of(&fields(&numbers)).unwrap(), &map(&numbers));

        let found = shapes.find(&Key::of(&fields(&numbers)).unwrap()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), [&http::header::HOST, &http::header::ACCEPT]);
        assert!(found.values().all(HeaderValue::is_empty));
    }

    #[test]
    fn another_order_is_another_shape() {
        let shapes = Shapes::new();
        let numbers = [header_id::HOST, header_id::ACCEPT];

        shapes.keep(Key::of(&fields(&numbers)).unwrap(), &map(&numbers));

        assert!(shapes.find(&Key::of(&fields(&[header_id::ACCEPT, header_id::HOST])).unwrap()).is_none());
    }

    #[test]
    fn repeated_and_unknown_fields_have_no_shape() {
        assert!(Key::of(&fields(&[header_id::COOKIE, header_id::COOKIE])).is_none());
        assert!(Key::of(&fields(&[header_id::NONE])).is_none());
        assert!(Key::of(&fields(&[u16::MAX])).is_none());
    }
}
