//! What a site, or an application, wants done to requests before they get there: one kind a file.
//!
//! Plain values that are in bounds, whoever made them; `config` reads them, `pipeline` does them.
//! Never: does anything, or looks at a request's body.

mod auth;
mod clients;
mod compression;
mod cors;
mod files;
mod filter;
mod headers;
pub mod https;
mod ip;
mod limit;
mod outward;
mod passwords;
pub mod rewrite;
mod spelling;
mod upstreams;

pub use auth::{Auth, Basic, Forward, Users};
pub use clients::Clients;
pub(crate) use compression::accepted;
pub use compression::{Algorithm, Compression, Level, MediaTypes, NoMediaTypes};
pub use cors::{Cors, Shared};
pub use files::{Files, Order, Pattern};
pub use filter::{Filter, Listed};
pub use headers::{CAREFUL, Headers};
pub use https::{CanonicalHost, Hsts, Https, ToHttps};
pub use ip::Ip;
pub use limit::{Key, Limit, Rate};
pub use outward::{Outward, Own};
pub use passwords::{Hashed, NotHashed};
pub use spelling::Folded;
pub use upstreams::{Balance, HashKey, Passive, Policy, Probe, Retry, Upstream, Upstreams};

pub use crate::endpoint::{Endpoint, Place};

/// What is wanted. Everything is off to begin with, and what is off is not there: it costs nothing.
///
/// A site and its applications may want things independently: a request passes what its site wants first, then what
/// its application does.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Front {
    /// Fields that answers have, or have not.
    pub headers: Option<Headers>,
    /// Answers that are compressed.
    pub compression: Option<Compression>,
    /// Which clients may come in at all.
    pub ip: Option<Ip>,
    /// Where requests in clear text go, and what browsers remember.
    pub https: Option<Https>,
    /// Under which authority it wants to be known.
    pub canonical_host: Option<CanonicalHost>,
    /// What their connections were made on.
    pub clients: Option<Clients>,
    /// How many requests those who are counted together may make.
    pub limits: Vec<Limit>,
    /// What pages of other origins may.
    pub cors: Option<Cors>,
    /// Which requests are let through, by what is written in them.
    pub filter: Option<Filter>,
    /// Rules that give requests another path, or answer them.
    pub rewrite: Option<rewrite::Rules>,
    /// Rules that change what fields of answers say.
    pub outbound: Vec<rewrite::Outbound>,
    /// Who may come in, by what they know.
    pub auth: Option<Auth>,
    /// Files that are sent as they are.
    pub files: Option<Files>,
}

impl Front {
    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether what a rule refuses is refused, or only logged: to see whom it would hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// It is refused.
    #[default]
    Refuse,
    /// It is logged, and goes on.
    Log,
}
