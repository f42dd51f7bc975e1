//! Who may come in, by what they know.

use std::{path::PathBuf, time::Duration};

use http::{HeaderName, Uri};

use super::{Hashed, Outward};
use crate::outward::Terms;

/// What is asked of a client. Both, if there are both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// A name and a password.
    pub basic: Option<Basic>,
    /// What another server thinks of the request.
    pub forward: Option<Forward>,
}

/// A name and a password: RFC 7617.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// Who may come in.
    pub users: Users,
    /// What clients are told that the password is for: text that can stand in a field.
    pub realm: String,
}

/// Users, with their passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// Those in a file, as `htpasswd` writes it: a line `name:hash` for each. Read anew when it matters.
    File(PathBuf),
    /// These.
    These(Vec<(String, Hashed)>),
}

/// A server that is asked about each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where: `http://` or `https://`, with an authority.
    pub url: Uri,
    /// What is wanted of TLS, where that is spoken.
    pub outward: Outward,
    /// The terms that this comes to, made by whoever reads the files. Without them nobody comes in over `https://`.
    pub terms: Option<Terms>,
    /// Fields of its answer that the request gets, in place of those that the client has sent.
    pub copy: Vec<HeaderName>,
    /// How long it may take to answer.
    pub timeout: Duration,
}
