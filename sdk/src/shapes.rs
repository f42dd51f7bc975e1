//! Header maps that were made before.
//!
//! A client sends the same fields in the same order, request after request. Cloning the map of an earlier request and
//! writing the new values into it saves hashing and probing for each field.
//!
//! In: the numbers of a request's field names. Out: a map with these names, and placeholders for values.
//! Never: keeps a value of a request; grows.

use std::sync::OnceLock;

use cohost_abi::Header;
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

impl Shape {
    fn is_of(&self, fields: &[Header]) -> bool {
        self.numbers.len() == fields.len()
            && self.numbers.iter().zip(fields).all(|(number, field)| *number == field.name_id)
    }
}

impl Shapes {
    pub(crate) fn new() -> Self {
        Self([const { OnceLock::new() }; SLOTS])
    }

    /// A map with these fields, in their order; the values are to be written.
    pub(crate) fn find(&self, fields: &[Header]) -> Option<HeaderMap> {
        let shape = self.slot(fields).get()?;
        shape.is_of(fields).then(|| shape.map.clone())
    }

    /// Keeps the shape of `map`, which was made of `fields`, if it has one and its slot is free.
    pub(crate) fn keep(&self, fields: &[Header], map: &HeaderMap) {
        let slot = self.slot(fields);
        if slot.get().is_some() {
            return;
        }
        // A name without a number has no shape, nor has one that comes twice: then the map is shorter. And a map says
        // nothing of its order; what is kept is what has been seen.
        let is_field = |(name, field): (_, &Header)| names::by_number(field.name_id) == Some(name);
        if map.keys_len() != fields.len() || !map.keys().zip(fields).all(is_field) {
            return;
        }
        let mut map = map.clone();
        map.values_mut().for_each(|value| *value = HeaderValue::from_static(""));
        let numbers = fields.iter().map(|field| field.name_id).collect();
        // An error: another thread was quicker.
        let _ = slot.set(Shape { numbers, map });
    }

    fn slot(&self, fields: &[Header]) -> &OnceLock<Shape> {
        let mix =
            |hash: u64, field: &Header| (hash.rotate_left(5) ^ u64::from(field.name_id)).wrapping_mul(MIX);
        &self.0[(fields.iter().fold(0, mix) >> (u64::BITS - SLOTS.ilog2())) as usize]
    }
}

/// Spreads over all bits; the highest ones are the best.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use std::ptr;

    use cohost_abi::header_id;
    use http::HeaderName;

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

        shapes.keep(&fields(&numbers), &map(&numbers));

        let found = shapes.find(&fields(&numbers)).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), [&http::header::HOST, &http::header::ACCEPT]);
        assert!(found.values().all(HeaderValue::is_empty));
    }

    #[test]
    fn another_order_is_another_shape() {
        let shapes = Shapes::new();
        let numbers = [header_id::HOST, header_id::ACCEPT];

        shapes.keep(&fields(&numbers), &map(&numbers));

        assert!(shapes.find(&fields(&[header_id::ACCEPT, header_id::HOST])).is_none());
        assert!(shapes.find(&fields(&[header_id::HOST])).is_none());
    }

    #[test]
    fn repeated_and_unknown_fields_have_no_shape() {
        let shapes = Shapes::new();
        let repeated = [header_id::COOKIE, header_id::COOKIE];
        let own = HeaderMap::from_iter([(HeaderName::from_static("x-own"), HeaderValue::from_static("1"))]);

        let mut map = map(&repeated[..1]);
        map.append(http::header::COOKIE, HeaderValue::from_static("secret"));
        shapes.keep(&fields(&repeated), &map);
        for number in [header_id::NONE, u16::MAX] {
            shapes.keep(&fields(&[number]), &own);
            assert!(shapes.find(&fields(&[number])).is_none());
        }

        assert!(shapes.find(&fields(&repeated)).is_none());
    }
}
