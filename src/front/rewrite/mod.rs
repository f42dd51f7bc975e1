//! Rules that give requests another path, send clients elsewhere, or answer them: in order, each with its conditions.
//!
//! Patterns see a path in one spelling, so that `%61dmin` is `admin`. What a client has said is put into a new target
//! as part of a segment or of the query and as nothing else: it makes no dot segments, no control characters, and no
//! authority.
//! Never: does anything; what becomes of a request is decided here and done elsewhere.

mod decide;
mod outbound;
mod pattern;
mod reference;
mod template;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

pub use self::{
    decide::{Fired, Outcome, Refused, Subject},
    outbound::{NoStatus, Outbound, Statuses},
    pattern::{Pattern, PatternError},
    reference::{Group, NoReference, Reference},
    template::{About, Names, Scope, Template, TemplateError},
};

/// Rules in their order, and the maps that they look things up in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The first one is asked first.
    pub rules: Vec<Rule>,
    /// Maps by name.
    pub maps: Maps,
}

/// Tables of texts by their names. What stands under `*` in one is meant for all that it does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps(pub BTreeMap<String, BTreeMap<String, String>>);

impl Names for Maps {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

impl Maps {
    /// What a map has for something; nothing is empty.
    fn look_up(&self, map: &str, key: &str) -> &str {
        let map = self.0.get(map);
        map.and_then(|map| map.get(key).or_else(|| map.get("*"))).map_or("", String::as_str)
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called in the log.
    pub name: String,
    /// Which paths it is about, without the slash that they begin with.
    pub pattern: Pattern,
    /// What else has to hold.
    pub conditions: Vec<Condition>,
    /// Whether one of the conditions is enough.
    pub any: bool,
    /// What is done.
    pub action: Action,
    /// And after that.
    pub then: Then,
}

/// Something that has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is looked at.
    pub input: Reference,
    /// What it has to be like.
    pub test: Test,
}

/// What something has to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The pattern is in it.
    Matches(Pattern),
    /// The pattern is not in it.
    Differs(Pattern),
    /// There is such a file or directory below a folder.
    Is(Kind, PathBuf),
    /// There is none.
    IsNot(Kind, PathBuf),
}

/// What there may be below a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// Knows what there is below a folder.
pub trait Files {
    /// What a path names there. It is as in a URL, and nothing outside of the folder is named by any.
    ///
    /// # Errors
    /// Nobody can say.
    fn kind(&self, folder: &Path, path: &str) -> Result<Option<Kind>, Unseen>;
}

/// Why nobody can say what there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unseen {
    /// Nobody has looked: a disk would have to be waited for.
    #[error("somebody has to look for files")]
    Yet,
    /// The system does not say.
    #[error("cannot look for files: {0}")]
    Failed(String),
}

/// What is done to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// It goes on with another path, within the site or the application.
    Rewrite(Template, Query),
    /// Its client is sent elsewhere.
    Redirect(StatusCode, Template, Query),
    /// It is answered.
    Respond(Response),
    /// Its connection is closed.
    Abort,
}

/// What becomes of the query that a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// It comes behind what the rule writes.
    Keep,
    /// It is dropped.
    Drop,
}

/// An answer that a rule gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
    /// What the body is, if there is one.
    pub content_type: HeaderValue,
}

/// What comes after a rule that has fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// The next one.
    #[default]
    Next,
    /// None.
    Stop,
    /// The first one.
    Again,
}
