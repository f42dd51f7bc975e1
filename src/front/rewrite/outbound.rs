//! Rules that change what fields of answers say: where a redirect leads, what a cookie is good for.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Maps, Subject, Template, decide::Seen, pattern::Pattern, template::Piece};

/// A rule for one field of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// What it is called in the log.
    pub name: String,
    /// Which field.
    pub field: HeaderName,
    /// Which of its values.
    pub pattern: Pattern,
    /// What they are then; one that is empty is taken out.
    pub value: Template,
    /// What its value may be looked up in.
    pub maps: Arc<Maps>,
}

/// What it did to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is not about this one.
    Same,
    /// It is this now.
    Changed(HeaderValue),
    /// It is taken out.
    Removed,
}

impl Outbound {
    /// What becomes of a value of the field, in the answer to `subject`.
    #[must_use]
    pub fn value(&self, subject: &Subject<'_>, value: &HeaderValue) -> Answered {
        let Some(found) = value.to_str().ok().and_then(|text| self.pattern.find_in_field(text)) else {
            return Answered::Same;
        };
        let seen = Seen { maps: &self.maps, found, condition: None };
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
        // What cannot be written was no field before either: the request's own parts are text without control characters.
        HeaderValue::try_from(text).map_or(Answered::Same, Answered::Changed)
    }

    /// Changes all values of the field among `fields`, which answer `subject`. Returns whether there was one to change.
    pub fn amend(&self, subject: &Subject<'_>, fields: &mut HeaderMap) -> bool {
        let values: Vec<_> = fields.get_all(&self.field).iter().cloned().collect();
        let answered: Vec<_> = values.iter().map(|value| self.value(subject, value)).collect();
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
}
