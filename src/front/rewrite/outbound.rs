//! Rules that change what fields of answers say: where a redirect leads, what a cookie is good for.

use std::{ops::RangeInclusive, path::Path, str::FromStr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    Condition, Files, Kind, Maps, Reference, Subject, Template, Unseen, decide::Seen, pattern::Pattern,
    template::Piece,
};

/// A rule for one field of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// What it is called in the log.
    pub name: String,
    /// Which answers it is about. Empty: all.
    pub statuses: Vec<Statuses>,
    /// Which field.
    pub field: HeaderName,
    /// Which of its values.
    pub pattern: Pattern,
    /// What else has to hold. None of them looks for files.
    pub conditions: Vec<Condition>,
    /// Whether one of the conditions is enough.
    pub any: bool,
    /// What the values are then; one that is empty is taken out.
    pub value: Template,
    /// Whether an answer without the field is one whose field is empty.
    pub add: bool,
    /// What its value may be looked up in.
    pub maps: Arc<Maps>,
}

/// A status, or a class of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(RangeInclusive<u16>);

/// A text names no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a status, as \"404\", or a class of them, as \"5xx\"")]
pub struct NoStatus;

impl FromStr for Statuses {
    type Err = NoStatus;

    fn from_str(text: &str) -> Result<Self, NoStatus> {
        let number = |text: &str| text.parse::<u16>().map_err(|_| NoStatus);
        match text.as_bytes() {
            [b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                let first = number(&text[..1])? * 100;
                Ok(Self(first..=first + 99))
            }
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => number(text).map(|status| Self(status..=status)),
            _ => Err(NoStatus),
        }
    }
}

/// What became of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answered {
    /// The rule is not about this one.
    Same,
    /// It is this now.
    Changed(HeaderValue),
    /// It is taken out.
    Removed,
}

impl Outbound {
    /// Whether there is something to look at in an answer.
    #[must_use]
    pub fn concerns(&self, status: StatusCode, fields: &HeaderMap) -> bool {
        let status = status.as_u16();
        (self.statuses.is_empty() || self.statuses.iter().any(|statuses| statuses.0.contains(&status)))
            && (self.add || fields.contains_key(&self.field))
    }

    /// The fields of requests that it has to know when their answers are there.
    #[must_use]
    pub fn request_fields(&self) -> Vec<HeaderName> {
        let inputs = self.conditions.iter().map(|condition| &condition.input);
        let all = self.value.references().chain(inputs).map(|reference| reference.root().1);
        all.filter_map(|reference| match reference {
            Reference::Field(name) => Some(name.clone()),
            Reference::Cookie(_) => Some(header::COOKIE),
            _ => None,
        })
        .collect()
    }

    /// Changes all values of the field among `fields`, which answer `subject` with `status`. Returns whether there was one
    /// to change.
    pub fn amend(&self, subject: Subject<'_>, status: StatusCode, fields: &mut HeaderMap) -> bool {
        if !self.concerns(status, fields) {
            return false;
        }
        let mut values: Vec<_> = fields.get_all(&self.field).iter().cloned().collect();
        if values.is_empty() {
            values.push(HeaderValue::from_static(""));
        }
        let subject = subject.answered(status, fields);
        let answered: Vec<_> = values.iter().map(|value| self.value(&subject, value)).collect();
        if answered.iter().all(|answered| *answered == Answered::Same) {
            return false;
        }
        fields.remove(&self.field);
        for (value, answered) in values.into_iter().zip(answered) {
            match answered {
                Answered::Same => fields.append(&self.field, value),
                Answered::Changed(value) => fields.append(&self.field, value),
                Answered::Removed => true,
            };
        }
        true
    }

    /// What becomes of a value of the field, in the answer to `subject`.
    fn value(&self, subject: &Subject<'_>, value: &HeaderValue) -> Answered {
        let Some(found) = value.to_str().ok().and_then(|text| self.pattern.find_in_field(text)) else {
            return Answered::Same;
        };
        let mut seen = Seen { maps: &self.maps, found, condition: None, field: Some(&self.field) };
        if seen.meets(&self.conditions, self.any, subject, &Nothing) != Ok(true) {
            return Answered::Same;
        }
        let mut text = String::new();
        for piece in &self.value.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Reference(reference) => text.push_str(&reference.value(subject, &seen).text),
            }
        }
        if text.is_empty() {
            return Answered::Removed;
        }
        // What cannot be written was no field before either: a message's own parts are text without control characters.
        HeaderValue::try_from(text).map_or(Answered::Same, Answered::Changed)
    }
}

/// No files: there is nobody who could wait for a disk while an answer leaves.
#[derive(Clone, Copy, Debug)]
struct Nothing;

impl Files for Nothing {
    fn kind(&self, _: &Path, _: &str) -> Result<Option<Kind>, Unseen> {
        Ok(None)
    }
}
