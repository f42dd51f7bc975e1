//! What stages remember from one configuration to the next, where both want the same in the same place: counts, the
//! passwords that were right, files in memory, connections.
//!
//! Never: keeps anything that no stage uses any more.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// What is remembered. Clones are the same.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<Entry>>>);

struct Entry {
    place: Box<str>,
    /// What was wanted there.
    wanted: Box<dyn Any + Send>,
    // Gone with the last stage that uses it.
    memory: Weak<dyn Any + Send + Sync>,
}

impl Kept {
    /// What there is at `place` for `wanted`: what was there before, if that was wanted there, or what `make` makes.
    pub(super) fn at<W, M>(&self, place: &str, wanted: &W, make: impl FnOnce() -> M) -> Arc<M>
    where
        W: Any + Clone + PartialEq + Send,
        M: Any + Send + Sync,
    {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.memory.strong_count() > 0);
        let is_same =
            |entry: &&Entry| &*entry.place == place && entry.wanted.downcast_ref::<W>() == Some(wanted);
        let same = entries.iter().filter(is_same).find_map(|entry| entry.memory.upgrade()?.downcast().ok());
        same.unwrap_or_else(|| {
            let made: Arc<M> = Arc::new(make());
            let memory: Arc<dyn Any + Send + Sync> = made.clone();
            let memory = Arc::downgrade(&memory);
            entries.push(Entry { place: place.into(), wanted: Box::new(wanted.clone()), memory });
            made
        })
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_outlives_a_configuration_only_where_the_next_one_wants_the_same() {
        let kept = Kept::default();
        let at = |place: &str, wanted: u8| kept.at(place, &wanted, || Mutex::new(wanted));
        let first = at("a", 1);
        assert!(Arc::ptr_eq(&first, &at("a", 1)));
        assert!(!Arc::ptr_eq(&first, &at("b", 1)));
        assert!(!Arc::ptr_eq(&first, &at("a", 2)));
        // Another stage may want what looks the same.
        assert_eq!(*kept.at("a", &1_u8, || "other"), "other");
        drop(first);
        let _other = at("b", 1);
        assert_eq!(kept.0.lock().unwrap().len(), 1);
    }
}
