//! What stands in braces: where a part of a new target, or of a condition, comes from.

use http::HeaderName;

/// A part of a request, of what a pattern has found, or of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A group of the rule's own pattern: `1`, `name`; `0` is all that it matched.
    Match(Group),
    /// A group of the condition that matched last: `C:1`, `C:name`.
    Condition(Group),
    /// The path, from its first slash.
    Path,
    /// The query, without its question mark.
    Query,
    /// `GET`.
    Method,
    /// `http` or `https`.
    Scheme,
    /// What the client asked for, with its port.
    Authority,
    /// The same, without.
    Host,
    /// The client's address.
    Client,
    /// A field of the request, `header:NAME`.
    Field(HeaderName),
    /// A cookie, `cookie:NAME`.
    Cookie(String),
    /// The status of the answer.
    Status,
    /// A field of the answer, `answer:NAME`.
    AnswerField(HeaderName),
    /// What a map has for something: `map:NAME:1`, `map:NAME:path`.
    Map(String, Box<Reference>),
    /// Something in lower case: `lower:1`.
    Lower(Box<Reference>),
}

/// A part of what a pattern matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// Counted from 1; 0 is all of it.
    Number(usize),
    /// By its name.
    Name(String),
}

/// Why a text refers to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is none of path, query, method, scheme, authority, host, client, header:NAME, cookie:NAME, status, answer:NAME, \
     map:NAME:…, lower:…, a group's number or name, C: and one of those"
)]
pub struct NoReference(String);

impl std::str::FromStr for Reference {
    type Err = NoReference;

    fn from_str(text: &str) -> Result<Self, NoReference> {
        let nothing = || NoReference(text.to_owned());
        let inner = |text: &str| text.parse().map(Box::new).map_err(|_| nothing());
        if let Some((kind, rest)) = text.split_once(':') {
            return match kind {
                "C" => group(rest).map(Self::Condition).ok_or_else(nothing),
                "header" => rest.parse().map(Self::Field).map_err(|_| nothing()),
                "answer" => rest.parse().map(Self::AnswerField).map_err(|_| nothing()),
                "cookie" if !rest.is_empty() => Ok(Self::Cookie(rest.to_owned())),
                "lower" => inner(rest).map(Self::Lower),
                "map" => match rest.split_once(':') {
                    // Once is enough: who wants more writes a longer map.
                    Some((map, key)) if !map.is_empty() && !key.starts_with("map:") => {
                        Ok(Self::Map(map.to_owned(), inner(key)?))
                    }
                    _ => Err(nothing()),
                },
                _ => Err(nothing()),
            };
        }
        let word = WORDS.iter().find(|(word, _)| *word == text).map(|(_, reference)| reference.clone());
        word.or_else(|| group(text).map(Self::Match)).ok_or_else(nothing)
    }
}

impl Reference {
    /// What it is made of in the end, with the map that it is looked up in on the way there.
    pub(super) fn root(&self) -> (Option<&str>, &Self) {
        match self {
            Self::Map(map, key) => (Some(map), key.root().1),
            Self::Lower(inner) => inner.root(),
            other => (None, other),
        }
    }
}

/// What groups cannot be called.
pub(super) const WORDS: [(&str, Reference); 8] = [
    ("path", Reference::Path),
    ("query", Reference::Query),
    ("method", Reference::Method),
    ("scheme", Reference::Scheme),
    ("authority", Reference::Authority),
    ("host", Reference::Host),
    ("client", Reference::Client),
    ("status", Reference::Status),
];

/// A number, or a name as patterns have them.
fn group(text: &str) -> Option<Group> {
    if text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Group::Number);
    }
    let first = text.chars().next()?;
    let fits = |character: char| character.is_ascii_alphanumeric() || character == '_';
    (text.chars().all(fits) && !first.is_ascii_digit()).then(|| Group::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_words_groups_and_what_is_looked_up() {
        let read = |text: &str| text.parse::<Reference>().ok();
        assert_eq!(read("path"), Some(Reference::Path));
        assert_eq!(read("0"), Some(Reference::Match(Group::Number(0))));
        assert_eq!(read("id"), Some(Reference::Match(Group::Name("id".into()))));
        assert_eq!(read("C:12"), Some(Reference::Condition(Group::Number(12))));
        assert_eq!(read("header:X-A"), Some(Reference::Field(HeaderName::from_static("x-a"))));
        assert_eq!(read("answer:X-A"), Some(Reference::AnswerField(HeaderName::from_static("x-a"))));
        assert_eq!(read("status"), Some(Reference::Status));
        let path = Box::new(Reference::Path);
        assert_eq!(read("map:old:path"), Some(Reference::Map("old".into(), path.clone())));
        assert_eq!(read("lower:path"), Some(Reference::Lower(path)));
        for text in [
            "",
            "C:",
            "a-b",
            "1a",
            "100",
            "header:",
            "header:a b",
            "answer:",
            "cookie:",
            "map:a",
            "map::1",
            "x:1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("map:a:map:b:1"), None);
    }
}
