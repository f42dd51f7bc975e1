//! `<aspNetCore>`, `<httpPlatform>` and `<handlers>`: what runs.

use super::{
    content,
    draft::{APPLICATION, Draft, list, quoted, quoted_key},
    xml::Element,
};

/// The ASP.NET Core Module: a program that is told its port.
pub(super) fn asp_net_core(element: &Element<'_>, draft: &mut Draft) {
    if !command(element, draft) {
        return;
    }
    for attribute in element.attributes() {
        match attribute {
            "processPath" | "arguments" | "stdoutLogEnabled" | "stdoutLogFile" => {}
            "hostingModel" if element.required(attribute).eq_ignore_ascii_case("outofprocess") => {}
            "hostingModel" => draft.note_attribute(
                element,
                attribute,
                "a program of .NET has a process of its own here, and notices no difference",
            ),
            "startupTimeLimit" => seconds(element, draft, attribute, "startup_timeout"),
            "shutdownTimeLimit" => seconds(element, draft, attribute, "shutdown_timeout"),
            "requestTimeout" => request_timeout(element, draft),
            "rapidFailsPerMinute" => number(element, draft, attribute, "rapid_fails_per_minute"),
            "processesPerApplication" if element.required(attribute) == "1" => {}
            "processesPerApplication" => {
                draft.note_attribute(element, attribute, "an application has one process at a time");
            }
            "forwardWindowsAuthToken" if !element.is(attribute, false) => {}
            "forwardWindowsAuthToken" => draft.note_attribute(
                element,
                attribute,
                "there is no Windows to sign in to; have the application do it (Negotiate with Kerberos), or a proxy",
            ),
            _ => draft.note_attribute(element, attribute, "has no counterpart"),
        }
    }
    output(element, draft);
    children(element, draft);
}

/// The HttpPlatformHandler: the same for any program.
pub(super) fn http_platform(element: &Element<'_>, draft: &mut Draft) {
    if !command(element, draft) {
        return;
    }
    for attribute in element.attributes() {
        match attribute {
            "processPath" | "arguments" | "stdoutLogEnabled" | "stdoutLogFile" => {}
            "startupTimeLimit" => seconds(element, draft, attribute, "startup_timeout"),
            "requestTimeout" => request_timeout(element, draft),
            "rapidFailsPerMinute" => number(element, draft, attribute, "rapid_fails_per_minute"),
            "processesPerApplication" if element.required(attribute) == "1" => {}
            _ => draft.note_attribute(element, attribute, "has no counterpart"),
        }
    }
    output(element, draft);
    children(element, draft);
}

/// Files alone: nothing in the file says that something runs.
pub(super) fn none(root: &Element<'_>, draft: &mut Draft) {
    draft.begin_application();
    draft.put("[site.application.static]", root, "root = \"public\"".to_owned());
    draft.note(
        root,
        "names no program, so the application is a folder of files; move what may be seen into the folder public, and \
         leave this file where it is. If there is code, write command = […] or library = \"…\" instead",
    );
}

/// `<handlers>`: which module gets which requests.
pub(super) fn handlers(element: &Element<'_>, draft: &mut Draft) {
    for handler in element.children() {
        let modules = handler.attribute("modules").unwrap_or_default();
        let is_known = ["AspNetCoreModule", "AspNetCoreModuleV2", "httpPlatformHandler", "StaticFileModule"]
            .iter()
            .any(|module| modules.split(',').any(|name| name.trim().eq_ignore_ascii_case(module)));
        let is_all = matches!(handler.required("path"), "*" | "*.*");
        match handler.name() {
            "add" if is_known && is_all => {}
            "add" if is_known => draft.note(&handler, "an application gets all requests below its path"),
            "add" => draft.note(&handler, "is code that runs inside IIS"),
            _ => {}
        }
    }
}

/// The command line; whether there is one.
fn command(element: &Element<'_>, draft: &mut Draft) -> bool {
    let program = element.required("processPath");
    if program.is_empty() || program.contains("%LAUNCHER_PATH%") {
        draft.note_attribute(
            element,
            "processPath",
            "is filled in when the application is published; import the web.config of the published one",
        );
        return false;
    }
    if !draft.begin_application() {
        draft.note(element, "stands here a second time");
        return false;
    }
    let mut words = Vec::new();
    let stem =
        program.rsplit_once('.').filter(|(_, end)| end.eq_ignore_ascii_case("exe")).map(|(stem, _)| stem);
    match stem {
        _ if is_dotnet(program) => words.push("dotnet".to_owned()),
        // What dotnet publish makes beside it runs anywhere.
        Some(stem) if element.name() == "aspNetCore" => {
            words.extend(["dotnet".to_owned(), format!("{}.dll", path(here(stem)))]);
            let why = "is a program for Windows; its .dll is run by dotnet in its place. One that was published for Linux \
                       is named without .exe";
            draft.note_attribute(element, "processPath", why);
        }
        Some(stem) => {
            words.push(path(here(stem)));
            draft.note_attribute(
                element,
                "processPath",
                "is a program for Windows; the one of that name is run here",
            );
        }
        None => words.push(variables(&path(here(program)))),
    }
    words.extend(
        arguments(element.attribute("arguments").unwrap_or_default()).iter().map(|word| variables(word)),
    );
    draft.put(APPLICATION, element, format!("command = {}", list_of(&words)));
    true
}

/// A place that only Windows has, without its folders.
fn here(program: &str) -> &str {
    match program.contains([':', '%']) || program.starts_with("\\\\") {
        true => program.rsplit(['/', '\\']).next().unwrap_or_default(),
        false => program,
    }
}

fn is_dotnet(program: &str) -> bool {
    let name = program.rsplit(['/', '\\']).next().unwrap_or_default();
    name.eq_ignore_ascii_case("dotnet") || name.eq_ignore_ascii_case("dotnet.exe")
}

/// A path of Windows, seen from the folder of the file.
fn path(windows: &str) -> String {
    windows.replace('\\', "/")
}

/// Arguments as Windows takes them apart: at blanks outside of quotes.
fn arguments(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    for character in text.chars() {
        match character {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            blank if blank.is_whitespace() && !is_quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    // Of what may be anything, only what is plainly a file.
    let is_file = |word: &String| word.starts_with(".\\") || word.to_ascii_lowercase().ends_with(".dll");
    words.into_iter().map(|word| if is_file(&word) { path(&word) } else { word }).collect()
}

/// What a program is told by the host has another name here.
fn variables(word: &str) -> String {
    word.replace("%HTTP_PLATFORM_PORT%", "{port}").replace("%ASPNETCORE_PORT%", "{port}")
}

fn list_of(words: &[String]) -> String {
    list(words.iter().map(String::as_str))
}

fn seconds(element: &Element<'_>, draft: &mut Draft, attribute: &str, key: &str) {
    let text = element.required(attribute);
    draft.put(APPLICATION, element, format!("{key} = {}", quoted(&format!("{text}s"))));
}

fn number(element: &Element<'_>, draft: &mut Draft, attribute: &str, key: &str) {
    let text = element.required(attribute);
    draft.put(APPLICATION, element, format!("{key} = {}", quoted(text)));
}

/// `00:02:00`: how long the module waits for an answer.
fn request_timeout(element: &Element<'_>, draft: &mut Draft) {
    match content::seconds(element.required("requestTimeout")) {
        Some(seconds) => {
            draft.put(APPLICATION, element, format!("first_byte_timeout = \"{seconds}s\""));
        }
        None => draft.note_attribute(element, "requestTimeout", "is not hours:minutes:seconds"),
    }
}

/// What the program prints.
fn output(element: &Element<'_>, draft: &mut Draft) {
    if !element.is("stdoutLogEnabled", false) {
        return;
    }
    draft.put(APPLICATION, element, "output = \"files\"".to_owned());
    let file = path(element.attribute("stdoutLogFile").unwrap_or(".\\logs\\stdout"));
    match file.rsplit_once('/') {
        Some((folder, _)) if file.contains("//") || file.contains('%') || folder.contains(':') => {
            draft.note_attribute(
                element,
                "stdoutLogFile",
                "is a place of Windows; files are in the folder logs",
            );
        }
        Some((folder, _)) if !matches!(folder, "" | ".") => {
            draft.put(APPLICATION, element, format!("output_folder = {}", quoted(folder)));
        }
        _ => {}
    }
}

fn children(element: &Element<'_>, draft: &mut Draft) {
    for child in element.children() {
        match child.name() {
            "environmentVariables" => {
                child.children().iter().for_each(|variable| environment(variable, draft));
            }
            _ => draft.note(&child, "has no counterpart"),
        }
    }
}

fn environment(variable: &Element<'_>, draft: &mut Draft) {
    if !matches!(variable.name(), "environmentVariable" | "add") {
        return draft.note(variable, "has no counterpart");
    }
    let (name, value) = (variable.required("name"), variable.attribute("value").unwrap_or_default());
    if value.split('%').count() > 2 {
        draft.note(
            variable,
            "is passed on with its percent signs; a variable of the host is written ${NAME} here",
        );
    }
    let line = format!("{} = {}", quoted_key(name), quoted(value));
    draft.put("[site.application.environment]", variable, line);
}
