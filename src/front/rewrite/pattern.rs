//! Patterns, and what they have found.
//!
//! The crate regex takes time in proportion to what it reads, whatever the pattern, and the pattern's size has a limit.

use std::str::FromStr;

use regex::{Regex, RegexBuilder};

use super::{
    reference::{Group, WORDS},
    value::Value,
};

/// A regular expression. Two that are written the same are equal.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// Why a text is no pattern.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It is no regular expression, or too large.
    #[error("{}", in_a_line(.0))]
    Regex(#[from] regex::Error),
    /// What stands for something else in braces.
    #[error("no group can be called {0}, which stands for a part of the request")]
    Word(String),
}

/// What is said over several lines, in one.
fn in_a_line(error: &regex::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once("error: ") {
        Some((_, what)) => what.trim().to_owned(),
        None => text.lines().map(str::trim).collect::<Vec<_>>().join(" "),
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let regex = RegexBuilder::new(text).size_limit(LARGEST).dfa_size_limit(LARGEST).build()?;
        let word = regex.capture_names().flatten().find(|name| WORDS.iter().any(|(word, _)| word == name));
        match word {
            Some(word) => Err(PatternError::Word(word.to_owned())),
            None => Ok(Self(regex)),
        }
    }
}

impl Pattern {
    /// One that every text has.
    #[must_use]
    pub fn everything() -> Self {
        Self(Regex::new("(?s)^.*$").expect("it is one"))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same without the slash that it begins with, if it can only match a text that begins with one.
    #[must_use]
    pub fn without_slash(&self) -> Option<String> {
        let ignores_case = if self.as_str().starts_with(IGNORES_CASE) { IGNORES_CASE } else { "" };
        let rest = self.as_str()[ignores_case.len()..].strip_prefix("^/")?;
        let is_one_of_several = rest.starts_with(['?', '*', '{']) || rest.contains('|');
        (!is_one_of_several).then(|| format!("{ignores_case}^{rest}"))
    }

    pub(super) fn has(&self, group: &Group) -> bool {
        match group {
            Group::Number(number) => *number < self.0.captures_len(),
            Group::Name(name) => self.0.capture_names().flatten().any(|other| other == name),
        }
    }

    pub(super) fn has_groups(&self) -> bool {
        self.0.captures_len() > 1
    }

    /// Whether it is in `text`.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// What it finds in a text.
    pub(super) fn find<'p>(&'p self, value: Value) -> Option<Found<'p>> {
        let captures = self.0.captures(&value.text)?;
        let parts = captures.iter().map(|part| part.map(|part| part.range())).collect();
        Some(Found { pattern: self, parts, value })
    }
}

/// What a pattern has found.
#[derive(Debug)]
pub(super) struct Found<'p> {
    pattern: &'p Pattern,
    parts: Vec<Option<std::ops::Range<usize>>>,
    value: Value,
}

impl Found<'_> {
    /// What it was looked for in.
    pub(super) fn whole(&self) -> &Value {
        &self.value
    }

    /// The part of it that a group has; empty for one that took no part.
    pub(super) fn part(&self, group: &Group) -> Value {
        let number = match group {
            Group::Number(number) => Some(*number),
            Group::Name(name) => self.pattern.0.capture_names().position(|other| other == Some(name)),
        };
        let range = number.and_then(|number| self.parts.get(number).cloned().flatten());
        Value::new(range.map_or("", |range| &self.value.text[range]), self.value.origin)
    }
}

const IGNORES_CASE: &str = "(?i)";
/// How large a compiled pattern may be.
const LARGEST: usize = 1 << 20;
