//! What is said about files, fields of answers, errors, redirects and compression.

use super::{
    draft::{Draft, list, quoted, quoted_key},
    xml::Element,
};

const STATIC: &str = "[site.application.static]";

pub(super) const CACHE_CONTROL: &str = "[site.application.static.cache_control]";

/// Whether files of the site are sent by the host. With a program, IIS hands it every request.
pub(super) fn are_ours(element: &Element<'_>, draft: &mut Draft) -> bool {
    if draft.has_code() {
        draft.note(
            element,
            "the application sends its files by itself, as it does behind IIS when it has all requests; the host does so \
             with [site.static]",
        );
        return false;
    }
    true
}

/// `<staticContent>`: media types, and how long browsers keep files.
pub(super) fn static_content(element: &Element<'_>, draft: &mut Draft) {
    if !are_ours(element, draft) {
        return;
    }
    for inner in element.children() {
        match inner.name() {
            "mimeMap" => {
                let extension = inner.required("fileExtension").trim_start_matches('.');
                let line = format!("{} = {}", quoted_key(extension), quoted(inner.required("mimeType")));
                draft.put("[site.application.static.types]", &inner, line);
            }
            // Which is usual before each of them.
            "remove" | "clear" => {}
            "clientCache" => {
                if let Some(value) = lifetime(&inner, draft) {
                    draft.put(CACHE_CONTROL, &inner, format!("\"*\" = {}", quoted(&value)));
                }
            }
            _ => draft.note(&inner, "has no counterpart"),
        }
    }
}

/// `<clientCache>`, as what `Cache-Control` says.
pub(super) fn lifetime(element: &Element<'_>, draft: &mut Draft) -> Option<String> {
    let mut parts: Vec<String> =
        element.attribute("cacheControlCustom").map(str::to_owned).into_iter().collect();
    match element.required("cacheControlMode") {
        "DisableCache" => parts.push("no-cache".to_owned()),
        "UseMaxAge" => match seconds(element.required("cacheControlMaxAge")) {
            Some(seconds) => parts.push(format!("max-age={seconds}")),
            None => draft.note_attribute(element, "cacheControlMaxAge", "is not days.hours:minutes:seconds"),
        },
        "UseExpires" => draft.note(element, "a date is not sent; say how long instead, as max-age"),
        _ => {}
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// `1.00:00:00` in seconds.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (days, time) = text.split_once('.').unwrap_or(("0", text));
    let parts: Vec<u64> =
        std::iter::once(days).chain(time.split(':')).map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [days, hours, minutes, seconds] = parts[..] else { return None };
    let hours = days.checked_mul(24)?.checked_add(hours)?;
    hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(seconds)
}

/// `<defaultDocument>`.
pub(super) fn default_document(element: &Element<'_>, draft: &mut Draft) {
    if !are_ours(element, draft) {
        return;
    }
    let files = element.child("files");
    let entries = files.map(|files| files.children()).unwrap_or_default();
    let mut names: Vec<_> =
        entries.iter().filter(|entry| entry.name() == "add").map(|entry| entry.required("value")).collect();
    if !element.is("enabled", true) {
        draft.put(STATIC, element, "default_documents = []".to_owned());
        return;
    }
    // Without a word to the contrary they come before those that there are.
    if !entries.iter().any(|entry| entry.name() == "clear") {
        names.extend(
            ["index.html", "index.htm"].into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>(),
        );
    }
    draft.put(STATIC, element, format!("default_documents = {}", list(names)));
}

/// `<httpErrors>`: pages in place of those that an application has.
pub(super) fn http_errors(element: &Element<'_>, draft: &mut Draft) {
    if element.required("errorMode") == "Detailed" {
        draft.note_attribute(
            element,
            "errorMode",
            "what happened inside is shown with detailed_errors in [server]",
        );
    }
    if !element.children().is_empty() {
        draft.note(
            element,
            "errors of an application are its own and are never replaced; the host has one page for its failures",
        );
    }
}

const HEADERS: &str = "[site.headers]";

/// `<httpProtocol>`: fields of answers.
pub(super) fn http_protocol(element: &Element<'_>, draft: &mut Draft) {
    for inner in element.children() {
        match inner.name() {
            "customHeaders" => custom_headers(&inner, draft),
            "redirectHeaders" => draft.note(&inner, "fields of redirects alone are none of their own"),
            _ => draft.note(&inner, "has no counterpart"),
        }
    }
}

fn custom_headers(element: &Element<'_>, draft: &mut Draft) {
    let entries = element.children();
    let removed: Vec<_> =
        entries.iter().filter(|entry| entry.name() == "remove").map(|entry| entry.required("name")).collect();
    // What is set is removed first, often, and that is what setting does.
    let set = |name: &str| {
        entries.iter().any(|entry| entry.name() == "add" && entry.required("name").eq_ignore_ascii_case(name))
    };
    let removed: Vec<_> = removed.into_iter().filter(|name| !set(name)).collect();
    if !removed.is_empty() {
        draft.put(HEADERS, element, format!("remove = {}", list(removed)));
    }
    for entry in entries.iter().filter(|entry| entry.name() == "add") {
        let value = quoted(entry.attribute("value").unwrap_or_default());
        draft.put("[site.headers.set]", entry, format!("{} = {value}", quoted_key(entry.required("name"))));
    }
}

/// `<httpRedirect>`: everything goes elsewhere; with a pattern, what has it.
pub(super) fn http_redirect(element: &Element<'_>, pattern: Option<&str>, draft: &mut Draft) {
    if !element.is("enabled", false) {
        return;
    }
    let destination = element.required("destination");
    if element.is("childOnly", false) {
        draft.note_attribute(element, "childOnly", "has no counterpart; paths below are redirected, too");
    }
    for inner in element.children() {
        draft.note(&inner, "write it as a [[site.rewrite]] of its own");
    }
    let status = match element.required("httpResponseStatus") {
        "Permanent" => 301,
        "Temporary" => 307,
        "PermRedirect" => 308,
        _ => 302,
    };
    let is_exact = element.is("exactDestination", false);
    let target = match destination.replace('{', "{{").replace('}', "}}") {
        plain if !is_exact => format!("{}{{path}}", plain.trim_end_matches('/')),
        // What was asked for has names of its own here.
        exact => {
            exact.replace("$S", "{path}").replace("$V", "{path}").replace("$P", "").replace("$Q", "?{query}")
        }
    };
    let mut lines: Vec<_> =
        pattern.map(|pattern| format!("match = {}", quoted(pattern))).into_iter().collect();
    lines.extend([format!("redirect = {}", quoted(&target)), format!("status = {status}")]);
    if is_exact && !target.contains("{query}") {
        lines.push("query = \"drop\"".to_owned());
    }
    draft.put_whole("[[site.rewrite]]", element, destination, lines);
}

/// `<urlCompression>`: on, unless it says otherwise.
pub(super) fn url_compression(element: &Element<'_>, draft: &mut Draft) {
    let (of_files, of_answers) =
        (element.is("doStaticCompression", true), element.is("doDynamicCompression", true));
    if of_files != of_answers {
        draft.note(element, "files and other answers are compressed alike, by their type and size");
    }
    if of_files || of_answers {
        draft.put("[site.compression]", element, "level = \"balanced\"".to_owned());
    }
}

/// `<webSocket>`: nothing has to be installed for that.
pub(super) fn web_socket(element: &Element<'_>, draft: &mut Draft) {
    if !element.is("enabled", true) {
        draft.note(element, "upgrades reach the application, which may refuse them");
    }
}

/// `<directoryBrowse>`: off, unless it says otherwise.
pub(super) fn directory_browse(element: &Element<'_>, draft: &mut Draft) {
    if element.is("enabled", false) && are_ours(element, draft) {
        draft.put(STATIC, element, "browse = true".to_owned());
    }
}
