//! `<outboundRules>`: rules for fields of answers, each with its conditions and those that several share.

use super::{
    draft::{Draft, quoted},
    reference::{Unknown, template},
    rules::{ALL_CAPTURES, Syntax, condition, note_differences, translate},
    xml::Element,
};
use crate::front::rewrite::Pattern;

pub(super) fn rules(element: &Element<'_>, draft: &mut Draft) {
    let shared = element.child("preConditions").map(|all| all.children()).unwrap_or_default();
    for entry in element.children() {
        match entry.name() {
            "preConditions" => {}
            "customTags" => draft.note(&entry, BODIES),
            _ => translate(&entry, draft, "[[site.outbound]]", |entry, draft| rule(entry, &shared, draft)),
        }
    }
}

/// A rule for a field of answers.
fn rule(element: &Element<'_>, shared: &[Element<'_>], draft: &mut Draft) -> Result<Vec<String>, Unknown> {
    let matched = element.child("match").ok_or("it has no pattern")?;
    let Some(field) = matched.attribute("serverVariable").and_then(|name| name.strip_prefix("RESPONSE_"))
    else {
        return Err(BODIES.to_owned());
    };
    let field = field.replace('_', "-");
    let action = element.child("action").ok_or("it has no action")?;
    if action.required("type") != "Rewrite" {
        return Err("a rule for answers replaces what it matches, and this one does not".to_owned());
    }
    let value = template(action.attribute("value").unwrap_or_default())?;
    let own = Syntax::of(element)
        .pattern(matched.attribute("pattern").unwrap_or(".*"), matched.is("ignoreCase", true));
    let mut all = conditions(element, shared, value.contains("{C:"))?;
    for condition in element.child("conditions").into_iter().flat_map(|group| group.children()) {
        note_differences(&condition, draft);
    }
    let is_negated = matched.is("negate", false);
    if is_negated {
        let differs =
            format!("{{ input = {}, differs = {} }}", quoted(&format!("answer:{field}")), quoted(&own));
        all = all.and(Conditions { any: false, written: vec![differs] })?;
    }
    let pattern = if is_negated { ".*".to_owned() } else { own };
    if element.is("stopProcessing", false) {
        draft.note_attribute(
            element,
            "stopProcessing",
            "the rules for answers below it are asked all the same",
        );
    }
    let mut lines = vec![
        format!("field = {}", quoted(&field)),
        format!("match = {}", quoted(&pattern)),
        format!("value = {}", quoted(&value)),
    ];
    // To IIS, a field that is not there is an empty one. What would stay so is not told.
    if !value.is_empty() && pattern.parse::<Pattern>().is_ok_and(|pattern| pattern.is_in("")) {
        lines.push("add = true".to_owned());
    }
    all.write(&mut lines);
    Ok(lines)
}

/// Conditions of ours, and whether one is enough.
#[derive(Default)]
struct Conditions {
    any: bool,
    written: Vec<String>,
}

impl Conditions {
    fn of(group: &Element<'_>, syntax: Syntax) -> Result<Self, Unknown> {
        if group.is("trackAllCaptures", false) {
            return Err(ALL_CAPTURES.to_owned());
        }
        let written =
            group.children().iter().map(|entry| condition(entry, syntax)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { any: group.required("logicalGrouping") == "MatchAny" && written.len() > 1, written })
    }

    /// These and those.
    fn and(mut self, mut others: Self) -> Result<Self, Unknown> {
        if self.written.is_empty() {
            return Ok(others);
        }
        if !others.written.is_empty() && (self.any || others.any) {
            return Err("one of several conditions is enough, and others have to hold as well".to_owned());
        }
        self.written.append(&mut others.written);
        Ok(self)
    }

    fn write(&self, lines: &mut Vec<String>) {
        if self.any {
            lines.push("any = true".to_owned());
        }
        if !self.written.is_empty() {
            lines.push(format!("conditions = [{}]", self.written.join(", ")));
        }
    }
}

/// Those of the rule, and those that it shares with others. `refers` if groups of them are used.
fn conditions(element: &Element<'_>, shared: &[Element<'_>], refers: bool) -> Result<Conditions, Unknown> {
    let own = match element.child("conditions") {
        Some(group) => Conditions::of(&group, Syntax::of(element))?,
        None => Conditions::default(),
    };
    let name = element.required("preCondition");
    if name.is_empty() {
        return Ok(own);
    }
    let group = shared.iter().find(|group| group.required("name").eq_ignore_ascii_case(name));
    let group = group.ok_or_else(|| format!("there is no preCondition {name:?} in this file"))?;
    // Groups of these are not seen by the rule, and here they would come last.
    let has_groups = |entry: &Element<'_>| entry.required("pattern").contains('(');
    if refers && group.children().iter().any(has_groups) {
        return Err(format!("{{C:1}} would be a group of preCondition {name:?}"));
    }
    own.and(Conditions::of(group, Syntax::of(group))?)
}

const BODIES: &str = "bodies of answers are not rewritten";
