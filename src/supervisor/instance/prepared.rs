//! All that is needed before a process can be started.
//!
//! In: a launch. Out: a private directory with what belongs into it, an endpoint, a token, and the description for the
//! guard. Touches the file system, so it is called where blocking is allowed. Never: starts anything.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::{
    super::{
        Endpoint, Launch, Listen, Program, Ready, Runner,
        cgroup::{self, Group},
        guard::Description,
        launch::{Place, SOCKET},
    },
    error::StartError,
    identity::confined,
    ready::STRANGER,
};
use crate::sys::confine::Identity;

/// All that is needed before a process can be started.
pub(super) struct Prepared {
    pub(super) private: TempDir,
    pub(super) endpoint: Endpoint,
    pub(super) token: Arc<str>,
    pub(super) notify: Option<UnixDatagram>,
    pub(super) group: Option<Group>,
    pub(super) description: Description,
}

impl Prepared {
    pub(super) fn new(launch: &Launch, runner: &Runner) -> Result<Self, StartError> {
        let directory = working_directory(launch)?;
        let confined = confined(&launch.confinement)?;
        let private = private_directory(runner)?;
        let endpoint = endpoint(launch, private.path())?;
        let token = token()?;
        let place = Place { endpoint: &endpoint, token: &token, private: private.path() };
        let environment = launch.variables(&place);
        let arguments = launch.arguments(&place, runner);
        let program = match &launch.program {
            Program::Command(_) => executable(arguments.first(), &directory, &environment)?,
            Program::Library(library) => {
                write_settings(launch, &place)?;
                let library = launch.pinned.clone().unwrap_or_else(|| directory.join(library));
                fs::metadata(&library).map_err(|error| missing("the library", &library, error))?;
                runner.program.clone()
            }
        };
        let notify = notify_socket(launch, &place)?;
        if let Some(identity) = &confined.identity {
            hand_over(private.path(), identity)?;
        }
        // Last, so that nothing fails any more once it is there.
        let group = cgroup::group(&launch.application, &launch.confinement.limits)
            .map_err(|error| refused(&error.path, "its control group cannot be made", error.source))?;
        let description = Description {
            program: program.into_os_string(),
            arguments,
            environment,
            directory: directory.into_os_string(),
            confined,
            group: group.as_ref().map(|group| group.path().as_os_str().to_owned()),
            remove: Some(private.path().as_os_str().to_owned()),
        };
        Ok(Self { private, endpoint, token, notify, group, description })
    }
}

fn working_directory(launch: &Launch) -> Result<PathBuf, StartError> {
    let what = "the working directory";
    let directory =
        std::path::absolute(&launch.directory).map_err(|error| missing(what, &launch.directory, error))?;
    match fs::metadata(&directory) {
        Ok(found) if found.is_dir() => Ok(directory),
        Ok(_) => Err(missing(what, &directory, io::Error::from(io::ErrorKind::NotADirectory))),
        Err(error) => Err(missing(what, &directory, error)),
    }
}

/// Readable and writable by us alone.
fn private_directory(runner: &Runner) -> Result<TempDir, StartError> {
    let make = || {
        let directory = std::path::absolute(&runner.directory)?;
        tempfile::Builder::new()
            .prefix("cohost-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(directory)
    };
    make().map_err(|source| refused(&runner.directory, "no private directory can be made in it", source))
}

/// Makes the private directory, and all that is in it, the instance's own.
fn hand_over(private: &Path, identity: &Identity) -> Result<(), StartError> {
    let own = |path: &Path| std::os::unix::fs::lchown(path, Some(identity.user), Some(identity.group));
    let all = || {
        for entry in fs::read_dir(private)? {
            own(&entry?.path())?;
        }
        // Last: from then on somebody else may put something there.
        own(private)
    };
    all().map_err(|source| refused(private, "it cannot be made the instance's own", source))
}

fn endpoint(launch: &Launch, private: &Path) -> Result<Endpoint, StartError> {
    let port = match launch.listen() {
        Listen::Socket => return socket(private),
        Listen::Port => 0,
        Listen::FixedPort(port) => port,
    };
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match bound(wanted) {
        Ok(address) => Ok(Endpoint::Tcp(address)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(StartError::PortTaken { port, why: STRANGER, output: Arc::from("") })
        }
        Err(source) => Err(refused(Path::new("127.0.0.1"), "no port can be had on it", source)),
    }
}

/// The address, once it has been seen to be free.
fn bound(wanted: SocketAddr) -> io::Result<SocketAddr> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(wanted)?;
    // Closed at once: for a moment the port is anybody's, which is why its owner is looked at later. It never listens:
    // a process that the host is just starting may hold a copy a little longer, and nobody should reach that.
    socket.local_addr()
}

fn socket(private: &Path) -> Result<Endpoint, StartError> {
    let path = private.join(SOCKET);
    if path.as_os_str().len() > LONGEST_SOCKET_PATH {
        let source = io::Error::from(io::ErrorKind::InvalidFilename);
        return Err(refused(
            &path,
            "the path of its socket is too long; use a shorter runtime directory",
            source,
        ));
    }
    Ok(Endpoint::Unix(path))
}

/// 32 random bytes in hexadecimal digits.
fn token() -> Result<Arc<str>, StartError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| refused(Path::new("getrandom"), "the system has no random numbers", error.into()))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Arc::from(digits))
}

fn write_settings(launch: &Launch, place: &Place<'_>) -> Result<(), StartError> {
    let path = place.settings();
    let write = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?
            .write_all(launch.settings.as_bytes())
    };
    write().map_err(|source| refused(&path, "its settings cannot be written", source))
}

fn notify_socket(launch: &Launch, place: &Place<'_>) -> Result<Option<UnixDatagram>, StartError> {
    if launch.ready != Ready::Notify {
        return Ok(None);
    }
    let path = place.notify();
    let bind = || {
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    bind().map(Some).map_err(|source| refused(&path, "its notification socket cannot be made", source))
}

/// The file that a command names, searched for as a shell would.
fn executable(
    name: Option<&OsString>,
    directory: &Path,
    environment: &[(OsString, OsString)],
) -> Result<PathBuf, StartError> {
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
        refused(Path::new(""), "the command is empty", io::Error::from(io::ErrorKind::InvalidInput))
    })?;
    if name.as_bytes().contains(&b'/') {
        let file = directory.join(name);
        return match fs::metadata(&file) {
            Ok(_) => Ok(file),
            Err(error) => Err(missing("the command", &file, error)),
        };
    }
    let path = environment.iter().find(|(known, _)| known == "PATH");
    let path = path.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value);
    let mut candidates = std::env::split_paths(path).map(|entry| directory.join(entry).join(name));
    let runs = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    candidates.find(runs).ok_or_else(|| {
        let error = io::Error::new(io::ErrorKind::NotFound, format!("not in PATH: {}", path.display()));
        missing("the command", Path::new(name), error)
    })
}

fn missing(what: &'static str, file: &Path, source: io::Error) -> StartError {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            StartError::FileMissing { what, file: file.to_owned(), source }
        }
        _ => refused(file, "it cannot be read; check the permissions of the directories above it", source),
    }
}

pub(super) fn refused(file: &Path, advice: &'static str, source: io::Error) -> StartError {
    StartError::SpawnFailed { file: file.to_owned(), advice, source }
}

const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// One byte of the 108 is the terminator.
const LONGEST_SOCKET_PATH: usize = 107;
