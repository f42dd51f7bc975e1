//! How many may wait for something.
//!
//! In: somebody who wants to wait. Out: a place, until it is dropped; or none. Never: keeps an order, or wakes anybody.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// So many places, and no more.
#[derive(Debug)]
pub(crate) struct Queue {
    most: usize,
    waiting: AtomicUsize,
}

/// A place. Dropping it makes room for somebody else.
#[derive(Debug)]
pub(crate) struct Place(Arc<Queue>);

impl Queue {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, waiting: AtomicUsize::new(0) })
    }

    /// How many places there are.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many have one.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// `None` if all are taken.
    pub(crate) fn place(self: &Arc<Self>) -> Option<Place> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        // Made at once, so that it is given back also where it is too much.
        let place = Place(Arc::clone(self));
        (before < self.most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_was_given_back() {
        let queue = Queue::new(1);
        let place = queue.place();
        assert!(place.is_some() && queue.place().is_none());
        assert_eq!(queue.waiting(), 1);
        drop(place);
        assert!(queue.place().is_some());
        assert!(Queue::new(0).place().is_none());
    }
}
