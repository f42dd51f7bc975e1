//! One `[[site.application]]`: what it is made of, where it is mounted, what it may do.

use std::{
    collections::BTreeMap,
    num::{NonZeroU16, NonZeroU32},
    ops::Range,
    path::PathBuf,
};

use toml::de::DeTable;

use super::{
    Application, Artifact, confinement,
    fault::Refusal,
    front, keys, output, recycle, settings, upstreams,
    values::{boolean, count, count_or_none, duration, duration_or_none, one_of, size_or_none},
    written::{Reading, Section, Value},
};
use crate::{
    ConfiguredModel, HostingModel,
    front::{Files, Front, Order},
    options::{Options, Output, ProcessListen, ProcessOptions, Protocol, Ready},
};

/// An application, with the places of what must be unlike in others.
pub(super) struct Read {
    pub(super) application: Application,
    pub(super) path_at: Range<usize>,
    pub(super) name_at: Range<usize>,
    /// A fixed port.
    pub(super) port: Option<(u16, Range<usize>)>,
    /// Where what it prints goes, if it has that otherwise than `[log]`.
    pub(super) output: Option<Output>,
    /// What it is called in messages.
    pub(super) key: String,
}

/// The application in `table`; `None` when it has no artifact, which is noted.
pub(super) fn read<'a>(
    reading: &'a Reading<'a>,
    site: &str,
    site_key: &str,
    table: &'a DeTable<'a>,
    at: Range<usize>,
    printed: &Output,
) -> Option<Read> {
    let key = format!("{site_key}.application.{}", name_in_messages(table));
    let section = Section::new(reading, key, at, table, &keys::APPLICATION);
    let place = |key| section.value(key).map_or(section.at.clone(), |value| value.at());

    let path = section.read("path", mount).unwrap_or_default();
    let name = section.read("name", name).unwrap_or_else(|| format!("{site}{path}"));
    let mut front = front::read(&section);
    let artifact = match artifact(&section, &mut front) {
        Some(files @ Artifact::Files(_)) => {
            refuse(&section, keys::of_code(), "is for applications that run; leave it out for files");
            let application = Application { path, front, ..Application::new(name, files) };
            let (path_at, name_at) = (place("path"), place("name"));
            return Some(Read { application, path_at, name_at, port: None, output: None, key: section.name });
        }
        Some(upstreams @ Artifact::Upstreams(_)) => {
            let process = ProcessOptions { protocol: protocol(&section), ..ProcessOptions::default() };
            let new = Application::new(name, upstreams);
            let application = Application {
                path,
                front,
                process,
                options: options(&section),
                content_root: section
                    .read("content_root", file)
                    .unwrap_or_else(|| reading.folder().to_owned()),
                ..new
            };
            let (path_at, name_at) = (place("path"), place("name"));
            return Some(Read { application, path_at, name_at, port: None, output: None, key: section.name });
        }
        code => code,
    };
    if let Some(balance) = section.value("balance") {
        let refusal = Refusal::new("is for upstreams = [\"http://…\"]; leave it out for one that runs here");
        section.refuse("balance", &balance.at(), refusal);
    }
    let model = hosting_model(&section, artifact.as_ref());
    let demote_after = demote_after(&section, model);
    let mut process = process(&section, artifact.as_ref());
    process.confinement = confinement::read(&section, model.first());
    process.idle_stop = recycle::idle_stop(&section, model.first()).flatten();
    let options = options(&section);
    let content_root = section.read("content_root", file).unwrap_or_else(|| reading.folder().to_owned());
    let settings = section.read("settings", |value| own_settings(&section, value));
    let output = output::own(&section, printed);
    let mut application = Application {
        name: name.into(),
        path,
        artifact: artifact?,
        hosting_model: model.first(),
        demote_after: None,
        content_root,
        settings: settings.unwrap_or_else(Application::no_settings),
        options,
        process,
        trial: section.read("trial", boolean).unwrap_or(true),
        recycle: recycle::read(&section, model.first()),
        front,
    };
    application.host_as(model);
    application.demote_after = demote_after.or(application.demote_after);
    let port = match application.process.listen {
        ProcessListen::Port(port) => Some((port.get(), place("port"))),
        _ => None,
    };
    Some(Read {
        application,
        path_at: place("path"),
        name_at: place("name"),
        port,
        output,
        key: section.name,
    })
}

/// What an application is called in messages: its path, as far as that was written.
fn name_in_messages(table: &DeTable<'_>) -> String {
    let written = table.get("path").and_then(|path| path.get_ref().as_str()).unwrap_or("/");
    if written.chars().all(is_path_character) { written.to_owned() } else { format!("{written:?}") }
}

/// What it is made of. Files are it only where there is no code that they would stand in front of.
fn artifact(section: &Section<'_>, front: &mut Front) -> Option<Artifact> {
    let has_code = section.value("library").or(section.value("command")).is_some();
    if let Some(written) = section.value("upstreams") {
        if has_code {
            let refusal =
                Refusal::new("an application runs here, or is upstreams that run elsewhere; leave one out");
            section.refuse("upstreams", &written.at(), refusal);
        }
        let elsewhere = keys::of_code().filter(|key| !keys::OF_UPSTREAMS.contains(key));
        refuse(section, elsewhere, "is for applications that run here; leave it out for upstreams");
        return upstreams::read(section).map(Artifact::Upstreams);
    }
    match section.value("static") {
        Some(files) if has_code && files.is_text() => {
            let refusal = Refusal::new(
                "an application is code or files, not both; to have files in front of its code, write a table, \
                 as [site.application.static] with a root",
            );
            section.refuse("static", &files.at(), refusal);
        }
        Some(_) if !has_code => return alone(section, front).map(Artifact::Files),
        _ => {}
    }
    match (section.value("library"), section.value("command")) {
        (Some(_), None) => section.read("library", file).map(Artifact::Library),
        (None, Some(_)) => section.read("command", command).map(Artifact::Command),
        (Some(_), Some(command)) => {
            let refusal = Refusal::new("an application is a library or a command, not both; leave one out");
            section.refuse("command", &command.at(), refusal);
            None
        }
        (None, None) => {
            let refusal = Refusal::new(
                "is missing; an application is a library = \"…\", a command = […], static = \"…\" or upstreams = […]",
            );
            section.refuse("library", &section.at, refusal);
            None
        }
    }
}

/// Files with nothing behind them.
fn alone(section: &Section<'_>, front: &mut Front) -> Option<Files> {
    let files = front.files.take()?;
    if files.order == Order::Application {
        let refusal = Refusal::new(
            "there is no application behind these files that could be asked first; leave it out",
        );
        section.refuse("static.order", &section.value("static")?.at(), refusal);
    }
    Some(files)
}

/// What would be without effect.
fn refuse(section: &Section<'_>, keys: impl Iterator<Item = &'static str>, why: &str) {
    for key in keys {
        if let Some(value) = section.value(key) {
            section.refuse(key, &value.at(), Refusal::new(why));
        }
    }
}

/// A library is hosted in process unless it says otherwise; a command never is.
fn hosting_model(section: &Section<'_>, artifact: Option<&Artifact>) -> ConfiguredModel {
    let models = ConfiguredModel::ALL.map(|model| (model.as_str(), model));
    let is_command = matches!(artifact, Some(Artifact::Command(_)));
    let default = if is_command { HostingModel::OutOfProcess } else { HostingModel::InProcess };
    let read = section.read("hosting_model", |value| match one_of(&models)(value)? {
        model if is_command && model.first() == HostingModel::InProcess => {
            Err(Refusal::new("a command has a process of its own; only a library can be hosted in process")
                .suggest("\"outofprocess\""))
        }
        model => Ok(model),
    });
    read.unwrap_or(ConfiguredModel::Fixed(default))
}

fn demote_after(section: &Section<'_>, model: ConfiguredModel) -> Option<NonZeroU32> {
    let after = section.read("demote_after", |value| {
        let after = count::<u32>(1_000_000)(value)?;
        if model != ConfiguredModel::Auto {
            return Err(Refusal::new("has an effect only with hosting_model = \"auto\"; leave it out"));
        }
        Ok(NonZeroU32::new(after))
    });
    after.flatten()
}

fn options(section: &Section<'_>) -> Options {
    let mut options = Options::default();
    section.set(&mut options.preload, "preload", boolean);
    let warmup = section.read_each("warmup", path_to_ask).unwrap_or_default();
    options.warmup = warmup.into_iter().map(|(path, _)| path).collect();
    options.warmup_authority = section.read("warmup_authority", authority);
    section.set(&mut options.startup_timeout, "startup_timeout", duration);
    section.set(&mut options.shutdown_timeout, "shutdown_timeout", duration);
    section.set(&mut options.request_timeout, "request_timeout", duration_or_none);
    section.set(&mut options.connect_timeout, "connect_timeout", duration);
    section.set(&mut options.first_byte_timeout, "first_byte_timeout", duration);
    section.set(&mut options.idle_timeout, "idle_timeout", duration_or_none);
    section.set(&mut options.max_request_body, "max_request_body", size_or_none);
    let most = count_or_none(MOST_REQUESTS);
    section.set(&mut options.max_concurrent_requests, "max_concurrent_requests", most);
    section.set(&mut options.request_queue, "request_queue", |value| match options.max_concurrent_requests {
        Some(_) => count(MOST_REQUESTS)(value),
        None => Err(Refusal::new("has no effect without max_concurrent_requests; leave it out")),
    });
    section.set(&mut options.queue_limit, "queue_limit", count(1_000_000));
    section.set(&mut options.rapid_fails_per_minute, "rapid_fails_per_minute", count(1_000_000));
    section.set(&mut options.runtime_threads, "runtime_threads", count(MOST_THREADS));
    section.set(&mut options.blocking_threads, "blocking_threads", count(MOST_THREADS));
    section.set(&mut options.hang_timeout, "hang_timeout", duration_or_none);
    options
}

fn process(section: &Section<'_>, artifact: Option<&Artifact>) -> ProcessOptions {
    if matches!(artifact, Some(Artifact::Library(_))) {
        refuse_for_libraries(section);
    }
    let mut process = ProcessOptions::default();
    let environment = section.read("environment", |value| environment(section, value));
    process.environment = environment.unwrap_or_default();
    section.set(&mut process.inherit_environment, "inherit_environment", boolean);
    process.listen = listen(section);
    process.protocol = protocol(section);
    process.ready = ready(section);
    process
}

fn protocol(section: &Section<'_>) -> Protocol {
    let protocols = [Protocol::Http1, Protocol::H2c].map(|protocol| (protocol.as_str(), protocol));
    section.read("protocol", one_of(&protocols)).unwrap_or_default()
}

/// Our own runner listens and speaks as the host tells it, so that these would be without effect.
fn refuse_for_libraries(section: &Section<'_>) {
    for key in ["listen", "port", "protocol"] {
        if let Some(value) = section.value(key) {
            section.refuse(key, &value.at(), Refusal::new("is for commands; a library is told by the host"));
        }
    }
}

fn listen(section: &Section<'_>) -> ProcessListen {
    #[derive(Clone, PartialEq)]
    enum Kind {
        Port,
        Socket,
    }
    let kind = section.read("listen", one_of(&[("port", Kind::Port), ("socket", Kind::Socket)]));
    let port = section.read("port", |value| {
        let port = count::<u16>(u16::MAX.into())(value)?;
        if kind == Some(Kind::Socket) {
            return Err(Refusal::new("has no effect with listen = \"socket\"; leave one of them out"));
        }
        Ok(NonZeroU16::new(port))
    });
    match (kind, port.flatten()) {
        (Some(Kind::Socket), _) => ProcessListen::Socket,
        (_, Some(port)) => ProcessListen::Port(port),
        (_, None) => ProcessListen::AnyPort,
    }
}

fn ready(section: &Section<'_>) -> Ready {
    #[derive(Clone, Copy, PartialEq)]
    enum When {
        Accepts,
        Health,
        Notify,
    }
    let words = [("accepts", When::Accepts), ("health", When::Health), ("notify", When::Notify)];
    let has_health = section.value("health").is_some();
    let when = section.read("ready", |value| match one_of(&words)(value)? {
        When::Health if !has_health => {
            Err(Refusal::new("needs the path to ask for as well, as health = \"/health\""))
        }
        when => Ok(when),
    });
    let health = section.read("health", |value| {
        let path = value.text()?;
        if !path.starts_with('/') {
            return Err(
                Refusal::new(format!("must begin with / (is {path:?})")).suggest(format!("\"/{path}\""))
            );
        }
        match when {
            None | Some(When::Health) => Ok(path),
            Some(_) => Err(Refusal::new("is asked for only with ready = \"health\"; leave one of them out")),
        }
    });
    match (when, health) {
        (Some(When::Notify), _) => Ready::Notify,
        (_, Some(path)) => Ready::Health(path),
        (_, None) => Ready::Accepts,
    }
}

fn environment(section: &Section<'_>, value: &Value<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut variables = BTreeMap::new();
    for (name, written) in value.table()? {
        let key = format!("environment.{}", name.get_ref());
        if name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']) {
            let refusal = Refusal::new(format!("not the name of a variable: {:?}", name.get_ref()));
            section.refuse(&key, &name.span(), refusal);
        }
        match (Value { reading: section.reading, written }).text() {
            Ok(text) => drop(variables.insert(name.get_ref().to_string(), text)),
            Err(refusal) => section.refuse(&key, &written.span(), refusal),
        }
    }
    Ok(variables)
}

fn own_settings(section: &Section<'_>, value: &Value<'_>) -> Result<serde_json::Value, Refusal> {
    value.table()?;
    Ok(settings::json(value, &|inner, refusal| section.refuse("settings", &inner.at(), refusal)))
}

pub(super) fn path_to_ask(value: &Value<'_>) -> Result<String, Refusal> {
    let path = value.text()?;
    if !path.starts_with('/') {
        return Err(Refusal::new(format!("must begin with / (is {path:?})")).suggest(format!("\"/{path}\"")));
    }
    match path.parse::<http::uri::PathAndQuery>() {
        Ok(_) => Ok(path),
        Err(error) => Err(Refusal::new(format!("not a path: {error} (is {path:?})"))),
    }
}

fn authority(value: &Value<'_>) -> Result<String, Refusal> {
    let text = value.text()?;
    match text.parse::<http::uri::Authority>() {
        Ok(_) => Ok(text),
        Err(_) => Err(Refusal::new(format!("must be a host name, perhaps with a port (is {text:?})"))),
    }
}

/// Where an application is mounted: `""` for the root, else without the slash at the end.
fn mount(value: &Value<'_>) -> Result<String, Refusal> {
    let path = value.text()?;
    let Some(inner) = path.strip_prefix('/') else {
        return Err(Refusal::new(format!("must begin with / (is {path:?})")).suggest(format!("\"/{path}\"")));
    };
    if inner.is_empty() {
        return Ok(String::new());
    }
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if let Some(other) = path.chars().find(|character| !is_path_character(*character)) {
        return Err(Refusal::new(format!("must not contain {other:?} (is {path:?})")));
    }
    for segment in inner.split('/') {
        match segment {
            "" => return Err(Refusal::new(format!("must not contain an empty segment (is {path:?})"))),
            "." | ".." => return Err(Refusal::new(format!("must not contain dot segments (is {path:?})"))),
            _ => {}
        }
    }
    Ok(format!("/{inner}"))
}

/// What needs no escape in a path. Escapes are left out, so that a path can be written in one way only.
fn is_path_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/".contains(character)
}

fn name(value: &Value<'_>) -> Result<String, Refusal> {
    let name = value.text()?;
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
        return Err(Refusal::new(format!(
            "must be 1 to {LONGEST_NAME} of a-z A-Z 0-9 - _ . / (is {name:?})"
        )));
    }
    Ok(name)
}

fn file(value: &Value<'_>) -> Result<PathBuf, Refusal> {
    let path = value.text()?;
    if path.is_empty() {
        return Err(Refusal::new("must be a path (is empty)"));
    }
    Ok(value.reading.resolve(path))
}

/// A program and its arguments, which reach it as they are: there is no shell in between.
fn command(value: &Value<'_>) -> Result<Vec<String>, Refusal> {
    let mut words: Vec<_> = match value.list() {
        Ok(words) => words.iter().map(Value::text).collect::<Result<_, _>>()?,
        Err(refusal) if !value.is_text() => return Err(refusal),
        Err(_) => vec![one_word(value.text()?)?],
    };
    match words.first_mut() {
        Some(program) if !program.is_empty() => {
            // A bare name is looked up where the system looks for programs; anything else is a file.
            if program.contains('/') {
                *program = value.reading.resolve(&*program).to_string_lossy().into_owned();
            }
            Ok(words)
        }
        _ => Err(Refusal::new("must name a program (is empty)")),
    }
}

/// `text` as a program without arguments; where the words would end is not for guessing.
fn one_word(text: String) -> Result<String, Refusal> {
    if !text.contains(char::is_whitespace) {
        return Ok(text);
    }
    let words: Vec<_> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
    Err(Refusal::new(format!("must be a list of the program and its arguments (is {text:?})"))
        .suggest(format!("[{}]", words.join(", "))))
}

const LONGEST_NAME: usize = 100;

const MOST_THREADS: u64 = 10_000;

const MOST_REQUESTS: u64 = 1_000_000;
