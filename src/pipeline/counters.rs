//! How many requests each key has made of late, and how many are running.
//!
//! Never: holds more keys than it has room for, or knows what the time is.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indexmap::IndexMap;

use crate::front::Limit;

/// Counts of keys. A key is known by its hash alone, so that it takes the same room however long it is; who chooses keys
/// does not know how they are hashed.
#[derive(Debug, Default)]
pub(super) struct Counters {
    hashes: RandomState,
    /// Apart, so that threads seldom wait for each other.
    parts: [Mutex<Part>; PARTS],
}

const PARTS: usize = 16;

/// Keys that there is room for in a part; more only as long as all have requests that run.
const ROOM: usize = 4096;

/// Among how many keys one is looked for that may be forgotten.
const SAMPLE: usize = 16;

#[derive(Debug, Default)]
struct Part {
    // With an order, of which a few can be taken anywhere.
    counts: IndexMap<u64, Count>,
    /// After so many new keys, those that are idle are forgotten.
    until_sweep: usize,
    /// Where the next few begin among which one is looked for that may be forgotten.
    first: usize,
}

/// One key's.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// When its bucket is full again.
    full_at: Duration,
    running: usize,
}

/// Why a request is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMuch {
    /// It comes too early by so much.
    Early(Duration),
    /// Too many run.
    AtOnce,
}

/// A request that runs. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Running {
    counters: Arc<Counters>,
    key: Known,
}

/// A key, as it is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known(u64);

impl Counters {
    /// How `key` is known here.
    pub(super) fn know(&self, key: &impl Hash) -> Known {
        Known(self.hashes.hash_one(key))
    }

    /// Whether a request of `key` would be counted. `now` is the time since any moment, but always the same.
    pub(super) fn ask(&self, limit: &Limit, key: Known, now: Duration) -> Result<(), TooMuch> {
        let count = |part: &mut Part| part.counts.get(&key.0).copied();
        self.with(key, count).unwrap_or_default().add(limit, now)
    }

    /// Counts a request of `key`, unless `limit` is reached.
    pub(super) fn count(
        self: &Arc<Self>,
        limit: &Limit,
        key: Known,
        now: Duration,
    ) -> Result<Option<Running>, TooMuch> {
        self.with(key, |part| part.of(key.0, now).add(limit, now))?;
        Ok(limit.concurrent.map(|_| Running { counters: Arc::clone(self), key }))
    }

    fn with<T>(&self, key: Known, act: impl FnOnce(&mut Part) -> T) -> T {
        let part = &self.parts[usize::try_from(key.0 >> 60).unwrap_or_default()];
        act(&mut part.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.counters.with(self.key, |part| {
            if let Some(count) = part.counts.get_mut(&self.key.0) {
                count.running = count.running.saturating_sub(1);
            }
        });
    }
}

impl Part {
    fn of(&mut self, hash: u64, now: Duration) -> &mut Count {
        if !self.counts.contains_key(&hash) {
            self.make_room(now);
        }
        self.counts.entry(hash).or_default()
    }

    fn make_room(&mut self, now: Duration) {
        if self.until_sweep == 0 {
            self.counts.retain(|_, count| count.running > 0 || count.full_at > now);
            // So that a sweep costs each new key the same, however many there are; and there is one again, however many
            // stay.
            self.until_sweep = self.counts.len().clamp(SAMPLE, ROOM / 8);
        }
        self.until_sweep -= 1;
        if self.counts.len() < ROOM {
            return;
        }
        // All are busy: the one of a few that has least to lose starts anew. One that has requests running is never
        // forgotten.
        let least =
            self.some().filter(|(_, count)| count.running == 0).min_by_key(|(_, count)| count.full_at);
        if let Some((least, _)) = least {
            self.counts.swap_remove(&least);
        }
    }

    /// A few of the keys, others each time.
    fn some(&mut self) -> impl Iterator<Item = (u64, Count)> {
        let (first, all) = (self.first, self.counts.len());
        self.first = (first + SAMPLE) % all.max(1);
        let places = (0..SAMPLE.min(all)).map(move |at| (first + at) % all);
        places.filter_map(|at| self.counts.get_index(at).map(|(hash, count)| (*hash, *count)))
    }
}

impl Count {
    fn add(&mut self, limit: &Limit, now: Duration) -> Result<(), TooMuch> {
        if limit.concurrent.is_some_and(|most| self.running >= most.get()) {
            return Err(TooMuch::AtOnce);
        }
        if let Some(rate) = limit.rate {
            let full_at = self.full_at.max(now).saturating_add(rate.interval());
            let early = (full_at - now).saturating_sub(rate.interval().saturating_mul(rate.burst.get()));
            if !early.is_zero() {
                return Err(TooMuch::Early(early));
            }
            self.full_at = full_at;
        }
        self.running += usize::from(limit.concurrent.is_some());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::front::{Enforcement, Key, Rate};

    fn limit(rate: Option<(u32, u64, u32)>, concurrent: usize) -> Limit {
        let rate = rate.map(|(requests, seconds, burst)| Rate {
            requests: requests.try_into().unwrap(),
            per: Duration::from_secs(seconds),
            burst: burst.try_into().unwrap(),
        });
        Limit {
            key: Key::Client,
            rate,
            concurrent: concurrent.try_into().ok(),
            enforcement: Enforcement::Refuse,
        }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_burst_goes_at_once_and_then_it_takes_its_time() {
        let (counters, limit) = (Arc::new(Counters::default()), limit(Some((2, 1, 3)), 0));
        let count = |key: &str, now| {
            counters.count(&limit, counters.know(&key), seconds(now)).map(|running| running.is_some())
        };
        assert!((0..3).all(|_| count("a", 10.0) == Ok(false)));
        assert_eq!(count("a", 10.0), Err(TooMuch::Early(seconds(0.5))));
        assert_eq!(count("b", 10.0), Ok(false));
        assert_eq!(count("a", 10.4), Err(TooMuch::Early(seconds(0.1))));
        assert_eq!(count("a", 10.5), Ok(false));
        assert_eq!(count("a", 10.5), Err(TooMuch::Early(seconds(0.5))));
        assert!((0..3).all(|_| count("a", 99.0) == Ok(false)) && count("a", 99.0).is_err());
    }

    #[test]
    fn who_only_asks_is_not_counted() {
        let (counters, limit) = (Arc::new(Counters::default()), limit(Some((1, 1, 1)), 1));
        let key = counters.know(&"a");
        assert!((0..9).all(|_| counters.ask(&limit, key, Duration::ZERO).is_ok()));
        assert!(counters.parts.iter().all(|part| part.lock().unwrap().counts.is_empty()));
        let running = counters.count(&limit, key, Duration::ZERO).unwrap();
        assert_eq!(counters.ask(&limit, key, seconds(2.0)), Err(TooMuch::AtOnce));
        drop(running);
        assert_eq!(counters.ask(&limit, key, Duration::ZERO), Err(TooMuch::Early(seconds(1.0))));
        assert_eq!(counters.ask(&limit, key, seconds(1.0)), Ok(()));
    }

    #[test]
    fn what_has_ended_makes_room() {
        let (counters, limit) = (Arc::new(Counters::default()), limit(None, 2));
        let count = || counters.count(&limit, counters.know(&"a"), Duration::ZERO);
        let first = count().unwrap();
        let second = count().unwrap();
        assert_eq!(count().unwrap_err(), TooMuch::AtOnce);
        drop(first);
        let third = count().unwrap();
        assert!(count().is_err());
        drop((second, third));
        assert!(count().is_ok());
    }

    #[test]
    fn keys_are_forgotten_when_they_are_idle_or_too_many() {
        let (counters, limit) = (Arc::new(Counters::default()), limit(Some((1, 3600, 1)), 1));
        let known = || -> usize { counters.parts.iter().map(|part| part.lock().unwrap().counts.len()).sum() };
        let running = counters.count(&limit, counters.know(&"runs"), Duration::ZERO).unwrap();
        for key in 0..3 * PARTS * ROOM {
            assert!(counters.count(&limit, counters.know(&key), Duration::ZERO).is_ok());
        }
        assert!(known() <= PARTS * ROOM, "{}", known());
        assert_eq!(
            counters.count(&limit, counters.know(&"runs"), Duration::ZERO).unwrap_err(),
            TooMuch::AtOnce
        );
        drop(running);
        // Sixteen parts, in each of which a few wait for the next sweep.
        for key in 0..PARTS * SAMPLE * 8 {
            assert!(counters.count(&limit, counters.know(&("late", key)), seconds(4000.0)).is_ok());
        }
        assert!(known() <= PARTS * ROOM);
    }

    #[test]
    fn what_is_idle_is_forgotten_soon_also_after_all_were_busy() {
        let (counters, limit) = (Arc::new(Counters::default()), limit(Some((1, 3600, 1)), 0));
        for key in 0..2 * PARTS * ROOM {
            counters.count(&limit, counters.know(&key), Duration::ZERO).unwrap();
        }
        for key in 0..PARTS * ROOM / 4 {
            counters.count(&limit, counters.know(&("late", key)), seconds(4000.0)).unwrap();
        }
        for part in &counters.parts {
            assert!(part.lock().unwrap().counts.values().all(|count| count.full_at > seconds(4000.0)));
        }
    }

    #[test]
    fn which_key_is_pushed_out_is_looked_for_everywhere() {
        let mut part = Part::default();
        // The first ones have more to lose than all that come later.
        for hash in 0..ROOM as u64 {
            part.of(hash, Duration::ZERO).full_at = seconds(if hash < 16 { 9000.0 } else { 1000.0 });
        }
        for hash in 0..ROOM as u64 / 8 {
            part.of(1 << 32 | hash, Duration::ZERO).full_at = seconds(9000.0);
        }
        assert_eq!(part.counts.len(), ROOM);
        let kept = (0..16).filter(|hash| part.counts.contains_key(hash)).count();
        assert!(kept >= 12, "{kept}");
    }

    proptest! {
        #[test]
        fn no_more_pass_than_the_burst_and_what_time_gives(
            waits in proptest::collection::vec(0..2000_u64, 1..200),
            requests in 1..50_u32,
            per in 1..20_u64,
            burst in 1..20_u32,
        ) {
            let (counters, limit) = (Arc::new(Counters::default()), limit(Some((requests, per, burst)), 0));
            let mut now = Duration::ZERO;
            let mut passed = 0_u32;
            for wait in waits {
                now += Duration::from_millis(wait);
                passed += u32::from(counters.count(&limit, counters.know(&0), now).is_ok());
                let given = f64::from(requests) * now.as_secs_f64() / per as f64;
                prop_assert!(f64::from(passed) <= f64::from(burst) + given + 1e-3, "{} at {:?}", passed, now);
            }
            prop_assert!(passed >= 1);
        }
    }
}
