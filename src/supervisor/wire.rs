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
