//! Lists in fields, entry by entry, from the right.
//!
//! Nothing is said of what stands to the left of the entries that are asked for: it is not looked at. So what a client
//! has begun cannot spoil what a proxy has added to it, and a long list costs no more than its end.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

/// The entries of a list without quotes, such as `X-Forwarded-For`.
pub(super) fn entries<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = fields.get_all(name).into_iter().rev();
    values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// One element of `Forwarded`, as far as it is of use.
#[derive(Debug, Default)]
pub(super) struct Element<'a> {
    pub(super) node: Option<Cow<'a, [u8]>>,
    pub(super) proto: Option<Cow<'a, [u8]>>,
    pub(super) host: Option<Cow<'a, [u8]>>,
}

/// The elements of `Forwarded`. One that is malformed is empty.
pub(super) fn elements<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Element<'a>> {
    let values = fields.get_all(name).into_iter().rev();
    values.flat_map(|value| pieces(value.as_bytes(), b',')).map(|element| {
        let mut pairs = pieces(element, b';');
        pairs.try_fold(Element::default(), Element::with).unwrap_or_default()
    })
}

impl<'a> Element<'a> {
    /// `None`: the pair is malformed, or says what another one has said.
    fn with(mut self, pair: &'a [u8]) -> Option<Self> {
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            return Some(self);
        }
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], unquoted(&pair[equals + 1..])?);
        let place = match name.to_ascii_lowercase().as_slice() {
            b"for" => &mut self.node,
            b"proto" => &mut self.proto,
            b"host" => &mut self.host,
            _ => return Some(self),
        };
        place.replace(value).is_none().then_some(self)
    }
}

/// What `separator` separates outside of quotes, from the right.
fn pieces(list: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut left = Some(list);
    std::iter::from_fn(move || {
        let whole = left?;
        let at = last_outside(whole, separator);
        left = at.map(|at| &whole[..at]);
        Some(&whole[at.map_or(0, |at| at + 1)..])
    })
}

fn last_outside(list: &[u8], separator: u8) -> Option<usize> {
    let mut quoted = false;
    (0..list.len()).rev().find(|at| {
        let byte = list[*at];
        if byte == b'"' && !is_escaped(&list[..*at]) {
            quoted = !quoted;
        }
        byte == separator && !quoted
    })
}

/// Whether what stands behind this is escaped: there is an odd number of backslashes before it.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// A token, or the text inside of quotes.
fn unquoted(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(inside) = value.strip_prefix(b"\"") else {
        let plain = !value.is_empty() && !value.iter().any(|byte| b"\" \t".contains(byte));
        return plain.then_some(Cow::Borrowed(value));
    };
    let inside = inside.strip_suffix(b"\"")?;
    if is_escaped(inside) {
        return None;
    }
    if !inside.contains(&b'\\') {
        return Some(Cow::Borrowed(inside));
    }
    let mut text = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        text.push(if *byte == b'\\' { *bytes.next()? } else { *byte });
    }
    Some(Cow::Owned(text))
}
