//! Our own executable in its other roles: guard of an instance, and runner of an application library.
//!
//! In: the process's arguments. Out: which role they ask for, and back. The contract between the host that starts a
//! runner and the runner stands here and nowhere else.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::PathBuf,
    time::Duration,
};

use tracing_core::LevelFilter;

use crate::failure::Code;

/// The executable that plays the roles of guard and runner, and where its private files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner {
    /// A program that calls [`enter_if_asked`](crate::enter_if_asked) first thing.
    pub program: PathBuf,
    /// Where private directories are made, one for each instance: `/run/cohost`, or the system's place for temporary
    /// files. Short, since the path of a Unix socket holds no more than 107 bytes.
    pub directory: PathBuf,
}

impl Runner {
    /// This very executable, also when its file has been replaced by a newer one meanwhile.
    #[must_use]
    pub fn current(directory: impl Into<PathBuf>) -> Self {
        Self { program: PathBuf::from("/proc/self/exe"), directory: directory.into() }
    }
}

/// A role that this executable is started for by a host.
#[derive(Debug)]
pub enum Role {
    /// Stands between the host and an instance.
    Guard,
    /// Serves one application library. The arguments may be wrong, if somebody else than a host started it.
    Application(Result<Box<AppArguments>, ArgumentError>),
}

impl Role {
    /// The role that this process was started for, if it was started for one.
    #[must_use]
    pub fn asked_for() -> Option<Self> {
        let mut arguments = std::env::args_os().skip(1);
        match arguments.next()?.to_str()? {
            GUARD => Some(Self::Guard),
            APP => Some(Self::Application(AppArguments::parse(arguments).map(Box::new))),
            _ => None,
        }
    }
}

/// Whether this process was started for a role, whatever it does now.
///
/// A program that forgot [`enter_if_asked`](crate::enter_if_asked) would otherwise start itself without end.
pub(super) fn asked() -> bool {
    std::env::args_os().nth(1).is_some_and(|marker| marker == GUARD || marker == APP)
}

/// How a runner ends when its application did not start: the host reads the failure's code from it.
///
/// Between the codes that mean something to everybody and those that shells make of signals.
const FIRST: u8 = 80;

/// The failures that an exit code can tell, in order.
const TOLD: [Code; 6] = [
    Code::LoadFailed,
    Code::DependencyMissing,
    Code::StaticTls,
    Code::AbiMismatch,
    Code::StartFailed,
    Code::StartPanicked,
];

/// The exit code that tells a failure.
pub(crate) fn exit_of(code: Code) -> u8 {
    let place = TOLD
        .iter()
        .position(|told| *told == code)
        .or_else(|| TOLD.iter().position(|told| *told == Code::StartFailed));
    FIRST + u8::try_from(place.unwrap_or_default()).unwrap_or_default()
}

/// The failure that a runner's exit code tells.
pub(crate) fn failure_of(exit: i32) -> Option<Code> {
    let place = usize::try_from(exit).ok()?.checked_sub(usize::from(FIRST))?;
    TOLD.get(place).copied()
}

/// What the host tells a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppArguments {
    /// The application library.
    pub library: PathBuf,
    /// A copy of it to open in its place.
    pub pinned: Option<PathBuf>,
    /// The Unix socket to listen on.
    pub socket: PathBuf,
    /// The application's name.
    pub name: OsString,
    /// The application's root, which is the working directory, too.
    pub content_root: PathBuf,
    /// The application's path prefix, empty at the root.
    pub path_base: OsString,
    /// Which generation of its code this is.
    pub generation: u64,
    /// Threads of the application's own runtime; 0 for its default.
    pub runtime_threads: u32,
    /// Most threads for calls that block.
    pub blocking_threads: usize,
    /// How long the application may keep a thread that serves; `None` for ever.
    pub hang_timeout: Option<Duration>,
    /// How long requests in flight may go on when it stops.
    pub shutdown_timeout: Duration,
    /// What of its events the host may write.
    pub log_level: LevelFilter,
    /// A file with the application's settings in JSON, readable by its owner alone.
    pub settings: PathBuf,
}

impl AppArguments {
    /// As arguments of the runner, the marker first.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<OsString> {
        let option = |name: &str, value: &OsStr| [OsString::from(name), value.to_owned()];
        let mut arguments = vec![OsString::from(APP), self.library.clone().into_os_string()];
        if let Some(pinned) = &self.pinned {
            arguments.extend(option(PINNED, pinned.as_os_str()));
        }
        arguments.extend(option(SOCKET, self.socket.as_os_str()));
        arguments.extend(option(NAME, &self.name));
        arguments.extend(option(CONTENT_ROOT, self.content_root.as_os_str()));
        arguments.extend(option(PATH_BASE, &self.path_base));
        arguments.extend(option(GENERATION, OsStr::new(&self.generation.to_string())));
        arguments.extend(option(RUNTIME_THREADS, OsStr::new(&self.runtime_threads.to_string())));
        arguments.extend(option(BLOCKING_THREADS, OsStr::new(&self.blocking_threads.to_string())));
        if let Some(limit) = self.hang_timeout {
            let limit = limit.as_millis().to_string();
            arguments.extend(option(HANG_TIMEOUT, OsStr::new(&limit)));
        }
        let limit = self.shutdown_timeout.as_millis().to_string();
        arguments.extend(option(SHUTDOWN_TIMEOUT, OsStr::new(&limit)));
        arguments.extend(option(LOG_LEVEL, OsStr::new(&self.log_level.to_string())));
        arguments.extend(option(SETTINGS, self.settings.as_os_str()));
        arguments
    }

    /// From the arguments that follow the marker.
    ///
    /// # Errors
    /// One is missing, unknown, or not what it should be.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ArgumentError> {
        let mut arguments = arguments.into_iter();
        let library = arguments.next().ok_or(ArgumentError::Missing("the library"))?;
        let mut options = Options::default();
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| ArgumentError::NoValue(name.clone()))?;
            options.put(&name, value)?;
        }
        let need = |value: Option<OsString>, name| value.ok_or(ArgumentError::Missing(name));
        Ok(Self {
            library: library.into(),
            pinned: options.pinned.map(PathBuf::from),
            socket: need(options.socket, SOCKET)?.into(),
            name: need(options.name, NAME)?,
            content_root: need(options.content_root, CONTENT_ROOT)?.into(),
            path_base: need(options.path_base, PATH_BASE)?,
            generation: parsed(need(options.generation, GENERATION)?)?,
            runtime_threads: parsed(need(options.runtime_threads, RUNTIME_THREADS)?)?,
            blocking_threads: parsed(need(options.blocking_threads, BLOCKING_THREADS)?)?,
            hang_timeout: options.hang_timeout.map(parsed).transpose()?.map(Duration::from_millis),
            shutdown_timeout: Duration::from_millis(parsed(need(
                options.shutdown_timeout,
                SHUTDOWN_TIMEOUT,
            )?)?),
            log_level: parsed(need(options.log_level, LOG_LEVEL)?)?,
            settings: need(options.settings, SETTINGS)?.into(),
        })
    }

    /// Reads the application's settings: JSON.
    ///
    /// # Errors
    /// The file is gone or not text.
    pub fn read_settings(&self) -> io::Result<String> {
        std::fs::read_to_string(&self.settings)
    }
}

fn parsed<N: std::str::FromStr>(text: OsString) -> Result<N, ArgumentError> {
    text.to_str().and_then(|digits| digits.parse().ok()).ok_or(ArgumentError::Unreadable(text))
}

#[derive(Default)]
struct Options {
    pinned: Option<OsString>,
    socket: Option<OsString>,
    name: Option<OsString>,
    content_root: Option<OsString>,
    path_base: Option<OsString>,
    generation: Option<OsString>,
    runtime_threads: Option<OsString>,
    blocking_threads: Option<OsString>,
    hang_timeout: Option<OsString>,
    shutdown_timeout: Option<OsString>,
    log_level: Option<OsString>,
    settings: Option<OsString>,
}

impl Options {
    fn put(&mut self, name: &OsStr, value: OsString) -> Result<(), ArgumentError> {
        let place = match name.to_str() {
            Some(PINNED) => &mut self.pinned,
            Some(SOCKET) => &mut self.socket,
            Some(NAME) => &mut self.name,
            Some(CONTENT_ROOT) => &mut self.content_root,
            Some(PATH_BASE) => &mut self.path_base,
            Some(GENERATION) => &mut self.generation,
            Some(RUNTIME_THREADS) => &mut self.runtime_threads,
            Some(BLOCKING_THREADS) => &mut self.blocking_threads,
            Some(HANG_TIMEOUT) => &mut self.hang_timeout,
            Some(LOG_LEVEL) => &mut self.log_level,
            Some(SHUTDOWN_TIMEOUT) => &mut self.shutdown_timeout,
            Some(SETTINGS) => &mut self.settings,
            _ => return Err(ArgumentError::Unknown(name.to_owned())),
        };
        *place = Some(value);
        Ok(())
    }
}

/// A runner was not started the way a host starts it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// One is not there.
    #[error("{0} is missing from the arguments")]
    Missing(&'static str),
    /// The last one is a name without a value.
    #[error("{} has no value", .0.display())]
    NoValue(OsString),
    /// There is none of this name.
    #[error("{} is no argument of a runner", .0.display())]
    Unknown(OsString),
    /// Neither number nor level, where one should be.
    #[error("{} is neither a number nor a level", .0.display())]
    Unreadable(OsString),
}

/// What the guard of `application` is called with.
pub(super) fn guard_arguments(application: &str) -> [&OsStr; 2] {
    // The name is for whoever reads a list of processes; the guard is told everything else over its socket.
    [OsStr::new(GUARD), OsStr::new(application)]
}

const GUARD: &str = "--cohost-guard";
const APP: &str = "--cohost-app";
const PINNED: &str = "--pinned";
const SOCKET: &str = "--socket";
const NAME: &str = "--name";
const CONTENT_ROOT: &str = "--content-root";
const PATH_BASE: &str = "--path-base";
const GENERATION: &str = "--generation";
const RUNTIME_THREADS: &str = "--runtime-threads";
const BLOCKING_THREADS: &str = "--blocking-threads";
const HANG_TIMEOUT: &str = "--hang-timeout-ms";
const LOG_LEVEL: &str = "--log-level";
const SHUTDOWN_TIMEOUT: &str = "--shutdown-timeout-ms";
const SETTINGS: &str = "--settings";

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> AppArguments {
        AppArguments {
            library: "/srv/my shop/libshop.so".into(),
            pinned: Some("/run/pins/libshop.so".into()),
            socket: "/run/x/app.sock".into(),
            name: "--name".into(),
            content_root: "/srv/my shop".into(),
            path_base: "".into(),
            generation: 3,
            runtime_threads: 2,
            blocking_threads: 8,
            hang_timeout: Some(Duration::from_secs(90)),
            shutdown_timeout: Duration::from_secs(10),
            log_level: LevelFilter::DEBUG,
            settings: "/run/x/settings.json".into(),
        }
    }

    #[test]
    fn a_runner_reads_what_the_host_wrote() {
        let mut written = arguments().to_arguments().into_iter();
        assert_eq!(written.next().unwrap(), APP);
        assert_eq!(AppArguments::parse(written), Ok(arguments()));
    }

    #[test]
    fn a_runner_names_what_is_missing_or_wrong() {
        let mut written = arguments().to_arguments();
        written.truncate(6);
        assert_eq!(AppArguments::parse(written.drain(1..)), Err(ArgumentError::Missing(NAME)));
        let unknown = ["lib", "--colour", "red"].map(OsString::from);
        assert_eq!(AppArguments::parse(unknown), Err(ArgumentError::Unknown("--colour".into())));
        let dangling = ["lib", SOCKET].map(OsString::from);
        assert_eq!(AppArguments::parse(dangling), Err(ArgumentError::NoValue(SOCKET.into())));
    }
}
