//! Why the door refuses something: what happened, and what to do instead.

use http::StatusCode;
use serde::{Deserialize, Serialize};

/// A refusal, in the form of RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The stable code.
    pub code: Code,
    /// One sentence that is the same for all with this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here; names the thing and the fix.
    pub detail: String,
    /// Everything that is wrong, one by one, where there is more to say than one sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// The stable codes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// The request cannot be understood.
    BadRequest,
    /// Neither the host's user nor root.
    Forbidden,
    /// There is no such path.
    UnknownPath,
    /// The path is for another method.
    WrongMethod,
    /// The request took too long to arrive.
    TooSlow,
    /// The request's body is too large.
    TooLarge,
    /// There is no such application.
    UnknownApplication,
    /// What is wished cannot be.
    Impossible,
    /// The configuration has faults. Nothing has changed.
    ConfigurationRefused,
    /// What was to take over did not start. Nothing has changed.
    StartRefused,
    /// A newer change came in between.
    Superseded,
    /// The host is ending.
    Stopping,
    /// Of a later build.
    #[serde(other)]
    Unknown,
}

impl Code {
    /// Every code that is sent.
    pub const ALL: [Self; 12] = [
        Self::BadRequest,
        Self::Forbidden,
        Self::UnknownPath,
        Self::WrongMethod,
        Self::TooSlow,
        Self::TooLarge,
        Self::UnknownApplication,
        Self::Impossible,
        Self::ConfigurationRefused,
        Self::StartRefused,
        Self::Superseded,
        Self::Stopping,
    ];

    const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::UnknownPath | Self::UnknownApplication => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Impossible | Self::ConfigurationRefused | Self::StartRefused | Self::Superseded => {
                StatusCode::CONFLICT
            }
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request cannot be understood.",
            Self::Forbidden => "This is not for you.",
            Self::UnknownPath => "There is no such path.",
            Self::WrongMethod => "The path is for another method.",
            Self::TooSlow => "The request took too long to arrive.",
            Self::TooLarge => "The request's body is too large.",
            Self::UnknownApplication => "There is no such application.",
            Self::Impossible => "That cannot be.",
            Self::ConfigurationRefused => "The configuration has faults. Nothing has changed.",
            Self::StartRefused => "What was to take over did not start. Nothing has changed.",
            Self::Superseded => "A newer change came in between.",
            Self::Stopping => "The host is ending.",
            Self::Unknown => "Refused.",
        }
    }
}

impl Problem {
    /// A refusal for this reason.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            detail: detail.into(),
            faults: Vec::new(),
        }
    }

    /// Says everything that is wrong.
    #[must_use]
    pub fn faults<F: Into<String>>(mut self, faults: impl IntoIterator<Item = F>) -> Self {
        self.faults = faults.into_iter().map(Into::into).collect();
        self
    }
}
