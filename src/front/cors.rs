//! Which pages of other origins may read answers, and which requests they may send.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

/// What pages of other origins may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Which pages, by their origin: `https://shop.example`.
    pub origins: Shared<HeaderValue>,
    /// The methods that they may use.
    pub methods: Shared<Method>,
    /// The fields that they may send.
    pub headers: Shared<HeaderName>,
    /// The fields that they may read.
    pub expose: Shared<HeaderName>,
    /// Whether cookies and passwords come along. Without effect where anything is [`Shared::WithAny`]: browsers, too, would
    /// refuse that.
    pub credentials: bool,
    /// How long a browser may remember it.
    pub max_age: Option<Duration>,
}

/// Those that are named, or whichever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shared<T> {
    /// Whichever.
    WithAny,
    /// These.
    With(Vec<T>),
}

impl<T> Shared<T> {
    /// Whether it is whichever.
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(self, Self::WithAny)
    }
}

impl Cors {
    /// Whether credentials come along: never where anything is open to anybody.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        let open =
            self.origins.is_any() || self.methods.is_any() || self.headers.is_any() || self.expose.is_any();
        self.credentials && !open
    }
}
