//! `<rewrite>`: rules for requests, and maps.

use super::{
    draft::{Draft, quoted, quoted_key},
    outbound,
    reference::{Unknown, input, template},
    xml::Element,
};
use crate::front::rewrite::Pattern;

pub(super) fn rewrite(element: &Element<'_>, draft: &mut Draft) {
    // A rule that looks something up is refused without its map.
    for inner in element.children().iter().filter(|inner| inner.name() == "rewriteMaps") {
        inner.children().iter().for_each(|entry| map(entry, draft));
    }
    for inner in element.children() {
        match inner.name() {
            "rewriteMaps" => {}
            "rules" => {
                for entry in &inner.children() {
                    translate(entry, draft, "[[site.rewrite]]", rule);
                }
            }
            "outboundRules" => outbound::rules(&inner, draft),
            "globalRules" | "providers" | "allowedServerVariables" => {
                draft.note(&inner, "belongs to the server, and has no counterpart in a site");
            }
            _ => draft.note(&inner, "has no counterpart"),
        }
    }
}

fn map(element: &Element<'_>, draft: &mut Draft) {
    if element.name() != "rewriteMap" {
        return;
    }
    let header = format!("[site.maps.{}]", quoted_key(element.required("name")));
    for entry in element.children().iter().filter(|entry| entry.name() == "add") {
        let line = format!("{} = {}", quoted_key(entry.required("key")), quoted(entry.required("value")));
        draft.put(&header, entry, line);
    }
    if let Some(default) = element.attribute("defaultValue").filter(|default| !default.is_empty()) {
        draft.put(&header, element, format!("\"*\" = {}", quoted(default)));
    }
}

/// A rule that is translated whole, or else noted with the reason.
pub(super) fn translate(
    element: &Element<'_>,
    draft: &mut Draft,
    header: &str,
    read: impl Fn(&Element<'_>, &mut Draft) -> Result<Vec<String>, Unknown>,
) {
    let name = element.required("name");
    match element.name() {
        "rule" if !element.is("enabled", true) => draft.note(element, &format!("{name:?} is switched off")),
        "rule" => match read(element, draft) {
            Ok(lines) => {
                let named = std::iter::once(format!("name = {}", quoted(name))).chain(lines).collect();
                draft.put_whole(header, element, name, named);
            }
            Err(why) => draft.note(element, &format!("{name:?}: {why}")),
        },
        "clear" => {}
        _ => draft.note(element, "takes out a rule of a file that is above this one, which is not read"),
    }
}

/// How a rule writes patterns.
#[derive(Clone, Copy)]
pub(super) enum Syntax {
    Regular,
    Wildcard,
    Exact,
}

impl Syntax {
    pub(super) fn of(element: &Element<'_>) -> Self {
        match element.required("patternSyntax") {
            "Wildcard" => Self::Wildcard,
            "ExactMatch" => Self::Exact,
            _ => Self::Regular,
        }
    }

    /// `text` as a pattern of ours.
    pub(super) fn pattern(self, text: &str, is_case_ignored: bool) -> String {
        let pattern = match self {
            // Which is no escape of ours; a slash needs none.
            Self::Regular => text.replace("\\/", "/"),
            Self::Wildcard => format!("^{}$", text.split('*').map(escape).collect::<Vec<_>>().join("(.*)")),
            Self::Exact => format!("^{}$", escape(text)),
        };
        if is_case_ignored { format!("(?i){pattern}") } else { pattern }
    }
}

/// What means something in a pattern as what it is.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if "\\.+*?()|[]{}^$#&-~".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn rule(element: &Element<'_>, draft: &mut Draft) -> Result<Vec<String>, Unknown> {
    let syntax = Syntax::of(element);
    let (mut lines, mut conditions) = (Vec::new(), Vec::new());
    if let Some(matched) = element.child("match") {
        let url = matched.attribute("url").unwrap_or(".*");
        let pattern = syntax.pattern(url, matched.is("ignoreCase", true));
        let is_negated = matched.is("negate", false);
        if !is_negated && pattern.parse::<Pattern>().is_ok_and(|pattern| pattern.without_slash().is_some()) {
            return Err(BEGINS_WITH_SLASH.to_owned());
        }
        match is_negated {
            true => conditions.push(format!("{{ differs = {} }}", quoted(&with_slash(&pattern)))),
            false if matches!(url, ".*" | "(.*)" | "^(.*)$" | "^.*$") && !refers(element) => {}
            false => lines.push(format!("match = {}", quoted(&pattern))),
        }
    }
    let group = element.child("conditions");
    if let Some(group) = &group {
        if group.is("trackAllCaptures", false) {
            return Err(ALL_CAPTURES.to_owned());
        }
        for entry in group.children() {
            conditions.push(condition(&entry, syntax)?);
            note_differences(&entry, draft);
        }
        let is_any = group.required("logicalGrouping") == "MatchAny";
        if is_any && conditions.len() > group.children().len() {
            return Err("its pattern is negated, and one of its conditions is enough".to_owned());
        }
        if is_any {
            lines.push("any = true".to_owned());
        }
    }
    if !conditions.is_empty() {
        lines.push(format!("conditions = [{}]", conditions.join(", ")));
    }
    for variable in element.child("serverVariables").into_iter().flat_map(|all| all.children()) {
        draft.note(&variable, "fields of requests are not changed by rules");
    }
    let action = element.child("action").ok_or("it has no action")?;
    lines.extend(does(&action)?);
    let url = action.required("url");
    if names_whole_target(url) && !ends_in_whole_target(url) {
        draft.note(&action, WITHOUT_QUERY);
    }
    if element.is("stopProcessing", false) && matches!(action.required("type"), "Rewrite" | "None" | "") {
        lines.push("stop = true".to_owned());
    }
    if lines.iter().all(|line| line.starts_with("match") || line.starts_with("conditions")) {
        return Err("it does nothing".to_owned());
    }
    Ok(lines)
}

/// Why such a rule is not translated.
const BEGINS_WITH_SLASH: &str =
    "its pattern begins with a slash, which no path does there; in IIS, too, it matches nothing";

/// Why such conditions are not translated.
pub(super) const ALL_CAPTURES: &str =
    "groups of several conditions are used; {C:1} is of the last one that matched";

/// A pattern for the path as conditions see it, with the slash that it begins with, of one for the path without.
fn with_slash(pattern: &str) -> String {
    let (flags, pattern) = pattern.split_at(if pattern.starts_with("(?i)") { 4 } else { 0 });
    let (mut written, mut anchored) = (flags.to_owned(), false);
    let (mut is_escaped, mut is_in_class) = (false, false);
    for character in pattern.chars() {
        written.push(character);
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '[' => is_in_class = true,
            ']' => is_in_class = false,
            '^' if !is_in_class => {
                written.push('/');
                anchored = true;
            }
            _ => {}
        }
    }
    // What may stand anywhere stands behind the slash.
    if anchored { written } else { format!("{flags}^/.*(?:{pattern})") }
}

/// Notes what a condition does not see here.
pub(super) fn note_differences(condition: &Element<'_>, draft: &mut Draft) {
    let is_of_files = matches!(condition.required("matchType"), "IsFile" | "IsDirectory");
    if is_of_files && draft.has_code() {
        draft.note(
            condition,
            "files are looked for in \"public\"; write as root where they are beside this application",
        );
    } else if !is_of_files && names_whole_target(condition.required("input")) {
        draft.note(condition, WITHOUT_QUERY);
    }
}

const WITHOUT_QUERY: &str = "{REQUEST_URI} is the path alone here, without the query";

/// Whether the target as it came is in `text`: path and query.
fn names_whole_target(text: &str) -> bool {
    WHOLE_TARGET.iter().any(|name| text.contains(name.trim_matches(['{', '}'])))
}

/// Whether it stands at the end, where a query can follow.
fn ends_in_whole_target(text: &str) -> bool {
    !text.contains('?') && WHOLE_TARGET.iter().any(|name| text.ends_with(name))
}

const WHOLE_TARGET: [&str; 2] = ["{REQUEST_URI}", "{UNENCODED_URL}"];

/// Whether the rule uses groups of its pattern.
fn refers(element: &Element<'_>) -> bool {
    element.children().iter().any(|child| {
        let has = |element: &Element<'_>| {
            ["url", "input"]
                .iter()
                .any(|name| element.attribute(name).is_some_and(|text| text.contains("{R:")))
        };
        has(child) || child.children().iter().any(has)
    })
}

pub(super) fn condition(element: &Element<'_>, syntax: Syntax) -> Result<String, Unknown> {
    let is_negated = element.is("negate", false);
    let text = element.required("input");
    if let kind @ ("IsFile" | "IsDirectory") = element.required("matchType") {
        if !matches!(text, "{REQUEST_FILENAME}" | "{PATH_TRANSLATED}") {
            return Err(format!("only what was asked for is looked for, and not {text:?}"));
        }
        let key = if is_negated { "is_not" } else { "is" };
        let kind = if kind == "IsFile" { "file" } else { "directory" };
        return Ok(format!("{{ {key} = \"{kind}\", root = \"public\" }}"));
    }
    let pattern = element.attribute("pattern").unwrap_or_default();
    let key = if is_negated { "differs" } else { "matches" };
    if text.eq_ignore_ascii_case("{HTTPS}") {
        let secure = match pattern.trim_matches(['^', '$']).to_ascii_lowercase().as_str() {
            "on" | "1" => "^https$",
            "off" | "0" => "^http$",
            _ => return Err(format!("{{HTTPS}} is on or off, and not {pattern:?}")),
        };
        return Ok(format!("{{ input = \"scheme\", {key} = \"{secure}\" }}"));
    }
    let pattern = quoted(&syntax.pattern(pattern, element.is("ignoreCase", true)));
    Ok(format!("{{ input = {}, {key} = {pattern} }}", quoted(&input(text)?)))
}

/// What a rule does.
fn does(action: &Element<'_>) -> Result<Vec<String>, Unknown> {
    let url = action.required("url");
    let mut lines = match action.required("type") {
        "Rewrite" if url.contains("://") => {
            return Err(
                "it forwards to another server; that is an application with upstreams = [\"http://…\"]"
                    .to_owned(),
            );
        }
        "Rewrite" => vec![format!("rewrite = {}", quoted(&rooted(&template(url)?)))],
        "Redirect" => {
            let status = match action.required("redirectType") {
                "Found" | "302" => 302,
                "SeeOther" | "303" => 303,
                "Temporary" | "307" => 307,
                _ => 301,
            };
            vec![format!("redirect = {}", quoted(&rooted(&template(url)?))), format!("status = {status}")]
        }
        "CustomResponse" => {
            let body = action.attribute("statusDescription").unwrap_or_default();
            vec![
                format!("respond = {}", number(action.required("statusCode"))?),
                format!("body = {}", quoted(body)),
            ]
        }
        "AbortRequest" => return Ok(vec!["abort = true".to_owned()]),
        "None" | "" => return Ok(Vec::new()),
        other => return Err(format!("{other:?} is no action that is known here")),
    };
    // Who leaves out the query where the target has it already, has it once.
    let is_dropped = !action.is("appendQueryString", true) && !ends_in_whole_target(url);
    if is_dropped && !action.required("type").starts_with("Custom") {
        lines.push("query = \"drop\"".to_owned());
    }
    Ok(lines)
}

fn number(text: &str) -> Result<u16, Unknown> {
    text.parse().map_err(|_| format!("{text:?} is no status"))
}

/// A place below the site is a path.
fn rooted(template: &str) -> String {
    let is_whole = template.starts_with('/') || template.contains("://") || template.starts_with("{map:");
    match template {
        "{path}" => template.to_owned(),
        _ if is_whole => template.to_owned(),
        _ => format!("/{template}"),
    }
}
