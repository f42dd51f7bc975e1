//! What is to be served: the command line, the text of the file that it names, and what was decided since.
//!
//! In: the command line. Out: a configuration; the same one in any process that is handed this. Never: hands over what
//! it has made of the text: a worker of another build may understand it otherwise, and has to.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    mem,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Parser as _;
use cohost::{
    config::{self, Application, Artifact, Config, Site},
    front::Front,
    listener::tls::Secret,
};
use serde::{Deserialize, Serialize};

use crate::{
    artifact::{Named, name_of},
    build::{self, Profile},
    certificates::Certificates,
    cli::{Cli, Command, Run},
    exit::{Exit, Refused},
    run,
    standing::{Described, Standing},
};

/// What is to be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edition {
    /// The whole command line, the program's name included.
    command_line: Vec<OsString>,
    source: Source,
    /// What was decided about applications, by their names.
    #[serde(default)]
    standing: BTreeMap<String, Standing>,
    /// What is in the files of certificates.
    #[serde(default)]
    pub(crate) certificates: Certificates,
    /// What tickets of sessions are sealed with.
    #[serde(default)]
    pub(crate) tickets: Secret,
    /// When somebody last asked to try at once whatever waits, in seconds since 1970; 0 for never.
    #[serde(default)]
    pub(crate) asked: u64,
}

// Paths need not be text, and JSON would insist on that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Source {
    File { file: OsString, text: String },
    Library { library: OsString, folder: OsString },
}

impl Edition {
    /// Reads, and builds, what the command line names.
    pub(crate) fn new(named: &Named, arguments: &Run, command_line: Vec<OsString>) -> Result<Self, Refused> {
        let source = match named {
            Named::Configuration(file) => Source::of_file(file)?,
            Named::Library(library) => Source::of_library(library, &library.with_file_name("")),
            Named::Manifest(manifest) => {
                let profile = if arguments.debug { Profile::Debug } else { Profile::Release };
                let built = build::build(manifest, profile)?;
                Source::of_library(&built.library, &built.folder)
            }
        };
        Ok(Self {
            command_line,
            source,
            standing: BTreeMap::new(),
            certificates: Certificates::default(),
            tickets: Secret::default(),
            asked: 0,
        })
    }

    /// The same, with the text that the file has by now. A crate is not built again.
    pub(crate) fn again(&self) -> Result<Self, Refused> {
        let source = match &self.source {
            Source::File { file, .. } => Source::of_file(Path::new(file))?,
            library @ Source::Library { .. } => library.clone(),
        };
        Ok(Self { source, ..self.clone() })
    }

    /// Somebody asks to try at once whatever waits.
    pub(crate) fn ask(&mut self, now: SystemTime) {
        self.asked = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    }

    /// What was decided about an application, to decide more.
    pub(crate) fn standing(&mut self, application: &str) -> &mut Standing {
        self.standing.entry(application.to_owned()).or_default()
    }

    /// Forgets what was decided about all other applications.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.standing.retain(|name, _| is_there(name));
    }

    /// What was decided about all of them.
    pub(crate) fn standings(&self) -> impl Iterator<Item = &Standing> {
        self.standing.values()
    }

    /// What was decided about one of them.
    pub(crate) fn stands(&self, application: &str) -> Option<&Standing> {
        self.standing.get(application)
    }

    /// What is written in it.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.source {
            Source::File { text, .. } => Some(text),
            Source::Library { .. } => None,
        }
    }

    /// The text that describes an application.
    pub(crate) fn written(&self, application: &str) -> Option<&str> {
        let older = self.standing.get(application).and_then(|standing| standing.written.as_deref());
        older.or(self.text())
    }

    /// All applications are again as they are written.
    pub(crate) fn go_forward(&mut self) {
        self.standing.values_mut().for_each(Standing::go_forward);
    }

    /// Those that were gone back to as they had been written before are as they are written again, if that is not what it
    /// was in `base`: somebody has changed it since.
    pub(crate) fn settle(&mut self, base: &Self) {
        let (Ok(is), Ok(was)) = (self.as_written(), base.as_written()) else { return };
        for (name, standing) in self.standing.iter_mut().filter(|(_, standing)| standing.written.is_some()) {
            if find(&is, name) != find(&was, name) {
                standing.go_forward();
            }
        }
    }

    /// An application of the configuration as it is to be hosted.
    pub(crate) fn described(&self, application: &Application) -> Described {
        match self.standing.get(&*application.name) {
            Some(standing) => standing.of(application),
            None => Standing::default().of(application),
        }
    }

    /// The command line that it is served by.
    pub(crate) fn command_line(&self) -> &[OsString] {
        &self.command_line
    }

    /// The file that it is from, if it is from one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let Source::File { file, .. } = &self.source else { return None };
        Some(std::path::absolute(file).unwrap_or_else(|_| file.into()))
    }

    /// What it is about: the configuration, or the library that is served without one.
    pub(crate) fn subject(&self) -> PathBuf {
        let (Source::File { file: path, .. } | Source::Library { library: path, .. }) = &self.source;
        std::path::absolute(path).unwrap_or_else(|_| path.into())
    }

    /// What it means, with the environment of this process.
    pub(crate) fn config(&self) -> Result<Config, Refused> {
        let mut config = self.as_written()?;
        for application in config.sites.iter_mut().flat_map(|site| &mut site.applications) {
            let older =
                self.standing.get(&*application.name).and_then(|standing| standing.written.as_deref());
            // What cannot be understood any more is as it is written now.
            let Some(older) = older.and_then(|text| self.means(text).ok()) else { continue };
            if let Some(older) = find(&older, &application.name) {
                // Where it is mounted is the site's matter.
                *application = Application { path: mem::take(&mut application.path), ..older.clone() };
            }
        }
        Ok(config)
    }

    /// The same, as if nothing had been decided.
    fn as_written(&self) -> Result<Config, Refused> {
        match &self.source {
            Source::File { text, .. } => self.means(text),
            Source::Library { library, folder } => {
                self.applied(single(Path::new(library), Path::new(folder))?)
            }
        }
    }

    /// What a text means in place of what is written.
    fn means(&self, text: &str) -> Result<Config, Refused> {
        let file = match &self.source {
            Source::File { file, .. } => Path::new(file),
            Source::Library { .. } => Path::new(""),
        };
        self.applied(run::parse(text, file)?)
    }

    fn applied(&self, mut config: Config) -> Result<Config, Refused> {
        let arguments = Cli::try_parse_from(&self.command_line)
            .map_err(|error| Exit::Usage.because(error.to_string()))?;
        match arguments.command {
            Command::Run(arguments) => run::apply(&arguments, &mut config)?,
            _ => return Err(Exit::Usage.because("only `cohost run` has something to serve")),
        }
        Ok(config)
    }
}

fn find<'a>(config: &'a Config, name: &str) -> Option<&'a Application> {
    config.sites.iter().flat_map(|site| &site.applications).find(|application| *application.name == *name)
}

/// Whether a worker that serves `old` can go on to serve `new`: everything but what it was started with.
pub(crate) fn changes_in_place(old: &Config, new: &Config) -> bool {
    let server = config::Server {
        standby: old.server.standby,
        watch: old.server.watch,
        unknown_authority: old.server.unknown_authority,
        ..new.server.clone()
    };
    let log =
        config::Log { output: old.log.output.clone(), outputs: old.log.outputs.clone(), ..new.log.clone() };
    // Who has connected already has said what he was asked for then.
    let proxied = |config: &Config| -> Vec<_> {
        let sites = config.sites.iter().filter(|site| site.proxy_protocol);
        sites.flat_map(|site| &site.bindings).map(|binding| binding.listen.clone()).collect()
    };
    server == old.server && log == old.log && proxied(old) == proxied(new)
}

impl Source {
    fn of_file(file: &Path) -> Result<Self, Refused> {
        let text = config::text(file).map_err(|faults| Exit::Configuration.because(faults.to_string()))?;
        Ok(Self::File { file: file.into(), text })
    }

    fn of_library(library: &Path, folder: &Path) -> Self {
        Self::Library { library: library.into(), folder: folder.into() }
    }
}

/// A configuration with one application, at the root of its only site.
pub(crate) fn single(library: &Path, folder: &Path) -> Result<Config, Refused> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| {
            Exit::Failed.because(format!("cannot tell where {} is: {error}", path.display()))
        })
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let name = name_of(library);
    let mut application = Application::new(name.as_str(), Artifact::Library(absolute(library)?));
    application.content_root = absolute(folder)?.components().collect::<PathBuf>();
    let binding = DEFAULT_BINDING.parse().expect("the default is a binding, as a test shows");
    let site = Site {
        name: name.into(),
        bindings: vec![binding],
        tls: None,
        applications: vec![application],
        front: Front::default(),
        proxy_protocol: false,
    };
    let mut config = Config { sites: vec![site], ..Config::default() };
    // Whoever runs a crate or a library by hand is its developer. See `run::apply` for the limit of that.
    config.server.detailed_errors = true;
    Ok(config)
}

const DEFAULT_BINDING: &str = "http://127.0.0.1:8080";

#[cfg(test)]
mod tests {
    use super::*;

    fn edition(file: &Path, options: &[&str]) -> Edition {
        let command_line: Vec<OsString> =
            ["cohost", "run"].iter().chain(options).map(OsString::from).collect();
        let Command::Run(arguments) = Cli::try_parse_from(&command_line).unwrap().command else {
            panic!("run was said")
        };
        Edition::new(&Named::Configuration(file.to_owned()), &arguments, command_line).unwrap()
    }

    #[test]
    fn another_process_makes_the_same_configuration_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cohost.toml");
        let site =
            "[[site]]\nname = 'a'\nbindings = ['http://*:80']\n[[site.application]]\nlibrary = 'x.so'\n";
        std::fs::write(&file, site).unwrap();
        let edition = edition(&file, &["--set", "a=1", "--listen", "127.0.0.1:0"]);
        let config = edition.config().unwrap();
        assert_eq!(config.sites[0].applications[0].settings, serde_json::json!({ "a": 1 }));

        let handed_over: Edition = serde_json::from_value(serde_json::to_value(&edition).unwrap()).unwrap();
        std::fs::write(&file, "gone").unwrap();
        assert_eq!(handed_over.config().unwrap(), config);
        assert_eq!(edition.again().unwrap().config().unwrap_err().exit, Exit::Configuration);
    }
}
