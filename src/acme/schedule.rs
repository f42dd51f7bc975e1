//! When a certificate is to be ordered.
//!
//! In: what is held, what came of trying, the time, and chance. Out: the next time to try. Never: looks at a clock or a
//! file.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// What came of trying, for one name or for an authority as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Why the last try came to nothing, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// When to try again at the earliest.
    #[serde(with = "seconds")]
    pub not_before: SystemTime,
    /// When somebody last asked to try at once, which was done.
    #[serde(with = "seconds")]
    pub asked: SystemTime,
}

/// Why a try came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// What the authority said, or what was in its way.
    pub why: String,
    /// When.
    #[serde(with = "seconds")]
    pub at: SystemTime,
    /// How many there were in a row.
    pub times: u32,
}

/// How long a certificate is valid that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) since: SystemTime,
    pub(super) until: SystemTime,
}

impl Default for Record {
    fn default() -> Self {
        Self { failed: None, not_before: SystemTime::UNIX_EPOCH, asked: SystemTime::UNIX_EPOCH }
    }
}

impl Record {
    /// A try begins. If nobody ever tells what came of it, as after a crash, the next one is not long after.
    pub(super) fn begun(self, now: SystemTime) -> Self {
        Self { not_before: now + UNFINISHED, ..self }
    }

    /// A try came to nothing. `chance` is from 0 to 1: not all that failed together are tried again together.
    pub(super) fn failed(
        self,
        now: SystemTime,
        why: String,
        retry_after: Option<SystemTime>,
        chance: f64,
    ) -> Self {
        let times = self.failed.map_or(1, |failed| failed.times.saturating_add(1));
        let pause = FIRST_PAUSE.saturating_mul(1 << (times - 1).min(16)).min(LONGEST_PAUSE);
        let pause = now + pause.mul_f64(1.0 + chance.clamp(0.0, 1.0) / 4.0);
        // Longer than any authority means it, it would be a mistake, of its clock or of ours.
        let wanted = retry_after.map_or(now, |wanted| wanted.min(now + FARTHEST));
        Self { failed: Some(Failed { why, at: now, times }), not_before: pause.max(wanted), ..self }
    }

    /// There is a certificate. If it has to be renewed at once, one of the two clocks is wrong, and asking for more of them
    /// would not mend that.
    pub(super) fn succeeded(self, now: SystemTime, held: Held) -> Self {
        let pause = (held.lifetime() / 3).min(Duration::from_secs(24 * 60 * 60));
        Self { failed: None, not_before: now + pause, ..self }
    }

    /// Somebody asks to try at once.
    pub(super) fn asked(self, when: SystemTime) -> Self {
        let is_news = self.asked < when;
        let not_before = if is_news { SystemTime::UNIX_EPOCH } else { self.not_before };
        Self { not_before, asked: self.asked.max(when), ..self }
    }
}

impl Held {
    fn lifetime(self) -> Duration {
        self.until.duration_since(self.since).unwrap_or_default()
    }

    /// When two thirds of its time are over.
    fn renewal(self) -> SystemTime {
        self.since + self.lifetime() * 2 / 3
    }
}

/// When to order a certificate, the next time.
pub(super) fn due(
    held: Option<Held>,
    of_name: &Record,
    of_authority: &Record,
    now: SystemTime,
) -> SystemTime {
    let wanted = held.map_or(SystemTime::UNIX_EPOCH, Held::renewal);
    // Written by a clock that was far ahead, it would never come.
    let pauses = [of_name, of_authority].map(|record| record.not_before);
    let pauses = pauses.into_iter().filter(|pause| *pause <= now + FARTHEST + LONGEST_PAUSE);
    pauses.fold(wanted, SystemTime::max)
}

/// How long a try may be without an end.
const UNFINISHED: Duration = Duration::from_secs(60);
/// After the first failure. With the doubling, five tries an hour: as many failures as Let's Encrypt allows for a name.
const FIRST_PAUSE: Duration = Duration::from_secs(2 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 60 * 60);
/// As far as the longest limit of Let's Encrypt reaches.
const FARTHEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A time in seconds since 1970.
mod seconds {
    use std::time::{Duration, SystemTime};

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let seconds = Duration::from_secs(u64::deserialize(from)?);
        let time = SystemTime::UNIX_EPOCH.checked_add(seconds);
        time.ok_or_else(|| serde::de::Error::custom("a time that no clock shows"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * DAY
    }

    fn held(days: u32) -> Held {
        Held { since: start(), until: start() + days * DAY }
    }

    fn failed(record: Record, now: SystemTime) -> Record {
        record.failed(now, "no".to_owned(), None, 0.0)
    }

    #[test]
    fn what_is_not_there_is_due_and_what_is_there_when_two_thirds_of_its_time_are_over() {
        let (none, now) = (Record::default(), start() + DAY);
        assert!(due(None, &none, &none, now) <= now);
        assert_eq!(due(Some(held(90)), &none, &none, now), start() + 60 * DAY);
    }

    #[test]
    fn pauses_grow_from_minutes_to_hours_and_a_name_is_tried_five_times_in_the_first_hour() {
        let (mut record, mut now, mut tries) = (Record::default(), start(), Vec::new());
        for _ in 0..20 {
            tries.push(now.duration_since(start()).unwrap());
            record = failed(record, now);
            assert_eq!(due(None, &record, &Record::default(), now), record.not_before);
            now = record.not_before;
        }
        assert_eq!(tries.iter().filter(|at| **at < HOUR).count(), 5);
        assert_eq!(tries[19] - tries[18], 6 * HOUR);
        let spread = Record::default().failed(start(), String::new(), None, 1.0).not_before;
        assert_eq!(spread, start() + Duration::from_secs(150));
    }

    #[test]
    fn nobody_is_asked_before_the_time_that_it_named() {
        let later = start() + 3 * DAY;
        let of_authority = Record::default().failed(start(), "busy".to_owned(), Some(later), 0.5);
        assert_eq!(due(None, &Record::default(), &of_authority, start()), later);
        let absurd = Record::default().failed(start(), String::new(), Some(start() + 9000 * DAY), 0.5);
        assert_eq!(absurd.not_before, start() + 7 * DAY);
    }

    #[test]
    fn success_forgets_failures_and_a_wrong_clock_does_not_ask_without_end() {
        let record = failed(failed(Record::default(), start()), start());
        // Valid until long before: this clock is years ahead.
        let now = start() + 900 * DAY;
        let record = record.succeeded(now, held(90));
        assert_eq!(record.failed, None);
        assert_eq!(due(Some(held(90)), &record, &Record::default(), now), now + DAY);
        assert_eq!(failed(record, now).failed.unwrap().times, 1);
    }

    #[test]
    fn a_pause_from_a_clock_that_was_ahead_is_none() {
        let ahead = failed(Record::default(), start() + 400 * DAY);
        assert!(due(None, &ahead, &Record::default(), start()) <= start());
    }

    #[test]
    fn a_try_that_nobody_finished_is_repeated_after_a_moment() {
        let record = failed(Record::default(), start()).begun(start() + HOUR);
        assert_eq!(record.not_before, start() + HOUR + UNFINISHED);
        assert_eq!(record.failed.unwrap().times, 1);
    }

    #[test]
    fn who_asks_has_it_tried_at_once_and_once() {
        let record = failed(Record::default(), start()).asked(start() + HOUR);
        assert!(due(None, &record, &Record::default(), start()) <= start());
        let again = failed(record, start() + HOUR);
        assert_eq!(again.clone().asked(start() + HOUR).not_before, again.not_before);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = failed(Record::default(), start()).asked(start());
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        assert_eq!(serde_json::from_str::<Record>("{}").unwrap(), Record::default());
    }
}
