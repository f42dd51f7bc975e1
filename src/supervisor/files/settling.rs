//! When a change is one: not before it has come to rest, and not much later.
//!
//! In: what was seen of each path, and the time. Out: the paths that have changed and come to rest. Never: looks at a
//! file, or at a clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Instant,
};

use super::Pace;

/// What is known of each path; `S` is what changes with it.
#[derive(Debug)]
pub(super) struct Settling<S> {
    pace: Pace,
    seen: BTreeMap<PathBuf, Seen<S>>,
}

#[derive(Debug)]
struct Seen<S> {
    stamp: S,
    restless: Option<Restless>,
}

/// It has changed, and nobody was told.
#[derive(Clone, Copy, Debug)]
struct Restless {
    since: Instant,
    last: Instant,
}

impl<S: PartialEq> Settling<S> {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, seen: BTreeMap::new() }
    }

    /// Forgets all paths but these.
    pub(super) fn keep(&mut self, paths: &BTreeSet<PathBuf>) {
        self.seen.retain(|path, _| paths.contains(path));
    }

    /// Somebody has looked. A path that was not looked at before counts as changed.
    pub(super) fn saw(&mut self, now: Instant, path: &Path, stamp: S) {
        let Some(seen) = self.seen.get_mut(path) else {
            let restless = Some(Restless { since: now, last: now });
            self.seen.insert(path.to_owned(), Seen { stamp, restless });
            return;
        };
        if seen.stamp != stamp {
            seen.stamp = stamp;
            let since = seen.restless.map_or(now, |restless| restless.since);
            seen.restless = Some(Restless { since, last: now });
        }
    }

    /// The paths that have changed and come to rest.
    pub(super) fn take(&mut self, now: Instant) -> BTreeSet<PathBuf> {
        let pace = self.pace;
        let settled = self.seen.iter_mut().filter(|(_, seen)| seen.due(pace).is_some_and(|due| due <= now));
        settled
            .map(|(path, seen)| {
                seen.restless = None;
                path.clone()
            })
            .collect()
    }

    /// When to look again, if nothing is noticed before.
    pub(super) fn due(&self) -> Option<Instant> {
        self.seen.values().filter_map(|seen| seen.due(self.pace)).min()
    }
}

impl<S> Seen<S> {
    fn due(&self, pace: Pace) -> Option<Instant> {
        let restless = self.restless?;
        Some((restless.last + pace.quiet).min(restless.since + pace.longest))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const PACE: Pace = Pace {
        quiet: Duration::from_millis(250),
        longest: Duration::from_millis(5000),
        poll: Duration::from_millis(1000),
    };

    proptest! {
        /// Whatever is seen when: each change is told, not before its rest or the limit, and not later than that.
        #[test]
        fn a_change_is_told_once_and_in_time(looks in proptest::collection::vec((0_u64..400, 0_u8..3), 1..200)) {
            let (mut settling, path, start) = (Settling::new(PACE), Path::new("/x"), Instant::now());
            let mut at = start;
            // What the teller should know: the last stamp, since when it is untold, and when it last changed.
            let mut model: Option<(u8, Option<(Instant, Instant)>)> = None;
            for (pause, stamp) in looks {
                at += Duration::from_millis(pause);
                settling.saw(at, path, stamp);
                model = Some(match model {
                    None => (stamp, Some((at, at))),
                    Some((old, untold)) if old == stamp => (stamp, untold),
                    Some((_, untold)) => (stamp, Some((untold.map_or(at, |(since, _)| since), at))),
                });
                let due = model.and_then(|(_, untold)| untold)
                    .map(|(since, last)| (last + PACE.quiet).min(since + PACE.longest));
                prop_assert_eq!(settling.due(), due);
                let told = !settling.take(at).is_empty();
                prop_assert_eq!(told, due.is_some_and(|due| due <= at));
                if told {
                    model = model.map(|(stamp, _)| (stamp, None));
                }
            }
        }
    }

    #[test]
    fn what_is_not_looked_after_any_more_is_forgotten() {
        let (mut settling, now) = (Settling::new(PACE), Instant::now());
        settling.saw(now, Path::new("/x"), 1);
        settling.keep(&BTreeSet::new());
        assert_eq!((settling.due(), settling.take(now + PACE.longest)), (None, BTreeSet::new()));
    }
}
