//! What is in a folder, for people or for programs.
//!
//! Names are anybody's who may write into the folder: in the page they are text, and in links parts of a path, whatever
//! is in them. JSON has the form that nginx gives it (`autoindex_format json`), which programs know.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde::Serialize;

use super::list::{Entry, Kind, Listing};
use crate::files::date;

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    #[default]
    Html,
    Json,
}

impl Form {
    /// What `Accept` prefers; the page, if it does not care.
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let weight = |kind| weight(fields, kind);
        if weight(["application", "json"]) > weight(["text", "html"]) { Self::Json } else { Self::Html }
    }

    /// The answer for the folder at `path`: its fields and its text.
    pub(super) fn answer(self, path: &str, has_parent: bool, listing: &Listing) -> (HeaderMap, String) {
        let (kind, text) = match self {
            Self::Html => ("text/html; charset=utf-8", page(path, has_parent, listing)),
            Self::Json => ("application/json", json(listing)),
        };
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        fields.insert(header::VARY, HeaderValue::from_static("accept"));
        // The date of a folder says nothing of the files in it, which change without it. So it has no validator.
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if listing.is_cut {
            fields.insert("cohost-listing", HeaderValue::from_static("incomplete"));
        }
        (fields, text)
    }
}

/// How much a media type is wanted: what `Accept` says of the range that fits it best.
fn weight(fields: &HeaderMap, [kind, subtype]: [&str; 2]) -> f32 {
    let lines = fields.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut best = (0, 0.0);
    for range in lines.flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let fit = match name.split_once('/') {
            Some((one, other)) if one.eq_ignore_ascii_case(kind) && other.eq_ignore_ascii_case(subtype) => 3,
            Some((one, "*")) if one.eq_ignore_ascii_case(kind) => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        if fit > best.0 {
            best = (fit, weight.and_then(|weight| weight.parse().ok()).unwrap_or(1.0));
        }
    }
    best.1
}

fn page(path: &str, has_parent: bool, listing: &Listing) -> String {
    let path = escaped(&percent_decode_str(path).decode_utf8_lossy());
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>Index of {path}</title>\n</head>\n\
         <body>\n<h1>Index of {path}</h1>\n<table>\n<thead><tr><th>Name</th><th>Size</th><th>Written</th></tr></thead>\n\
         <tbody>\n"
    );
    if has_parent {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for entry in &listing.entries {
        entry.write_row(&mut page);
    }
    page.push_str("</tbody>\n</table>\n");
    if listing.is_cut {
        let _ = writeln!(
            page,
            "<p>There is more in this folder: these are {} of it, in no order.</p>",
            listing.entries.len()
        );
    }
    page.push_str("</body>\n</html>\n");
    page
}

impl Entry {
    fn write_row(&self, page: &mut String) {
        let slash = if self.kind == Kind::Directory { "/" } else { "" };
        let link = percent_encode(&self.name, OF_A_SEGMENT);
        let name = escaped(&String::from_utf8_lossy(&self.name));
        let _ = write!(page, "<tr><td><a href=\"{link}{slash}\">{name}{slash}</a></td><td>");
        if let Kind::File(size) = self.kind {
            let _ = write!(page, "{size}");
        }
        let _ = writeln!(page, "</td><td>{}</td></tr>", self.written());
    }

    fn written(&self) -> String {
        let date = self.modified.and_then(date);
        date.and_then(|date| date.to_str().map(str::to_owned).ok()).unwrap_or_default()
    }
}

fn json(listing: &Listing) -> String {
    #[derive(Serialize)]
    struct Written<'a> {
        name: &'a str,
        r#type: &'static str,
        mtime: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
    }
    let written = listing.entries.iter().filter_map(|entry| {
        let (r#type, size) = match entry.kind {
            Kind::Directory => ("directory", None),
            Kind::File(size) => ("file", Some(size)),
        };
        // What is no text cannot be written, and nobody could ask for what was written in its place.
        let name = std::str::from_utf8(&entry.name).ok()?;
        Some(Written { name, r#type, mtime: entry.written(), size })
    });
    serde_json::to_string(&written.collect::<Vec<_>>()).expect("texts and numbers")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// All but what stands for itself wherever it stands: no name becomes a scheme, a query, or a way up.
const OF_A_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

// With the parser that reads web.config.
#[cfg(test)]
#[cfg(feature = "config")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::files::Name;

    fn form(accept: &str) -> Form {
        Form::of(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]))
    }

    #[test]
    fn programs_that_prefer_json_get_it() {
        for accept in [
            "application/json",
            "application/json, */*;q=0.1",
            "text/html;q=0.5, application/json;q=0.9",
            "Application/JSON",
            "application/*, text/html;q=0.9",
            "text/*;q=0.3, application/json;Q=0.4",
            "*/*, text/html;q=0",
        ] {
            assert_eq!(form(accept), Form::Json, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/html, application/json",
            "application/json;q=0.5, text/html",
            "application/json;q=0",
            "application/json;q=nan",
            "application/jsonx",
            "text/plain",
        ] {
            assert_eq!(form(accept), Form::Html, "{accept}");
        }
    }

    fn listing(names: Vec<Vec<u8>>) -> Listing {
        let entry = |(at, name)| {
            let kind = if at % 2 == 0 { Kind::File(7) } else { Kind::Directory };
            Entry { name, kind, modified: Some(1_000_000) }
        };
        Listing { entries: names.into_iter().enumerate().map(entry).collect(), is_cut: false }
    }

    proptest! {
        // A browser's parser is not to be had here; one of XML is stricter, and reads this page the same.
        #[test]
        fn no_name_breaks_out_of_the_page(
            names in prop::collection::vec("([a<>\"'&;:/?#%=. ]|\\PC|[^/\\x00]){1,20}", 0..5),
            raw in prop::collection::vec(any::<u8>(), 1..20),
            path in "(/[a-c<&\"']{0,3}|%[0-9A-F]{2}){0,5}",
        ) {
            // What is listed are names that a path can have.
            let folder = Name::of("/").unwrap();
            let names: Vec<_> = names.into_iter().map(String::into_bytes).chain([raw]).collect();
            let names: Vec<_> = names.into_iter().filter(|name| folder.below(name).is_some()).collect();
            let (fields, text) = Form::Html.answer("/x/", true, &listing(names.clone()));
            prop_assert_eq!(&fields[header::CONTENT_TYPE], "text/html; charset=utf-8");
            let text = text.strip_prefix("<!DOCTYPE html>\n").unwrap();
            // These are no characters of XML, and of HTML they are.
            let text = text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
            let page = roxmltree::Document::parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let rows: Vec<_> = page.descendants().filter(|node| node.has_tag_name("a")).skip(1).collect();
            prop_assert_eq!(page.descendants().filter(roxmltree::Node::is_element).count(), 14 + 5 * (1 + rows.len()));
            prop_assert_eq!(rows.len(), names.len());
            for (at, (row, name)) in rows.iter().zip(&names).enumerate() {
                let slash = if at % 2 == 0 { "" } else { "/" };
                let href = row.attribute("href").unwrap();
                prop_assert!(href.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte)));
                prop_assert_eq!(row.attributes().len(), 1);
                prop_assert_eq!(
                    Name::of(&format!("/{}", href.trim_end_matches('/'))), folder.below(name), "{}", href
                );
                let shown = String::from_utf8_lossy(name).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
                prop_assert_eq!(row.text().unwrap_or_default(), format!("{shown}{slash}"));
            }
            // Nor does a path.
            let (_, text) = Form::Html.answer(&path, false, &Listing::default());
            prop_assert_eq!(text.matches('<').count(), 27);
            let (_, text) = Form::Json.answer("/", true, &listing(names.clone()));
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            let texts = names.iter().filter(|name| std::str::from_utf8(name).is_ok()).count();
            prop_assert_eq!(read.as_array().unwrap().len(), texts);
        }
    }
}
