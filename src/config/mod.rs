//! Configuration: what is written in `cohost.toml`, and what it means.
//!
//! In: the text of the file, its name, and a way to look variables up. Out: a [`Config`], in which everything has a
//! value and nothing is out of bounds, or else every [`Fault`] at once, with line and column.
//! Never: reads an environment variable or looks up a user by itself, looks whether a library exists, or changes
//! anything. Of the process it knows the working directory only, from which the file's own name is seen.
//!
//! Every key is described in `docs/configuration.md`.

mod acme;
mod application;
mod binding;
mod confinement;
mod expand;
mod fault;
mod front;
mod keys;
mod output;
mod outward;
mod private;
mod recycle;
mod schema;
mod server;
mod settings;
mod site;
#[cfg(test)]
mod tests;
mod tls;
mod upstreams;
mod values;
mod written;

use std::{
    collections::BTreeMap,
    io::Read as _,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use self::{
    acme::{Acme, ExternalAccount},
    binding::{Authority, Binding, BindingError, Listen},
    fault::{Fault, Faults},
    schema::schema,
    tls::{Certificate, ClientCertificates, Tls, Vouching},
};
use self::{
    fault::Refusal,
    written::{Reading, Section},
};
use crate::{
    ConfiguredModel, HostingModel,
    forwarded::{Fields, Proxy},
    front::{Files, Front, Upstreams},
    options::{Options, Output, ProcessOptions, Recycle},
};

/// Reads the configuration file at `path`. See [`parse`].
///
/// # Errors
///
/// Every fault in it; a file that cannot be read is one.
pub fn read(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    parse(&text(path)?, path, env)
}

/// The text of the configuration file at `path`, for [`parse`].
///
/// # Errors
///
/// The file cannot be read, is no text, or too large.
pub fn text(path: &Path) -> Result<String, Faults> {
    text_of(path).map_err(|message| {
        Faults::new(vec![Fault {
            file: path.into(),
            line: 0,
            column: 0,
            key: String::new(),
            message,
            suggestion: None,
        }])
    })
}

/// Reads a configuration. `file` is named in faults, and relative paths become absolute ones, seen from its folder;
/// `env` looks up the variables in `${NAME}`.
///
/// # Errors
///
/// Every fault in it, in the order of the text.
pub fn parse(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    // Who starts a process finds out. An account may come later than the configuration, and only one application needs it.
    check(text, file, env, &|_| Ok(()))
}

/// The same, for those who want to know beforehand: `account` says of each user and group why nobody can run as that, if
/// so, and that is a fault.
///
/// # Errors
///
/// As [`parse`].
pub fn check(
    text: &str,
    file: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    account: &dyn Fn(Account<'_>) -> Result<(), String>,
) -> Result<Config, Faults> {
    let reading = Reading::new(text, file, env, account);
    let config = tree(&reading, text).map(|tree| {
        let top = Section::new(&reading, String::new(), 0..0, tree.get_ref(), &keys::TOP);
        let mut log = server::log(&reading, &top);
        let acme = acme::read(&top);
        let sites = site::read_all(&reading, &top, &mut log, acme.as_ref());
        acme::refuse_unpaired(&top, &sites);
        let server = server::server(&top);
        site::refuse_untrusted(&top, &sites, &server);
        let mut config = Config { log, server, acme, sites };
        private::keep(&mut config, &reading.file());
        config
    });
    reading.finish(config)
}

/// Who a process is to run as: names, or numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account<'a> {
    /// A user, perhaps with another group than its own.
    User(&'a str, Option<&'a str>),
    /// A group.
    Group(&'a str),
}

/// What the host shall do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What is logged, and how.
    pub log: Log,
    /// What holds for all sites.
    pub server: Server,
    /// Who issues certificates; there, if a site orders them.
    pub acme: Option<Acme>,
    /// The sites, in the order of the file. The first on a port is its default.
    pub sites: Vec<Site>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level, or levels by target: `info,app::db=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
    /// Whether each request leaves a line.
    pub access: bool,
    /// Where what applications print goes.
    pub output: Output,
    /// The same for applications that have it otherwise, by name. Not with the applications, since a change of it
    /// changes none of them.
    pub outputs: BTreeMap<Arc<str>, Output>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
            access: true,
            output: Output::default(),
            outputs: BTreeMap::new(),
        }
    }
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What holds for all sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Threads that serve. `None`: one for each core.
    pub threads: Option<NonZeroUsize>,
    /// Connections at a time. `None`: as many as the system allows.
    pub max_connections: Option<usize>,
    /// The same for each client, by its address. `None`: as many as it likes.
    pub max_connections_per_client: Option<usize>,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// How long a client may take for the handshake of TLS.
    pub handshake_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub keep_alive_timeout: Duration,
    /// How long a client may take nothing of an answer. `None`: as long as it likes.
    pub send_timeout: Option<Duration>,
    /// How long may be waited for the next piece of a request's body. `None`: for ever.
    pub body_timeout: Option<Duration>,
    /// Bytes of it that have to come a second, on average over that time. `None`: one byte will do.
    pub min_body_rate: Option<NonZeroU32>,
    /// Largest head of a request in bytes; 431 above it.
    pub max_header_size: usize,
    /// Fields in it; 431 for more.
    pub max_header_fields: usize,
    /// Requests at a time on a connection of HTTP/2.
    pub max_streams: u32,
    /// How long requests in flight may go on when the host stops.
    pub shutdown_timeout: Duration,
    /// Whether a worker waits, loaded already, for the crash of the one that serves.
    pub standby: bool,
    /// Whether files are looked after, so that a change to one has an effect without a command.
    pub watch: bool,
    /// The whole worker is replaced by a fresh one when it has so many bytes of memory.
    pub recycle_memory: Option<u64>,
    /// What a request gets whose authority no site has.
    pub unknown_authority: UnknownAuthority,
    /// Proxies whose word on the client's address and scheme is believed.
    pub trusted_proxies: Vec<Proxy>,
    /// In which fields they say it.
    pub trusted_fields: Fields,
    /// Whether failures get a page; without it, a status and no body.
    pub error_page: bool,
    /// Whether that page tells what happened inside.
    pub detailed_errors: bool,
    /// Where that page sends people.
    pub error_link: Option<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            threads: None,
            max_connections: None,
            max_connections_per_client: None,
            header_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            send_timeout: Some(Duration::from_secs(60)),
            body_timeout: Some(Duration::from_secs(30)),
            min_body_rate: NonZeroU32::new(240),
            max_header_size: 64 * 1024,
            max_header_fields: 100,
            max_streams: 128,
            shutdown_timeout: Duration::from_secs(10),
            standby: true,
            watch: true,
            recycle_memory: None,
            unknown_authority: UnknownAuthority::DefaultSite,
            trusted_proxies: Vec::new(),
            trusted_fields: Fields::default(),
            error_page: true,
            detailed_errors: false,
            error_link: None,
        }
    }
}

/// What a request gets whose authority no site has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownAuthority {
    /// The first site that is bound where the request came in.
    #[default]
    DefaultSite,
    /// 421 Misdirected Request.
    Misdirected,
    /// 404 Not Found.
    NotFound,
}

/// A named set of bindings and applications.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Unlike every other site's.
    pub name: Arc<str>,
    /// Where it is reached; at least one.
    pub bindings: Vec<Binding>,
    /// How it speaks TLS; there, if one of its bindings does.
    pub tls: Option<Tls>,
    /// Its applications, in the order of the file; at least one.
    pub applications: Vec<Application>,
    /// What its requests pass before they come to any of them.
    pub front: Front,
    /// Whether only proxies connect to it, which say for whom before anything else.
    pub proxy_protocol: bool,
}

/// An application, at a path of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Unlike every other application's, on other sites too.
    pub name: Arc<str>,
    /// Its path base: `""` at the root, else `/shop`, without a slash at the end.
    pub path: String,
    /// What it is made of.
    pub artifact: Artifact,
    /// Where it runs, to begin with. Never in process for a command.
    pub hosting_model: HostingModel,
    /// After how many crashes within a minute it gets a process of its own; `None` if it is to stay where it is.
    pub demote_after: Option<NonZeroU32>,
    /// Where its own files are, absolute when it was read from a file; the working directory of a process.
    pub content_root: PathBuf,
    /// What it was told itself; an object.
    pub settings: serde_json::Value,
    /// Its limits.
    pub options: Options,
    /// What it has in a process of its own.
    pub process: ProcessOptions,
    /// Whether what changes is tried in a process that is thrown away, before it comes into one that serves.
    pub trial: bool,
    /// When it is replaced by a fresh one.
    pub recycle: Recycle,
    /// What its requests pass last. It is no part of the application: a change of it changes none.
    pub front: Front,
}

impl Application {
    /// An application at the root of its site, with the defaults for everything else.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, artifact: Artifact) -> Self {
        let hosting_model = match artifact {
            Artifact::Library(_) => HostingModel::InProcess,
            // Nothing of files runs anywhere, and upstreams run elsewhere. Whatever ends a worker, it was not they.
            Artifact::Command(_) | Artifact::Files(_) | Artifact::Upstreams(_) => HostingModel::OutOfProcess,
        };
        let content_root = match &artifact {
            Artifact::Files(files) => files.root.clone(),
            _ => PathBuf::from("."),
        };
        Self {
            name: name.into(),
            path: String::new(),
            artifact,
            hosting_model,
            demote_after: None,
            content_root,
            settings: Self::no_settings(),
            options: Options::default(),
            process: ProcessOptions::default(),
            trial: true,
            recycle: Recycle::default(),
            front: Front::default(),
        }
    }

    /// How it is hosted, in a word: where its code runs, or that it has none of its own, being `static` or `upstreams`.
    #[must_use]
    pub fn hosted_as(&self) -> &'static str {
        match self.artifact {
            Artifact::Files(_) => "static",
            Artifact::Upstreams(_) => "upstreams",
            _ => self.hosting_model.as_str(),
        }
    }

    /// Where it is to run, as it is written.
    #[must_use]
    pub fn configured_model(&self) -> ConfiguredModel {
        match self.demote_after {
            Some(_) => ConfiguredModel::Auto,
            None => ConfiguredModel::Fixed(self.hosting_model),
        }
    }

    /// Has it run where `model` says.
    pub fn host_as(&mut self, model: ConfiguredModel) {
        self.hosting_model = model.first();
        self.demote_after = match model {
            ConfiguredModel::Fixed(_) => None,
            ConfiguredModel::Auto => self.demote_after.or(Some(DEMOTE_AFTER)),
        };
    }

    fn no_settings() -> serde_json::Value {
        serde_json::Value::Object(serde_json::Map::new())
    }
}

/// Crashes within a minute that are enough to demote an application.
const DEMOTE_AFTER: NonZeroU32 = NonZeroU32::new(3).expect("three is not zero");

/// What an application is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Artifact {
    /// An application library, for either hosting model. The file may be missing: the host comes up without it.
    Library(PathBuf),
    /// A program and its arguments. A program without a slash is looked up where the system looks for programs.
    Command(Vec<String>),
    /// Files, and no code.
    Files(Files),
    /// Servers that somebody else runs.
    Upstreams(Upstreams),
}

/// The tree of the text; `None` when it is not TOML, which is noted.
fn tree<'a>(reading: &Reading<'a>, text: &'a str) -> Option<toml::Spanned<toml::de::DeTable<'a>>> {
    let (tree, errors) = toml::de::DeTable::parse_recoverable(text);
    // What is left of a broken text looks like faults that nobody made, so those of the syntax stand alone.
    for error in &errors {
        reading.refuse(&error.span().unwrap_or(0..0), "", Refusal::new(error.message()));
    }
    errors.is_empty().then_some(tree)
}

/// The text of a file, or what is wrong with the file as a whole.
fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("is larger than {} MiB, which no configuration is", LARGEST_FILE >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("is not UTF-8 (line {line})")
    })
}

const LARGEST_FILE: u64 = 4 << 20;
