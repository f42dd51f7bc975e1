//! How what is no text of JSON's own travels between supervisor and worker: `#[serde(with = "wire::path")]`.

/// A path need not be text.
pub(super) mod path {
    use std::{
        ffi::OsString,
        path::{Path, PathBuf},
    };

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(to)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<PathBuf, D::Error> {
        OsString::deserialize(from).map(PathBuf::from)
    }
}

/// A path, if there is one.
pub(super) mod path_if_any {
    use std::{ffi::OsString, path::PathBuf};

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path| path.as_os_str()).serialize(to)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<OsString>::deserialize(from)?.map(PathBuf::from))
    }
}

/// Text that is shared here, and will be there.
pub(super) mod text {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        text.serialize(to)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

/// What can be written and read.
pub(super) mod written {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in super::super) fn serialize<T: Display, S: Serializer>(it: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(it)
    }

    pub(in super::super) fn deserialize<'a, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'a>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A socket's path need not be text either.
pub(super) mod endpoint {
    use std::{ffi::OsString, net::SocketAddr};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::endpoint::Endpoint;

    #[derive(Serialize, Deserialize)]
    enum Written {
        Unix(OsString),
        Tcp(SocketAddr),
    }

    pub(in super::super) fn serialize<S: Serializer>(endpoint: &Endpoint, to: S) -> Result<S::Ok, S::Error> {
        let written = match endpoint {
            Endpoint::Unix(path) => Written::Unix(path.clone().into()),
            Endpoint::Tcp(address) => Written::Tcp(*address),
        };
        written.serialize(to)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Endpoint, D::Error> {
        Ok(match Written::deserialize(from)? {
            Written::Unix(path) => Endpoint::Unix(path.into()),
            Written::Tcp(address) => Endpoint::Tcp(address),
        })
    }
}

/// A point in time, for another program on this machine that has not started anew since.
pub(super) mod moment {
    use std::time::{Duration, Instant};

    use rustix::time::{ClockId, clock_gettime};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    pub(in super::super) fn serialize<S: Serializer>(time: &Instant, to: S) -> Result<S::Ok, S::Error> {
        let (read, now) = both();
        let ago = now.saturating_duration_since(*time);
        (read + time.saturating_duration_since(now)).saturating_sub(ago).serialize(to)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Instant, D::Error> {
        let time = Duration::deserialize(from)?;
        let (read, now) = both();
        let moment = now.checked_add(time.saturating_sub(read));
        let moment = moment.and_then(|moment| moment.checked_sub(read.saturating_sub(time)));
        moment.ok_or_else(|| D::Error::custom("no point in time"))
    }

    /// Now, on the clock that `Instant` is, which does not show its value.
    fn both() -> (Duration, Instant) {
        let read = clock_gettime(ClockId::Monotonic);
        let nanoseconds = u32::try_from(read.tv_nsec).unwrap_or_default();
        (Duration::new(u64::try_from(read.tv_sec).unwrap_or_default(), nanoseconds), Instant::now())
    }
}

/// A point in time, if there is one.
pub(super) mod moment_if_any {
    use std::time::Instant;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Moment(#[serde(with = "super::moment")] pub(super) Instant);

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Instant>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Moment).serialize(to)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Option<Instant>, D::Error> {
        Ok(Option::<Moment>::deserialize(from)?.map(|Moment(time)| time))
    }
}

/// Points in time, oldest first.
pub(super) mod moments {
    use std::{collections::VecDeque, time::Instant};

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::moment_if_any::Moment;

    pub(in super::super) fn serialize<S: Serializer>(
        times: &VecDeque<Instant>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(times.iter().copied().map(Moment))
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<VecDeque<Instant>, D::Error> {
        let times = Vec::<Moment>::deserialize(from)?;
        Ok(times.into_iter().map(|Moment(time)| time).collect())
    }
}
