//! A new target as it is written: text, with references in braces.

use super::{
    Pattern,
    reference::{Group, NoReference, Reference},
};

/// Text with references in braces; `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub(super) pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Reference(Reference),
}

/// Why a text is no template, or not one for what it is to be used for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A brace is alone.
    #[error("a brace is alone; a brace that is meant is written twice")]
    Brace,
    /// A reference is none.
    #[error(transparent)]
    Reference(#[from] NoReference),
    /// The pattern has no such group.
    #[error("the pattern has no group {0}")]
    NoGroup(String),
    /// None of the conditions has such a group.
    #[error("no condition of the rule has a group {0}")]
    NoConditionGroup(String),
    /// There is no such map.
    #[error("there is no map {0:?}")]
    NoMap(String),
    /// It leaves the site.
    #[error("what is rewritten stays within the site; to send clients elsewhere, redirect them")]
    LeavesTheSite,
    /// It is for a request, and refers to its answer.
    #[error(
        "there is no answer yet when requests are looked at; status and answer:NAME are for outbound rules"
    )]
    NoAnswer,
    /// It has a fragment, which is never sent to a server.
    #[error("a path has no #")]
    Fragment,
    /// It is no target at all.
    #[error("must begin with a slash, with https:// or http://, or with a reference")]
    NoTarget,
    /// The client would say to whom it is sent.
    #[error(
        "would let clients say where others are sent; put a slash, or the dot of a domain, behind what comes from them"
    )]
    OpenRedirect,
}

/// What a template may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The rule's own pattern.
    pub pattern: &'a Pattern,
    /// Those of its conditions.
    pub conditions: &'a [&'a Pattern],
    /// The names of the maps.
    pub maps: &'a dyn Names,
    /// What the rule is about.
    pub about: About,
}

/// What rules are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Requests on their way in.
    Requests,
    /// Answers on their way out, and what was asked for.
    Answers,
}

/// Names of maps.
pub trait Names: std::fmt::Debug {
    /// Whether this is one.
    fn has(&self, name: &str) -> bool;
}

impl std::str::FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let (mut plain, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = behind;
                continue;
            }
            let end = rest.find('}').filter(|_| brace == "{").ok_or(TemplateError::Brace)?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Reference(rest[..end].parse()?));
            rest = &rest[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }
}

impl Template {
    /// What it refers to.
    pub(super) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Reference(reference) => Some(reference),
            Piece::Text(_) => None,
        })
    }

    /// Whether the query of the request is in it already.
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.references().any(|reference| reference.root().1 == &Reference::Query)
    }

    /// Whether it begins with two slashes that somebody has written: an authority follows.
    pub(super) fn names_authority(&self) -> bool {
        matches!(self.pieces.first(), Some(Piece::Text(text)) if text.starts_with("//"))
    }

    /// Whether all that it refers to is there.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self, scope: Scope<'_>) -> Result<(), TemplateError> {
        self.references().try_for_each(|reference| reference.check(scope))
    }

    /// Whether requests can be rewritten to it.
    ///
    /// # Errors
    /// Why not.
    pub fn check_rewrite(&self) -> Result<(), TemplateError> {
        let begins =
            |start: &str| matches!(self.pieces.first(), Some(Piece::Text(text)) if text.starts_with(start));
        let has = |what: &str| {
            self.pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains(what)))
        };
        if begins("//") || begins("http:") || begins("https:") {
            return Err(TemplateError::LeavesTheSite);
        }
        if has("#") { Err(TemplateError::Fragment) } else { Ok(()) }
    }

    /// Whether clients can be sent there, and only there.
    ///
    /// # Errors
    /// Why not.
    pub fn check_redirect(&self) -> Result<(), TemplateError> {
        let Some(Piece::Text(first)) = self.pieces.first() else { return self.check_first_reference() };
        let Some(start) = ["https://", "http://", "//"].into_iter().find(|start| first.starts_with(start))
        else {
            return if first.starts_with('/') { Ok(()) } else { Err(TemplateError::NoTarget) };
        };
        check_authority(&first[start.len()..], &self.pieces[1..])
    }

    /// `{scheme}://…` is written in full; everything else that comes first is a path, or from a map.
    fn check_first_reference(&self) -> Result<(), TemplateError> {
        match &self.pieces[..] {
            [] => Err(TemplateError::NoTarget),
            [Piece::Reference(Reference::Scheme), Piece::Text(text), rest @ ..] => {
                check_authority(text.strip_prefix("://").ok_or(TemplateError::NoTarget)?, rest)
            }
            [Piece::Reference(Reference::Scheme), ..] => Err(TemplateError::NoTarget),
            _ => Ok(()),
        }
    }
}

/// Whether nothing in an authority is for the client to say, but part of a name below one that is written.
fn check_authority(text: &str, mut behind: &[Piece]) -> Result<(), TemplateError> {
    const ENDS: [char; 4] = ['/', '?', '#', '\\'];
    if text.contains(ENDS) {
        return Ok(());
    }
    let mut begun = !text.is_empty();
    while let [piece, rest @ ..] = behind {
        match piece {
            // Its first slash ends what stands before it.
            Piece::Reference(Reference::Path) if begun => return Ok(()),
            Piece::Text(text) if text.contains(ENDS) => return Ok(()),
            Piece::Text(_) => {}
            Piece::Reference(reference) if is_said_by_the_client(reference) => match rest {
                [Piece::Text(text), ..] if text.starts_with('.') => {}
                _ => return Err(TemplateError::OpenRedirect),
            },
            Piece::Reference(_) => {}
        }
        (begun, behind) = (true, rest);
    }
    Ok(())
}

/// What the host itself has found out, or what a site wrote. For a group of a condition it depends, and is seen later.
fn is_said_by_the_client(reference: &Reference) -> bool {
    !matches!(
        reference.root(),
        (Some(_), _)
            | (None, Reference::Authority | Reference::Host | Reference::Scheme | Reference::Condition(_))
    )
}

impl Reference {
    /// Whether what it refers to is there.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self, scope: Scope<'_>) -> Result<(), TemplateError> {
        let (map, root) = self.root();
        if let Some(map) = map.filter(|map| !scope.maps.has(map)) {
            return Err(TemplateError::NoMap(map.to_owned()));
        }
        match root {
            Self::Match(group) if !scope.pattern.has(group) => Err(TemplateError::NoGroup(group.to_string())),
            Self::Condition(group) if !scope.conditions.iter().any(|pattern| pattern.has(group)) => {
                Err(TemplateError::NoConditionGroup(group.to_string()))
            }
            Self::Status | Self::AnswerField(_) if scope.about == About::Requests => {
                Err(TemplateError::NoAnswer)
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}
