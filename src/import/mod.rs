//! A `cohost.toml` made of a `web.config`, as far as the two mean the same.
//!
//! In: what IIS and the ASP.NET Core Module would read. Out: a configuration without faults, and a list of what is not
//! in it, by line, with the reason. What our own reader refuses, a pattern for one, is put on that list as well.
//! Never: reads a file, follows an entity or a document type, or guesses: what is not understood is listed.

mod application;
mod content;
mod draft;
mod location;
mod outbound;
mod reference;
mod rules;
mod security;
#[cfg(test)]
mod tests;
mod xml;

use draft::Draft;
use xml::{Element, Source};
pub use xml::{Unreadable, text};

/// A configuration, and what it leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A `cohost.toml`, with the notes as comments at its top.
    pub text: String,
    /// What is not in it, or not in the same way.
    pub notes: Vec<Note>,
}

/// Something that could not be translated as it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Where it stands in the file that was read.
    pub line: usize,
    /// What, and why.
    pub text: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// Translates the text of a `web.config`. `site` is what the site is called, as far as that is a name.
///
/// # Errors
/// It is no XML, or not one that begins with `<configuration>`.
pub fn web_config(text: &str, site: &str) -> Result<Imported, Unreadable> {
    let document = xml::parse(text)?;
    let source = Source::new(&document);
    let root = source.root();
    if root.name() != "configuration" {
        return Err(Unreadable::Other(root.name().to_owned()));
    }
    let mut draft = Draft::new(site);
    for element in root.children() {
        section(&element, &mut draft);
    }
    if !draft.has_application() {
        application::none(&root, &mut draft);
    }
    for element in root.children().iter().filter(|element| element.name() == "location") {
        location::location(element, &mut draft);
    }
    Ok(draft.finish())
}

/// One child of `<configuration>`.
fn section(element: &Element<'_>, draft: &mut Draft) {
    match element.name() {
        "system.webServer" => server(element, draft),
        // How templates of ASP.NET Core begin: all of the site, but not the applications below it.
        "location" if location::is_all(element) => {
            for inner in element.children() {
                match inner.name() {
                    "system.webServer" => server(&inner, draft),
                    _ => draft.note(&inner, NOT_OURS),
                }
            }
        }
        // What others there are depends on what stands before it in the file.
        "location" => {}
        // What follows them is noted where it stands.
        "configSections" => {}
        _ => draft.note(element, NOT_OURS),
    }
}

/// `<system.webServer>`.
fn server(element: &Element<'_>, draft: &mut Draft) {
    // First, since what others mean depends on it.
    for inner in element.children() {
        match inner.name() {
            "aspNetCore" => application::asp_net_core(&inner, draft),
            "httpPlatform" => application::http_platform(&inner, draft),
            _ => {}
        }
    }
    for inner in element.children() {
        match inner.name() {
            "aspNetCore" | "httpPlatform" => {}
            "handlers" => application::handlers(&inner, draft),
            "rewrite" => rules::rewrite(&inner, draft),
            "security" => security::security(&inner, draft),
            "staticContent" => content::static_content(&inner, draft),
            "defaultDocument" => content::default_document(&inner, draft),
            "httpErrors" => content::http_errors(&inner, draft),
            "httpProtocol" => content::http_protocol(&inner, draft),
            "httpRedirect" => content::http_redirect(&inner, None, draft),
            "urlCompression" => content::url_compression(&inner, draft),
            "webSocket" => content::web_socket(&inner, draft),
            "directoryBrowse" => content::directory_browse(&inner, draft),
            name => draft.note(&inner, why_not(name)),
        }
    }
}

/// Why a part of `<system.webServer>` has no counterpart.
fn why_not(name: &str) -> &'static str {
    match name {
        "modules" => {
            "modules of IIS do not run here; what they do has to be in the application, or in tables of the site"
        }
        "httpCompression" => "which types are compressed stands in [site.compression], as types and level",
        "caching" => "the host keeps no answers; the application says with Cache-Control who may",
        "tracing" | "httpTracing" => {
            "there are no traces of failed requests; the log has a line for each, with its failure code"
        }
        "iisnode" => {
            "write the program as a command: command = [\"node\", \"server.js\"], which is told its port in $PORT"
        }
        "asp" | "cgi" | "fastCgi" | "isapiFilters" | "serverSideInclude" | "webdav" => {
            "is code that runs inside IIS"
        }
        "applicationInitialization" => {
            "ask for the pages with warmup = [\"/…\"] and preload = true in the application"
        }
        "validation" => "is about integrated pipelines of ASP.NET, which there are none of here",
        _ => "has no counterpart",
    }
}

const NOT_OURS: &str = "is read by .NET, or by modules of IIS, and not by the host";
