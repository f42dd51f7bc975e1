//! `[[site.rewrite]]`, `[[site.outbound]]` and `maps`: rules for requests, and for fields of answers.

use std::{collections::BTreeMap, fmt::Display, ops::Range, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use toml::de::{DeTable, DeValue};

use super::super::{
    fault::Refusal,
    keys,
    values::{boolean, one_of},
    written::{Section, Value},
};
use super::{headers, https::redirect_status};
use crate::front::rewrite::{
    About, Action, Condition, Kind, Maps, NoStatus, Outbound, Pattern, Query, Reference, Response, Rule,
    Rules, Scope, Statuses, Template, TemplateError, Test, Then,
};

/// The rules for requests.
pub(super) fn read(section: &Section<'_>, maps: &Maps) -> Option<Rules> {
    let tables = section.tables("rewrite");
    let rules: Vec<_> = tables
        .into_iter()
        .enumerate()
        .map(|(number, (table, at))| rule(section, number + 1, table, at, maps))
        .collect();
    (!rules.is_empty()).then(|| Rules { rules: rules.into_iter().flatten().collect(), maps: maps.clone() })
}

/// The tables that rules look things up in.
pub(super) fn maps(section: &Section<'_>) -> Maps {
    let Some(table) = section.read("maps", Value::table) else { return Maps::default() };
    let map = |(name, value): (&toml::Spanned<_>, _)| {
        let value = Value { reading: section.reading, written: value };
        let entries =
            value.table().map_err(|refusal| section.refuse(&key_of(name), &value.at(), refusal)).ok()?;
        Some((name.get_ref().to_string(), entries_of(section, &key_of(name), entries)))
    };
    fn key_of(name: &toml::Spanned<std::borrow::Cow<'_, str>>) -> String {
        format!("maps.{}", name.get_ref())
    }
    Maps(table.iter().filter_map(map).collect())
}

fn entries_of(section: &Section<'_>, key: &str, table: &DeTable<'_>) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    for (name, value) in table {
        let value = Value { reading: section.reading, written: value };
        match value.text() {
            Ok(text) => drop(entries.insert(name.get_ref().to_string(), text)),
            Err(refusal) => section.refuse(&format!("{key}.{}", name.get_ref()), &value.at(), refusal),
        }
    }
    entries
}

fn rule<'a>(
    site: &Section<'a>,
    number: usize,
    table: &'a DeTable<'a>,
    at: Range<usize>,
    maps: &Maps,
) -> Option<Rule> {
    let section =
        Section::new(site.reading, format!("{}.rewrite[{number}]", site.name), at, table, &keys::REWRITE);
    let name = section.read("name", Value::text).unwrap_or_else(|| format!("rewrite[{number}]"));
    let pattern = match section.value("match") {
        Some(_) => section.read("match", of_paths),
        None => Some(Pattern::everything()),
    };
    let conditions = conditions(&section);
    let any = section.read("any", boolean).unwrap_or_default();
    let action = action(&section);
    let then = then(&section, action.as_ref());
    let (pattern, conditions, action) = (pattern?, conditions?, action?);
    let rule = Rule { name, pattern, conditions, any, action, then };
    check(&section, &rule, maps);
    Some(rule)
}

/// A pattern for paths, which are looked at without the slash that they begin with.
fn of_paths(value: &Value<'_>) -> Result<Pattern, Refusal> {
    let pattern: Pattern = parsed(value)?;
    match pattern.without_slash() {
        Some(without) => Err(Refusal::new(format!(
            "matches no path, for they are looked at without the slash that they begin with; write {without:?} (is {:?})",
            pattern.as_str()
        ))),
        None => Ok(pattern),
    }
}

/// Notes what a rule refers to that is not there.
fn check(section: &Section<'_>, rule: &Rule, maps: &Maps) {
    let patterns = patterns(&rule.conditions);
    let scope = Scope { pattern: &rule.pattern, conditions: &patterns, maps, about: About::Requests };
    for condition in &rule.conditions {
        note(section, "conditions", condition.input.check(scope));
    }
    match &rule.action {
        Action::Rewrite(template, _) => {
            note(section, "rewrite", template.check(scope).and_then(|()| template.check_rewrite()));
        }
        Action::Redirect(_, template, _) => {
            note(section, "redirect", template.check(scope).and_then(|()| template.check_redirect()));
        }
        _ => {}
    }
}

/// The patterns whose groups can be referred to.
fn patterns(conditions: &[Condition]) -> Vec<&Pattern> {
    let tests = conditions.iter().map(|condition| &condition.test);
    tests
        .filter_map(|test| match test {
            Test::Matches(pattern) => Some(pattern),
            _ => None,
        })
        .collect()
}

fn note(section: &Section<'_>, key: &'static str, checked: Result<(), TemplateError>) {
    if let Err(error) = checked {
        let at = section.value(key).map_or(section.at.clone(), |value| value.at());
        section.refuse(key, &at, Refusal::new(error.to_string()));
    }
}

/// What is done; `None` if that was refused.
fn action(section: &Section<'_>) -> Option<Action> {
    let written: Vec<_> =
        ACTIONS.into_iter().filter_map(|key| section.value(key).map(|value| (key, value.at()))).collect();
    if let [(first, _), (second, at), ..] = &written[..] {
        let refusal = Refusal::new(format!("a rule does one thing, and this one has {first} already"));
        section.refuse(second, at, refusal);
        return None;
    }
    let key = written.first().map_or("", |(key, _)| key);
    for (own, owner) in [("status", "redirect"), ("body", "respond"), ("content_type", "respond")] {
        if let Some(value) = section.value(own).filter(|_| key != owner) {
            section.refuse(own, &value.at(), Refusal::new(format!("has no effect without {owner}")));
        }
    }
    if let Some(value) = section.value("query").filter(|_| !matches!(key, "rewrite" | "redirect")) {
        section.refuse("query", &value.at(), Refusal::new("has no effect without rewrite or redirect"));
    }
    match key {
        "rewrite" => {
            let template = section.read("rewrite", parsed::<Template>)?;
            let query = query(section, &template);
            Some(Action::Rewrite(template, query))
        }
        "redirect" => {
            let template = section.read("redirect", parsed::<Template>)?;
            let status = section.read("status", redirect_status(&[301, 302, 303, 307, 308]));
            let query = query(section, &template);
            Some(Action::Redirect(status.unwrap_or(StatusCode::FOUND), template, query))
        }
        "respond" => respond(section).map(Action::Respond),
        "abort" => match section.read("abort", boolean)? {
            true => Some(Action::Abort),
            false => Some(Action::Nothing),
        },
        _ if section.value("stop").is_some() => Some(Action::Nothing),
        _ => {
            let refusal = Refusal::new("does nothing; give it rewrite, redirect, respond, abort or stop");
            section.refuse("rewrite", &section.at, refusal);
            None
        }
    }
}

fn query(section: &Section<'_>, template: &Template) -> Query {
    let written = section.read("query", one_of(&[("keep", Query::Keep), ("drop", Query::Drop)]));
    // Not twice.
    written.unwrap_or(if template.has_query() { Query::Drop } else { Query::Keep })
}

fn respond(section: &Section<'_>) -> Option<Response> {
    let status = section.read("respond", |value| {
        let number = match value.written.get_ref() {
            DeValue::Integer(number) => {
                number.as_str().parse().ok().filter(|number| (200..600).contains(number))
            }
            _ => None,
        };
        number
            .and_then(|number| StatusCode::from_u16(number).ok())
            .ok_or_else(|| Refusal::new("must be a status, from 200 to 599"))
    })?;
    let body = section.read("body", |value| {
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED) {
            return Err(Refusal::new(format!("an answer of {} has no body", status.as_u16())));
        }
        value.text()
    });
    let content_type = section.read("content_type", |value| {
        let text = value.text()?;
        HeaderValue::from_str(&text)
            .map_err(|_| Refusal::new(format!("must not contain control characters (is {text:?})")))
    });
    Some(Response {
        status,
        body: Bytes::from(body.unwrap_or_default()),
        content_type: content_type.unwrap_or(HeaderValue::from_static("text/plain; charset=utf-8")),
    })
}

fn then(section: &Section<'_>, action: Option<&Action>) -> Then {
    let stop = section.read("stop", boolean).unwrap_or_default();
    let again = section.read("again", boolean).unwrap_or_default();
    let at = section.value("again").map_or(section.at.clone(), |value| value.at());
    if again && stop {
        section.refuse("again", &at, Refusal::new("a rule cannot stop and begin again"));
    }
    if again && !matches!(action, Some(Action::Rewrite(..)) | None) {
        section.refuse("again", &at, Refusal::new("has no effect without rewrite"));
    }
    match (stop, again) {
        (true, _) => Then::Stop,
        (_, true) => Then::Again,
        _ => Then::Next,
    }
}

/// `None` if one was refused.
fn conditions(section: &Section<'_>) -> Option<Vec<Condition>> {
    let tables = section.tables("conditions");
    let read = tables.into_iter().enumerate().map(|(number, (table, at))| {
        let name = format!("{}.conditions[{}]", section.name, number + 1);
        condition(&Section::new(section.reading, name, at, table, &keys::CONDITION))
    });
    // All of them are read, so that all faults are told.
    let read: Vec<_> = read.collect();
    read.into_iter().collect()
}

fn condition(section: &Section<'_>) -> Option<Condition> {
    let input = section.value("input").is_none().then_some(Reference::Path);
    let input = input.or_else(|| section.read("input", parsed::<Reference>));
    let written: Vec<_> = TESTS.into_iter().filter(|key| section.value(key).is_some()).collect();
    let [test] = written[..] else {
        let refusal = Refusal::new("needs one of matches, differs, is and is_not");
        section.refuse("matches", &section.at, refusal);
        return None;
    };
    let root = section.read("root", |value| Ok(section.reading.resolve(value.text()?)));
    let of_files = matches!(test, "is" | "is_not");
    if of_files != section.value("root").is_some() {
        let at = section.value("root").map_or(section.at.clone(), |value| value.at());
        let why = if of_files {
            "is missing; say below which folder"
        } else {
            "has no effect without is or is_not"
        };
        section.refuse("root", &at, Refusal::new(why));
        return None;
    }
    let kind = || section.read(test, one_of(&[("file", Kind::File), ("directory", Kind::Directory)]));
    let test = match test {
        "matches" => Test::Matches(section.read("matches", parsed)?),
        "differs" => Test::Differs(section.read("differs", parsed)?),
        "is" => Test::Is(kind()?, root?),
        _ => Test::IsNot(kind()?, root?),
    };
    Some(Condition { input: input?, test })
}

/// The rules for fields of answers.
pub(super) fn outbound(section: &Section<'_>, maps: &Maps) -> Vec<Outbound> {
    let maps = Arc::new(maps.clone());
    let tables = section.tables("outbound").into_iter().enumerate();
    let read = tables.map(|(number, (table, at))| {
        let name = format!("{}.outbound[{}]", section.name, number + 1);
        let section = Section::new(section.reading, name, at, table, &keys::OUTBOUND);
        outbound_rule(&section, number + 1, &maps)
    });
    read.collect::<Vec<_>>().into_iter().flatten().collect()
}

fn outbound_rule(section: &Section<'_>, number: usize, maps: &Arc<Maps>) -> Option<Outbound> {
    for key in ["field", "match", "value"].into_iter().filter(|key| section.value(key).is_none()) {
        section.refuse(key, &section.at, Refusal::new("is missing"));
    }
    let name = section.read("name", Value::text).unwrap_or_else(|| format!("outbound[{number}]"));
    let field = section.read("field", |value| headers::name(&value.text()?));
    let pattern = section.read("match", parsed::<Pattern>);
    let value = section.read("value", parsed::<Template>);
    let statuses = section.read_each("status", statuses).unwrap_or_default().into_iter().map(|(one, _)| one);
    let conditions = conditions(section);
    let any = section.read("any", boolean).unwrap_or_default();
    let add = section.read("add", boolean).unwrap_or_default();
    let rule = Outbound {
        name,
        statuses: statuses.collect(),
        field: field?,
        pattern: pattern?,
        conditions: conditions?,
        any,
        value: value?,
        add,
        maps: Arc::clone(maps),
    };
    check_outbound(section, &rule);
    Some(rule)
}

/// Notes what a rule for answers refers to that is not there, and what would have no effect.
fn check_outbound(section: &Section<'_>, rule: &Outbound) {
    let patterns = patterns(&rule.conditions);
    let scope =
        Scope { pattern: &rule.pattern, conditions: &patterns, maps: &*rule.maps, about: About::Answers };
    for condition in &rule.conditions {
        note(section, "conditions", condition.input.check(scope));
        if let Some(value) = section.value("conditions")
            && matches!(condition.test, Test::Is(..) | Test::IsNot(..))
        {
            let why = "files are looked for when a request comes, and not when its answer leaves";
            section.refuse("conditions", &value.at(), Refusal::new(why));
        }
    }
    note(section, "value", rule.value.check(scope));
    if let Some(value) = section.value("add").filter(|_| rule.add && !rule.pattern.is_in("")) {
        let why = "has no effect with a pattern that the empty text does not have";
        section.refuse("add", &value.at(), Refusal::new(why));
    }
}

/// `"404"`, `404` or `"4xx"`.
fn statuses(value: &Value<'_>) -> Result<Statuses, Refusal> {
    let text = match value.written.get_ref() {
        DeValue::Integer(number) => number.as_str().to_owned(),
        _ => value.text()?,
    };
    text.parse().map_err(|error: NoStatus| Refusal::new(format!("{error} (is {text:?})")))
}

/// A text that says what it should be itself.
fn parsed<T>(value: &Value<'_>) -> Result<T, Refusal>
where
    T: std::str::FromStr,
    T::Err: Display,
{
    let text = value.text()?;
    text.parse().map_err(|error: T::Err| Refusal::new(format!("{error} (is {text:?})")))
}

/// What a rule can do.
const ACTIONS: [&str; 4] = ["rewrite", "redirect", "respond", "abort"];

/// What a condition can ask for.
const TESTS: [&str; 4] = ["matches", "differs", "is", "is_not"];
