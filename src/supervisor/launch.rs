//! What to start, and what counts as started.
//!
//! In: an application's configuration, as the host has understood it. Out: the exact description that the guard starts
//! from, with everything that only the host knows filled in. Never: touches a file or a process.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing_core::LevelFilter;

use super::{
    Endpoint, Environment,
    environment::substitute,
    patience::Policy,
    runner::{AppArguments, Runner},
    stamp::Stamp,
    wire,
};
use crate::options::Confinement;

/// What to start, and what counts as started.
///
/// What is started from two that are equal is the same, so one may be handed out in place of the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The application's name, for logs.
    #[serde(with = "wire::text")]
    pub application: Arc<str>,
    /// What to run.
    pub program: Program,
    /// A copy of the library to open in its place.
    #[serde(with = "wire::path_if_any")]
    pub pinned: Option<PathBuf>,
    /// Which of the files it is that may lie at the library's path, one after the other. A copy needs none: it stays as
    /// it is.
    pub stamp: Option<Stamp>,
    /// Its environment, before the host adds its own. `{port}` and `{socket}` in configured values are filled in.
    pub environment: Environment,
    /// Its working directory: the application's root.
    #[serde(with = "wire::path")]
    pub directory: PathBuf,
    /// The application's path prefix, empty at the root.
    #[serde(with = "wire::text")]
    pub path_base: Arc<str>,
    /// Which generation of its code this is; handed to a library.
    pub generation: u64,
    /// Settings in JSON; handed to a library.
    #[serde(with = "wire::text")]
    pub settings: Arc<str>,
    /// Which of its events somebody may want to see; handed to a library.
    #[serde(with = "wire::written")]
    pub log_level: LevelFilter,
    /// Threads of the application's own runtime; handed to a library.
    pub runtime_threads: u32,
    /// Most threads for calls that block; handed to a library.
    pub blocking_threads: usize,
    /// How long it may keep a thread that serves; `None` for ever. Handed to a library.
    #[serde(default)]
    pub hang_timeout: Option<Duration>,
    /// What it may do and take.
    pub confinement: Confinement,
    /// Where it listens. A library always listens on a socket.
    pub listen: Listen,
    /// When it is ready.
    pub ready: Ready,
    /// How it is asked to stop.
    pub shutdown: Shutdown,
    /// How long it may take until it is ready.
    pub startup_timeout: Duration,
    /// How long it may take to stop before it is killed.
    pub shutdown_timeout: Duration,
    /// How often it may fail within a minute before it is left alone.
    pub rapid_fails_per_minute: u32,
    /// Whether whoever wants it tries it with requests of its own, and tells what came of that. Only then has it
    /// started well.
    #[serde(default)]
    pub tried: bool,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A command and its arguments, in which `{port}` and `{socket}` are filled in. A name without a slash is searched
    /// for in the instance's `PATH`; a relative path begins at the application's root.
    Command(Vec<OsString>),
    /// An application library, in a runner of ours.
    Library(#[serde(with = "wire::path")] PathBuf),
}

/// Where an instance listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listen {
    /// On a Unix socket in a private directory: `{socket}`, `COHOST_SOCKET`.
    Socket,
    /// On a free loopback port: `{port}`, `PORT`, `ASPNETCORE_PORT`.
    Port,
    /// On this loopback port.
    FixedPort(u16),
}

/// When an instance is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ready {
    /// When it accepts a connection.
    Accepts,
    /// When it answers a GET of this path with a status below 400.
    Health(String),
    /// When it says so, as services of systemd do: `READY=1` to `NOTIFY_SOCKET`.
    Notify,
}

/// How an instance is asked to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shutdown {
    /// By SIGTERM.
    #[default]
    Terminate,
    /// By the message that ASP.NET Core's IIS integration understands, and by SIGTERM if it is not understood. Programs
    /// on the generic host understand SIGTERM just as well; this is for those that do more on the message.
    AspNetCore,
}

impl Launch {
    /// A launch of `program` in `directory`, with the defaults for all else.
    pub fn new(application: impl Into<Arc<str>>, program: Program, directory: impl Into<PathBuf>) -> Self {
        let (listen, log_level) = match program {
            Program::Command(_) => (Listen::Port, LevelFilter::OFF),
            // What the host writes of it is decided there; this keeps the rest from being sent at all.
            Program::Library(_) => (Listen::Socket, LevelFilter::current()),
        };
        Self {
            application: application.into(),
            program,
            pinned: None,
            stamp: None,
            environment: Environment::default(),
            directory: directory.into(),
            path_base: Arc::from(""),
            generation: 1,
            settings: Arc::from("{}"),
            log_level,
            runtime_threads: 1,
            blocking_threads: 512,
            hang_timeout: None,
            confinement: Confinement::default(),
            listen,
            ready: Ready::Accepts,
            shutdown: Shutdown::default(),
            startup_timeout: Duration::from_secs(120),
            shutdown_timeout: Duration::from_secs(10),
            rapid_fails_per_minute: Policy::default().rapid_fails_per_minute,
            tried: false,
        }
    }

    /// Where the program listens in the end.
    pub(super) fn listen(&self) -> Listen {
        match self.program {
            Program::Command(_) => self.listen,
            Program::Library(_) => Listen::Socket,
        }
    }

    /// All arguments, the program first.
    pub(super) fn arguments(&self, place: &Place<'_>, runner: &Runner) -> Vec<OsString> {
        match &self.program {
            Program::Command(words) => words.iter().map(|word| place.fill_in(word)).collect(),
            Program::Library(library) => {
                let mut words = vec![runner.program.clone().into_os_string()];
                words.extend(self.app_arguments(library, place).to_arguments());
                words
            }
        }
    }

    fn app_arguments(&self, library: &Path, place: &Place<'_>) -> AppArguments {
        AppArguments {
            library: self.directory.join(library),
            pinned: self.pinned.clone(),
            socket: place.socket(),
            name: OsString::from(&*self.application),
            content_root: self.directory.clone(),
            path_base: OsString::from(&*self.path_base),
            generation: self.generation,
            runtime_threads: self.runtime_threads,
            blocking_threads: self.blocking_threads,
            hang_timeout: self.hang_timeout,
            shutdown_timeout: self.shutdown_timeout,
            log_level: self.log_level,
            settings: place.settings(),
        }
    }

    /// The whole environment.
    pub(super) fn variables(&self, place: &Place<'_>) -> Vec<(OsString, OsString)> {
        let mut filled = self.environment.clone();
        for (_, value) in &mut filled.configured {
            *value = place.fill_in(value);
        }
        let mut all = filled.variables();
        let host = self.host_variables(place);
        all.extend(host.into_iter().map(|(name, value)| (OsString::from(name), value)));
        all.into_iter().collect()
    }

    fn host_variables(&self, place: &Place<'_>) -> Vec<(&'static str, OsString)> {
        let mut own = vec![
            ("COHOST_APPLICATION", OsString::from(&*self.application)),
            ("COHOST_PATH_BASE", OsString::from(&*self.path_base)),
            ("COHOST_TOKEN", OsString::from(place.token)),
        ];
        match place.endpoint {
            Endpoint::Unix(path) => own.push(("COHOST_SOCKET", path.clone().into_os_string())),
            Endpoint::Tcp(address) => own.extend(self.port_variables(address.port(), place.token)),
        }
        if self.ready == Ready::Notify {
            own.push(("NOTIFY_SOCKET", place.notify().into_os_string()));
        }
        own
    }

    fn port_variables(&self, port: u16, token: &str) -> [(&'static str, OsString); 6] {
        let port = OsString::from(port.to_string());
        // ASP.NET Core takes no notice of the three that matter if one of them is empty.
        let path = if self.path_base.is_empty() { "/" } else { &*self.path_base };
        [
            ("PORT", port.clone()),
            ("ASPNETCORE_PORT", port),
            ("ASPNETCORE_TOKEN", OsString::from(token)),
            ("ASPNETCORE_APPL_PATH", OsString::from(path)),
            // Without it the integration expects the tokens of Windows users.
            ("ASPNETCORE_IIS_HTTPAUTH", OsString::from("none")),
            ("ASPNETCORE_IIS_WEBSOCKETS_SUPPORTED", OsString::from("true")),
        ]
    }
}

/// What only the host knows of one start: where the instance will listen, and its secret.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) token: &'a str,
    /// The private directory.
    pub(super) private: &'a Path,
}

impl Place<'_> {
    pub(super) fn socket(&self) -> PathBuf {
        self.private.join(SOCKET)
    }

    pub(super) fn settings(&self) -> PathBuf {
        self.private.join("settings.json")
    }

    pub(super) fn notify(&self) -> PathBuf {
        self.private.join("notify")
    }

    fn fill_in(&self, text: &OsStr) -> OsString {
        let (port, socket) = match self.endpoint {
            Endpoint::Unix(path) => (None, Some(path.as_os_str().as_bytes())),
            Endpoint::Tcp(address) => (Some(address.port().to_string()), None),
        };
        substitute(text, b"{", |name| match name {
            b"port" => port.as_ref().map(String::as_bytes),
            b"socket" => socket,
            _ => None,
        })
    }
}

/// The socket's name in the private directory; short, because the whole path has to be.
pub(super) const SOCKET: &str = "app";

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn variable(launch: &Launch, place: &Place<'_>, name: &str) -> Option<String> {
        let all = launch.variables(place);
        all.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_launch_arrives_as_it_was_whatever_bytes_it_has() {
        let bytes = || OsString::from_vec(b"not \xff text".to_vec());
        let mut command = Launch::new("shop", Program::Command(vec!["serve".into(), bytes()]), bytes());
        command.environment.inherited.push((bytes(), bytes()));
        command.listen = Listen::FixedPort(4711);
        command.ready = Ready::Health("/health".to_owned());
        let mut library = Launch::new("shop", Program::Library(bytes().into()), "/srv");
        library.log_level = LevelFilter::DEBUG;
        library.stamp = Stamp::of(Path::new("/proc/self/exe"));
        library.pinned = Some(bytes().into());
        assert!(library.stamp.is_some());
        for launch in [command, library] {
            let text = serde_json::to_string(&launch).unwrap();
            assert_eq!(serde_json::from_str::<Launch>(&text).unwrap(), launch);
        }
    }

    #[test]
    fn a_command_on_a_port_gets_it_in_arguments_and_environment() {
        let endpoint = Endpoint::Tcp(([127, 0, 0, 1], 4711).into());
        let place = Place { endpoint: &endpoint, token: "secret", private: Path::new("/run/x") };
        let words = ["serve", "--port={port}", "{socket}", "two words"].map(OsString::from);
        let mut launch = Launch::new("shop", Program::Command(words.to_vec()), "/srv");
        launch.environment.configured.push(("URLS".into(), "http://127.0.0.1:{port}".into()));
        let runner = Runner { program: "/bin/runner".into(), directory: "/run".into() };

        assert_eq!(launch.arguments(&place, &runner), ["serve", "--port=4711", "{socket}", "two words"]);
        for (name, value) in [
            ("PORT", "4711"),
            ("ASPNETCORE_PORT", "4711"),
            ("ASPNETCORE_TOKEN", "secret"),
            ("ASPNETCORE_APPL_PATH", "/"),
            ("URLS", "http://127.0.0.1:4711"),
        ] {
            assert_eq!(variable(&launch, &place, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(variable(&launch, &place, "NOTIFY_SOCKET"), None);
    }

    #[test]
    fn a_library_runs_in_our_runner_on_a_socket() {
        let endpoint = Endpoint::Unix("/run/x/app".into());
        let place = Place { endpoint: &endpoint, token: "secret", private: Path::new("/run/x") };
        let mut launch = Launch::new("shop", Program::Library("libshop.so".into()), "/srv");
        launch.listen = Listen::Port;
        let runner = Runner { program: "/bin/runner".into(), directory: "/run".into() };

        let arguments = launch.arguments(&place, &runner);
        let parsed = AppArguments::parse(arguments.into_iter().skip(2)).unwrap();

        assert_eq!(launch.listen(), Listen::Socket);
        assert_eq!(parsed.library, Path::new("/srv/libshop.so"));
        assert_eq!(parsed.socket, Path::new("/run/x/app"));
        assert_eq!(variable(&launch, &place, "PORT"), None);
        assert_eq!(variable(&launch, &place, "COHOST_SOCKET").as_deref(), Some("/run/x/app"));
    }
}
