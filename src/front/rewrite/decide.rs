//! What becomes of a request, by the rules.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    Action, Condition, Files, Kind, Maps, Query, Response, Rule, Rules, Test, Then, Unseen,
    pattern::{Found, Pattern},
    reference::Reference,
    template::{Piece, Template},
    value::{LONGEST, Origin, Target, Unusable, Value},
};
use crate::{
    authority,
    facts::{End, Scheme},
    path,
};

/// A request, as far as rules look at it.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Below the site's or the application's own path; begins with a slash.
    path: String,
    query: Option<String>,
    method: &'a str,
    scheme: Scheme,
    authority: &'a str,
    client: End,
    fields: &'a HeaderMap,
    /// Status and fields, once it is there.
    answer: Option<(StatusCode, &'a HeaderMap)>,
}

impl<'a> Subject<'a> {
    /// A request for that path, which begins with a slash.
    #[must_use]
    pub fn new(path: &str, query: Option<&str>, method: &'a str, fields: &'a HeaderMap) -> Self {
        Self {
            path: path::canonical(path).into_owned(),
            query: query.map(str::to_owned),
            method,
            scheme: Scheme::Http,
            authority: "",
            client: End::Unknown,
            fields,
            answer: None,
        }
    }

    /// The same, as that client has asked for it.
    #[must_use]
    pub fn asked(self, scheme: Scheme, authority: &'a str, client: End) -> Self {
        Self { scheme, authority, client, ..self }
    }

    /// The same, with its answer.
    pub(super) fn answered(self, status: StatusCode, fields: &'a HeaderMap) -> Self {
        Self { answer: Some((status, fields)), ..self }
    }

    /// A field of the answer; several lines as one.
    fn answer_field(&self, name: &HeaderName) -> String {
        let lines = self.answer.iter().flat_map(|(_, fields)| fields.get_all(name));
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        lines.join(", ")
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        let lines = self.fields.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'r> {
    /// It goes on as it came.
    Pass,
    /// It goes on with this path and query, below the same path as before.
    Rewritten(String),
    /// Its client is sent there.
    Redirect(StatusCode, String),
    /// It gets this answer.
    Respond(&'r Response),
    /// Its connection is closed.
    Abort,
}

/// What a rule has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fired<'a> {
    /// Nothing; but it may have ended the evaluation.
    Nothing,
    /// The request has this path and query now.
    Rewritten(&'a str),
    /// The client is sent there.
    Redirected(&'a str),
    /// The request is answered.
    Answered(StatusCode),
    /// Its connection is closed.
    Aborted,
}

/// Why nothing becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The client's request makes no target that could be used.
    #[error("rule {rule:?}: {why}")]
    Client {
        /// Which rule would.
        rule: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The rules do not, whatever the request.
    #[error("rule {rule:?}: {why}")]
    Rules {
        /// Which one.
        rule: String,
        /// What is wrong.
        why: &'static str,
    },
    /// What becomes of it depends on files, and nobody can say what there is.
    #[error("rule {rule:?}: {why}")]
    Files {
        /// Whose condition.
        rule: String,
        /// Why not.
        why: Unseen,
    },
}

impl Refused {
    fn new(rule: &Rule, unusable: &Unusable) -> Self {
        let rule = rule.name.clone();
        match *unusable {
            Unusable::Client(why) => Self::Client { rule, why },
            Unusable::Rules(why) => Self::Rules { rule, why },
        }
    }
}

impl Rules {
    /// What becomes of `subject`; `fired` hears of each rule that does something.
    ///
    /// # Errors
    /// Rules go round in a circle, or make what is no target of what the client sent.
    pub fn decide(
        &self,
        mut subject: Subject<'_>,
        files: &dyn Files,
        fired: &mut dyn FnMut(&Rule, Fired<'_>),
    ) -> Result<Outcome<'_>, Refused> {
        let (mut next, mut rounds, mut outcome) = (0, 0, Outcome::Pass);
        while let Some(rule) = self.rules.get(next) {
            next += 1;
            let applies = rule.applies(&subject, &self.maps, files);
            let unseen = |why| Refused::Files { rule: rule.name.clone(), why };
            let Some(seen) = applies.map_err(unseen)? else { continue };
            match rule.act(&subject, &seen).map_err(|why| Refused::new(rule, &why))? {
                Outcome::Rewritten(target) => {
                    fired(rule, Fired::Rewritten(&target));
                    subject.go_to(&target);
                    outcome = Outcome::Rewritten(target);
                }
                Outcome::Pass => fired(rule, Fired::Nothing),
                end => {
                    fired(rule, end.as_fired());
                    return Ok(end);
                }
            }
            match rule.then {
                Then::Next => {}
                Then::Stop => break,
                Then::Again if rounds == MOST_ROUNDS => {
                    let why = Unusable::Rules("begins again and again; the rules go round in a circle");
                    return Err(Refused::new(rule, &why));
                }
                Then::Again => (next, rounds) = (0, rounds + 1),
            }
        }
        Ok(outcome)
    }
}

impl Outcome<'_> {
    fn as_fired(&self) -> Fired<'_> {
        match self {
            Self::Pass => Fired::Nothing,
            Self::Rewritten(target) => Fired::Rewritten(target),
            Self::Redirect(_, target) => Fired::Redirected(target),
            Self::Respond(response) => Fired::Answered(response.status),
            Self::Abort => Fired::Aborted,
        }
    }
}

impl Subject<'_> {
    fn go_to(&mut self, target: &str) {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        self.path = path::canonical(path).into_owned();
        self.query = query.map(str::to_owned);
    }
}

/// What the patterns of one rule have found, and where else values come from.
pub(super) struct Seen<'a, 'p> {
    pub(super) maps: &'a Maps,
    pub(super) found: Found<'p>,
    pub(super) condition: Option<Found<'p>>,
    /// The field of an answer that the rule's own pattern was looked for in.
    pub(super) field: Option<&'a HeaderName>,
}

impl<'p> Seen<'_, 'p> {
    /// Whether these conditions hold; one of them where `any` is enough.
    pub(super) fn meets(
        &mut self,
        conditions: &'p [Condition],
        any: bool,
        subject: &Subject<'_>,
        files: &dyn Files,
    ) -> Result<bool, Unseen> {
        let is_one_enough = any && !conditions.is_empty();
        for condition in conditions {
            if condition.holds(subject, self, files)? == is_one_enough {
                return Ok(is_one_enough);
            }
        }
        Ok(!is_one_enough)
    }
}

impl Rule {
    /// What was found, if it is for this request.
    fn applies<'a, 'p>(
        &'p self,
        subject: &Subject<'_>,
        maps: &'a Maps,
        files: &dyn Files,
    ) -> Result<Option<Seen<'a, 'p>>, Unseen> {
        let path = subject.path.strip_prefix('/').unwrap_or(&subject.path);
        // Most rules are not for most requests: that is seen without a copy of anything.
        if !self.pattern.is_in(path) {
            return Ok(None);
        }
        let Some(found) = self.pattern.find(Value::new(path, Origin::Path)) else { return Ok(None) };
        let mut seen = Seen { maps, found, condition: None, field: None };
        Ok(seen.meets(&self.conditions, self.any, subject, files)?.then_some(seen))
    }

    fn act(&self, subject: &Subject<'_>, seen: &Seen<'_, '_>) -> Result<Outcome<'_>, Unusable> {
        Ok(match &self.action {
            Action::Nothing => Outcome::Pass,
            Action::Rewrite(template, query) => {
                Outcome::Rewritten(rewritten(with_query(template.expand(subject, seen)?, subject, *query))?)
            }
            Action::Redirect(status, template, query) => {
                let target = with_query(template.expand(subject, seen)?, subject, *query);
                Outcome::Redirect(*status, redirected(target, template)?)
            }
            Action::Respond(response) => Outcome::Respond(response),
            Action::Abort => Outcome::Abort,
        })
    }
}

impl Condition {
    fn holds<'p>(
        &'p self,
        subject: &Subject<'_>,
        seen: &mut Seen<'_, 'p>,
        files: &dyn Files,
    ) -> Result<bool, Unseen> {
        let value = self.input.value(subject, seen);
        let is = |kind: Kind, folder| Ok(files.kind(folder, &value.text)? == Some(kind));
        Ok(match &self.test {
            Test::Matches(pattern) => match pattern.find(value) {
                Some(found) => {
                    if pattern.has_groups() || seen.condition.is_none() {
                        seen.condition = Some(found);
                    }
                    true
                }
                None => false,
            },
            Test::Differs(pattern) => !pattern.is_in(&value.text),
            Test::Is(kind, folder) => is(*kind, folder)?,
            Test::IsNot(kind, folder) => !is(*kind, folder)?,
        })
    }
}

impl Reference {
    pub(super) fn value(&self, subject: &Subject<'_>, seen: &Seen<'_, '_>) -> Value {
        match self {
            Self::Match(group) => seen.found.part(group),
            Self::Condition(group) => match &seen.condition {
                Some(found) => found.part(group),
                None => Value::new("", Origin::Configuration),
            },
            Self::Path => Value::new(&*subject.path, Origin::Path),
            Self::Query => Value::new(subject.query.as_deref().unwrap_or_default(), Origin::Query),
            Self::Method => Value::new(subject.method, Origin::Elsewhere),
            Self::Scheme => Value::new(subject.scheme.as_str(), Origin::Configuration),
            Self::Authority => Value::new(subject.authority, Origin::Authority),
            Self::Host => Value::new(authority::name(subject.authority), Origin::Authority),
            Self::Client => Value::new(address(subject.client), Origin::Elsewhere),
            Self::Field(name) => {
                let bytes = subject.fields.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
                Value::new(String::from_utf8_lossy(bytes), Origin::Elsewhere)
            }
            Self::Cookie(name) => Value::new(subject.cookie(name).unwrap_or_default(), Origin::Elsewhere),
            Self::Status => {
                let status = subject.answer.as_ref().map_or("", |(status, _)| status.as_str());
                Value::new(status, Origin::Configuration)
            }
            // One line of it after the other is looked at.
            Self::AnswerField(name) if seen.field == Some(name) => seen.found.whole().clone(),
            Self::AnswerField(name) => Value::new(subject.answer_field(name), Origin::Elsewhere),
            Self::Map(map, key) => {
                Value::new(seen.maps.look_up(map, &key.value(subject, seen).text), Origin::Configuration)
            }
            Self::Lower(inner) => {
                let Value { text, origin } = inner.value(subject, seen);
                Value::new(text.to_ascii_lowercase(), origin)
            }
        }
    }
}

fn address(client: End) -> Cow<'static, str> {
    match client {
        End::Ip(address) => address.ip().to_canonical().to_string().into(),
        End::Unix => "unix".into(),
        End::Unknown => "".into(),
    }
}

impl Template {
    fn expand(&self, subject: &Subject<'_>, seen: &Seen<'_, '_>) -> Result<String, Unusable> {
        let mut target = Target::new(self.names_authority());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => target.push(&Value::new(&**text, Origin::Configuration))?,
                Piece::Reference(Reference::Path) => {
                    target.push_path(&Reference::Path.value(subject, seen))?;
                }
                Piece::Reference(reference) => target.push(&reference.value(subject, seen))?,
            }
        }
        Ok(target.text)
    }
}

/// `target` with the query that the request came with, if that is wanted.
fn with_query(mut target: String, subject: &Subject<'_>, query: Query) -> String {
    if let (Query::Keep, Some(query)) = (query, subject.query.as_deref().filter(|query| !query.is_empty())) {
        // Behind a # all is a browser's own.
        let end = target.find('#').unwrap_or(target.len());
        let sign = if target[..end].contains('?') { '&' } else { '?' };
        target.insert_str(end, &format!("{sign}{query}"));
    }
    target
}

/// A target within the site, in normal form.
fn rewritten(target: String) -> Result<String, Unusable> {
    // What a map has may be anything.
    if ["//", "http:", "https:"].iter().any(|start| target.starts_with(start)) {
        return Err(Unusable::Rules("leads out of the site"));
    }
    let target = if target.starts_with('/') { target } else { format!("/{target}") };
    let path = target.split('?').next().unwrap_or_default();
    if path.contains('#') {
        return Err(Unusable::Rules("makes a path with a #"));
    }
    if path::has_dots(path) {
        return Err(Unusable::Client("makes a path with dot segments"));
    }
    if path::has_controls(path) {
        return Err(Unusable::Client("makes a path with control characters"));
    }
    if target.len() > LONGEST { Err(Unusable::Rules("makes a target that is too long")) } else { Ok(target) }
}

/// Where a client can be sent.
fn redirected(target: String, template: &Template) -> Result<String, Unusable> {
    let absolute = ["https://", "http://"].iter().any(|start| target.starts_with(start));
    if absolute || template.names_authority() {
        return Ok(target);
    }
    if !target.starts_with('/') {
        return Err(Unusable::Rules("makes no target that a client could be sent to"));
    }
    // A map's own, or what is left where something is empty.
    Ok(format!("/{}", target.trim_start_matches('/')))
}

/// How often rules may begin again for one request.
const MOST_ROUNDS: usize = 10;

impl Pattern {
    pub(super) fn find_in_field<'p>(&'p self, text: &str) -> Option<Found<'p>> {
        self.find(Value::new(text, Origin::Elsewhere))
    }
}
