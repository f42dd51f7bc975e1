//! Which file it is: another one, or other content, has another mark.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use rustix::fs::Stat;

use super::Validators;

/// Which file it is. What is written twice within one tick of the system's clock, and is as long, is not told apart.
///
/// When it was written anybody may set, and builds that are to be the same set it always alike; a number in the file system
/// is given again. When it was changed is the kernel's to say: it alone tells other bytes in a place like the one before.
/// So the entity tag has it as well, also if it makes a new tag of the same bytes now and then: when somebody has given the
/// file other permissions, say. On several servers tags differ in any case, by the numbers of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    device: u64,
    inode: u64,
    pub(crate) length: u64,
    written: (i64, u64),
    changed: (i64, u64),
}

impl Mark {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            length: u64::try_from(stat.st_size).unwrap_or_default(),
            written: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Of the whole file.
    #[cfg(feature = "front")]
    pub(crate) fn validators(&self, now: SystemTime) -> Validators {
        self.tagged("", now)
    }

    /// When it was written, in seconds since 1970, unless that is still to come: nobody is told such a date, which would
    /// be older than what is written until then.
    pub(crate) fn modified(&self, now: SystemTime) -> Option<u64> {
        let written = u64::try_from(self.written.0).ok()?;
        (UNIX_EPOCH.checked_add(Duration::from_secs(written))? <= now).then_some(written)
    }

    /// Of `length` bytes from `at` on.
    pub(crate) fn validators_of_part(&self, at: u64, length: u64, now: SystemTime) -> Validators {
        self.tagged(&format!("-{at:x}-{length:x}"), now)
    }

    fn tagged(&self, part: &str, now: SystemTime) -> Validators {
        let Self { inode, length, written, changed, .. } = self;
        let (written, changed) =
            (format!("{:x}.{:x}", written.0, written.1), format!("{:x}.{:x}", changed.0, changed.1));
        let etag = format!("\"{inode:x}-{length:x}-{written}-{changed}{part}\"");
        Validators { etag: HeaderValue::try_from(etag).ok(), modified: self.modified(now) }
    }
}

/// Seconds since 1970, as fields say it.
pub(crate) fn date(seconds: u64) -> Option<HeaderValue> {
    // What is younger than 9999 has no such date.
    let time = (seconds <= LATEST).then(|| UNIX_EPOCH + Duration::from_secs(seconds))?;
    HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()
}

/// What [`date`] has written.
pub(crate) fn seconds(field: &HeaderValue) -> Option<u64> {
    let date = httpdate::parse_http_date(field.to_str().ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The last second of the year 9999.
const LATEST: u64 = 253_402_300_799;
