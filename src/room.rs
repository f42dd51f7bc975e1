//! Emptied maps of requests that are over, with room for what the next one needs: making that room anew costs more than
//! the call into a small application.
//!
//! In: maps that nobody needs any more. Out: empty ones. Never: keeps what was in them, or more than a few a thread.

use std::{cell::RefCell, thread::LocalKey};

use http::{Extensions, HeaderMap};

/// Maps of a kind that one thread keeps; who has more requests at a time makes room anew.
const MOST: usize = 64;

/// Fields a map may have room for and be kept: a client that sends many is not to hold memory for ever.
const LARGEST: usize = 64;

type Kept<T> = RefCell<Vec<T>>;

thread_local! {
    static EXTENSIONS: Kept<Extensions> = const { RefCell::new(Vec::new()) };
    static FIELDS: Kept<HeaderMap> = const { RefCell::new(Vec::new()) };
}

/// Empty extensions; `None` when none were kept.
#[cfg(feature = "server")]
pub(crate) fn extensions() -> Option<Extensions> {
    take(&EXTENSIONS)
}

/// A map without fields.
pub(crate) fn fields() -> HeaderMap {
    take(&FIELDS).unwrap_or_default()
}

/// Keeps the room of extensions.
pub(crate) fn keep_extensions(mut extensions: Extensions) {
    // What is dropped here may be anybody's, so not while the list is borrowed.
    extensions.clear();
    keep(&EXTENSIONS, extensions);
}

/// Keeps the room of fields.
pub(crate) fn keep_fields(mut fields: HeaderMap) {
    if (1..=LARGEST).contains(&fields.capacity()) {
        fields.clear();
        keep(&FIELDS, fields);
    }
}

fn take<T>(kept: &'static LocalKey<Kept<T>>) -> Option<T> {
    kept.try_with(|kept| kept.try_borrow_mut().ok()?.pop()).ok().flatten()
}

fn keep<T>(kept: &'static LocalKey<Kept<T>>, emptied: T) {
    // A thread that is ending keeps nothing.
    let _ = kept.try_with(|kept| match kept.try_borrow_mut() {
        Ok(mut kept) if kept.len() < MOST => kept.push(emptied),
        _ => {}
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_empty_and_small() {
        let mut map = HeaderMap::with_capacity(8);
        map.insert("x-secret", http::HeaderValue::from_static("1"));
        let room = map.capacity();
        keep_fields(map);
        let kept = fields();
        assert!(kept.is_empty());
        assert_eq!(kept.capacity(), room);
        keep_fields(HeaderMap::with_capacity(1000));
        assert_eq!(fields().capacity(), 0);
    }

    #[test]
    fn a_thread_keeps_a_few() {
        for _ in 0..2 * MOST {
            keep_fields(HeaderMap::with_capacity(1));
        }
        assert_eq!(FIELDS.with_borrow(Vec::len), MOST);
    }
}
