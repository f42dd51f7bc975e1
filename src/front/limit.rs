//! How many requests, and how many at a time, those who are counted together may make.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use http::HeaderName;

use super::Enforcement;

/// A limit for each of those who are counted apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Who is counted together.
    pub key: Key,
    /// How many requests.
    pub rate: Option<Rate>,
    /// How many at a time.
    pub concurrent: Option<NonZeroUsize>,
    /// Whether more are refused.
    pub enforcement: Enforcement,
}

/// What requests have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The client's address; the first half of one of IPv6, of which a client has all.
    Client,
    /// The first value of a field. Those without it are counted together.
    Field(HeaderName),
    /// The host name that was asked for.
    Authority,
}

/// Requests in a time. A bucket that holds `burst` and is filled at this rate: who has been still for long may make so
/// many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many.
    pub requests: NonZeroU32,
    /// In this time.
    pub per: Duration,
    /// So many at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// From one request to the next, where they come evenly.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.per / self.requests.get()
    }
}
