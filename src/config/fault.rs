//! What is wrong with a configuration: each fault with its place, all of them at once.

use std::{fmt, path::Path, sync::Arc};

use crate::nearest::nearest;

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named to us.
    pub file: Arc<Path>,
    /// Counted from 1; 0 for the file as a whole, when it could not be read.
    pub line: usize,
    /// Counted in characters from 1; 0 together with `line`.
    pub column: usize,
    /// Where it stands by name: `site.shop.application./cart.queue_limit`. Empty when the file is not TOML.
    pub key: String,
    /// What is wrong; names the value.
    pub message: String,
    /// What to write instead, as TOML.
    pub suggestion: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion}?"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// `faults` must not be empty: without any there is a configuration instead.
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        debug_assert!(!faults.is_empty(), "faults without a fault");
        faults.sort_by_key(|fault| (fault.line, fault.column));
        Self(faults)
    }

    /// Each fault, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Why a value was refused, before anybody knows where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

impl Refusal {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: None }
    }

    /// Says what to write instead, as TOML.
    pub(super) fn suggest(self, instead: impl Into<String>) -> Self {
        Self { suggestion: Some(instead.into()), ..self }
    }

    /// Says which of `words` was probably meant by `written`, if any comes near.
    pub(super) fn suggest_nearest(self, written: &str, words: &[&str], quote: Quote) -> Self {
        let Some(word) = nearest(written, words) else { return self };
        self.suggest(match quote {
            Quote::Key => word.to_owned(),
            Quote::Value => format!("\"{word}\""),
        })
    }
}

/// How a suggested word is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    Key,
    Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_without_a_place_names_the_file_only() {
        let fault = Fault {
            file: Path::new("cohost.toml").into(),
            line: 0,
            column: 0,
            key: String::new(),
            message: "cannot be read".to_owned(),
            suggestion: None,
        };
        assert_eq!(fault.to_string(), "cohost.toml: cannot be read");
    }
}
