//! `<location path="…">`: what holds for a part of a site alone.
//!
//! Tables have no paths but those of applications, so what is said of a path becomes a rule with a pattern. What keeps
//! people out and cannot be said so keeps everybody out: nobody shall get in because a file was translated.

use super::{
    NOT_OURS, content,
    draft::{Draft, quoted, quoted_key},
    rules::escape,
    security,
    xml::Element,
};

/// Whether all of the site is meant.
pub(super) fn is_all(element: &Element<'_>) -> bool {
    matches!(element.attribute("path").unwrap_or_default(), "" | "." | "/")
}

pub(super) fn location(element: &Element<'_>, draft: &mut Draft) {
    if is_all(element) {
        return;
    }
    let part = Part(element.required("path").trim_matches('/'));
    for inner in element.children() {
        match inner.name() {
            "system.webServer" => inner.children().iter().for_each(|inner| part.section(inner, draft)),
            _ => draft.note(&inner, &part.why(NOT_OURS)),
        }
    }
}

/// A path without its slashes, which is a file's or that of all below it. IIS knows no upper and lower case.
struct Part<'a>(&'a str);

impl Part<'_> {
    /// As rules see paths, without the first slash.
    fn pattern(&self) -> String {
        format!("(?i)^{}(?:/|$)", escape(self.0))
    }

    fn why(&self, why: &str) -> String {
        format!("for the path {:?} alone: {why}", self.0)
    }

    /// A child of `<system.webServer>`.
    fn section(&self, element: &Element<'_>, draft: &mut Draft) {
        match element.name() {
            "httpProtocol" => element.children().iter().for_each(|inner| self.headers(inner, draft)),
            "httpRedirect" => content::http_redirect(element, Some(&self.pattern()), draft),
            "staticContent" => element.children().iter().for_each(|inner| self.files(inner, draft)),
            "security" => element.children().iter().for_each(|inner| self.security(inner, draft)),
            "aspNetCore" | "httpPlatform" | "handlers" => {
                let own = format!("write a [[site.application]] with path = \"/{}\" and the command of what runs there", self.0);
                draft.note(element, &self.why(&own));
            }
            _ => draft.note(
                element,
                &self.why("tables are for a site or an application; write a [[site.application]] with that path, and put it there"),
            ),
        }
    }

    /// Fields of answers, as rules for them.
    fn headers(&self, element: &Element<'_>, draft: &mut Draft) {
        if element.name() != "customHeaders" {
            draft.note(element, &self.why("has no counterpart"));
            return;
        }
        for entry in element.children() {
            let (pattern, value) = match entry.name() {
                "add" => (".*", entry.attribute("value").unwrap_or_default()),
                "remove" => (".+", ""),
                _ => continue,
            };
            let name = entry.required("name");
            let condition = self.pattern().replacen('^', "^/", 1);
            let mut lines = vec![
                format!("field = {}", quoted(name)),
                format!("match = \"(?s)^{pattern}$$\""),
                format!("value = {}", quoted(&value.replace('{', "{{").replace('}', "}}"))),
                format!("conditions = [{{ input = \"path\", matches = {} }}]", quoted(&condition)),
            ];
            if !value.is_empty() {
                lines.push("add = true".to_owned());
            }
            draft.put_whole("[[site.outbound]]", &entry, name, lines);
        }
    }

    fn files(&self, element: &Element<'_>, draft: &mut Draft) {
        if !content::are_ours(element, draft) {
            return;
        }
        match element.name() {
            "clientCache" => {
                if let Some(value) = content::lifetime(element, draft) {
                    // What has a dot is a file, as far as anybody can tell.
                    let is_file = self.0.rsplit('/').next().is_some_and(|last| last.contains('.'));
                    let pattern = quoted_key(&format!("/{}{}", self.0, if is_file { "" } else { "/*" }));
                    let line = format!("{pattern} = {}", quoted(&value));
                    draft.put_first(content::CACHE_CONTROL, element, line);
                }
            }
            _ => draft.note(element, &self.why("types of files are those of the whole site")),
        }
    }

    fn security(&self, element: &Element<'_>, draft: &mut Draft) {
        let keeps_out = match element.name() {
            "ipSecurity" => !element.is("allowUnlisted", true) || !element.children().is_empty(),
            "authorization" => security::Authorization::of(element).is_closed(),
            "authentication" => security::refuses_strangers(element),
            "access" => element.required("sslFlags").contains("RequireCert"),
            _ => false,
        };
        if !keeps_out {
            let says_nothing = match element.name() {
                "access" => matches!(element.required("sslFlags"), "" | "None"),
                name => matches!(name, "authorization" | "authentication" | "ipSecurity"),
            };
            if !says_nothing {
                draft.note(
                    element,
                    &self.why("write a [[site.application]] with that path, and its tables below it"),
                );
            }
            return;
        }
        let own = format!(
            "who may come in is said of sites and applications. Until then nobody does, by the first [[site.rewrite]], which \
             does not see where other rules lead; write a [[site.application]] with path = \"/{}\" and the tables for it, and \
             take that rule out",
            self.0
        );
        draft.note(element, &self.why(&own));
        let lines = vec![
            format!("name = {}", quoted(&format!("closed: {}", self.0))),
            format!("match = {}", quoted(&self.pattern())),
            "respond = 403".to_owned(),
        ];
        draft.put_whole_first("[[site.rewrite]]", element, self.0, lines);
    }
}
