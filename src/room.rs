//! What requests that are over leave behind for the next ones: making it anew costs more than the call into a small
//! application.
//!
//! In: what nobody needs any more. Out: the same, for another. Never: keeps more than a few a thread.

use std::cell::RefCell;

use http::HeaderMap;

/// Things that one thread keeps; who has more requests at a time makes them anew.
pub(crate) struct Room<T>(RefCell<Vec<T>>);

impl<T> Room<T> {
    /// How many there are at most.
    const MOST: usize = 64;

    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.0.try_borrow_mut().ok()?.pop()
    }

    /// What it was must be gone from it before: this drops nothing but what is too much.
    pub(crate) fn keep(&self, thing: T) {
        if let Ok(mut kept) = self.0.try_borrow_mut()
            && kept.len() < Self::MOST
        {
            kept.push(thing);
        }
    }
}

/// Fields a map may have room for and be kept: a client that sends many is not to hold memory for ever.
const LARGEST: usize = 64;

thread_local! {
    static FIELDS: Room<HeaderMap> = const { Room::new() };
}

/// A map without fields.
pub(crate) fn fields() -> HeaderMap {
    FIELDS.try_with(Room::take).ok().flatten().unwrap_or_default()
}

/// Empties a map and keeps it.
pub(crate) fn keep_fields(mut fields: HeaderMap) {
    if (1..=LARGEST).contains(&fields.capacity()) {
        fields.clear();
        // A thread that is ending keeps nothing.
        let _ = FIELDS.try_with(|kept| kept.keep(fields));
    }
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
        let room = Room::new();
        for thing in 0..1000 {
            room.keep(thing);
        }
        assert_eq!(std::iter::from_fn(|| room.take()).count(), Room::<i32>::MOST);
    }
}
