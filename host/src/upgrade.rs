//! Another program in place of this one, while it serves.
//!
//! In: a wish to upgrade. Out: the program that stands at our own path by now, in this very process, with our sockets and
//! our workers; or why not, and nothing has changed. Never: lets go of anything before the next program has shown that it
//! understands what it is to take over.
//!
//! ```text
//! wish ──→ the next program reads what it would be left, in a child ──→ nothing is being changed ──→ execve
//! ```
//!
//! The process stays the same: for whoever has started us, for workers, which end with their parent, and for process 1
//! of a container. The next program then replaces the worker by one of its own, as for any other change.

use std::{
    ffi::{CString, OsStr, OsString},
    io::{self, Read as _, Seek as _},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cohost::supervisor::Exit as Ended;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::{
    carried::{Carried, Luggage},
    edition::Edition,
    exit::{Exit, Refused},
    systemd,
};

/// Where an upgrade stands.
#[derive(Default)]
pub(crate) enum Upgrade {
    /// Nobody wants one.
    #[default]
    None,
    /// Somebody wants one.
    Wanted {
        /// The next program, if not what stands at our own path.
        program: Option<PathBuf>,
        /// Until when it has to begin.
        until: Instant,
    },
    /// The next program is reading what it would be left.
    Checking(Check),
    /// It has understood it, and takes over as soon as nothing is being changed.
    Due {
        /// The next program.
        program: PathBuf,
        /// Until when that has to come.
        until: Instant,
    },
}

/// The next program, reading what it would be left.
pub(crate) struct Check {
    program: PathBuf,
    pid: u32,
    said: std::fs::File,
    until: Instant,
}

impl Upgrade {
    /// Somebody wants one, to this program if it is named.
    pub(crate) fn want(&mut self, program: Option<PathBuf>) {
        self.give_up();
        *self = Self::Wanted { program, until: Instant::now() + DUE_LIMIT };
    }

    /// Nobody wants it any more.
    pub(crate) fn give_up(&mut self) {
        if let Self::Checking(check) = std::mem::take(self) {
            check.kill();
        }
    }

    /// Whether the next step is only waiting for nothing to be changed.
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Self::Wanted { .. } | Self::Due { .. })
    }

    /// Has `program` read what it would be left.
    pub(crate) fn begin(program: PathBuf, edition: &Edition, luggage: &Luggage) -> io::Result<Self> {
        let said = std::fs::File::from(memfd_create("cohost-upgrade-check", MemfdFlags::CLOEXEC)?);
        let child = Command::new(&program)
            .args(&edition.command_line()[1..])
            .args([RESUME, "0", CHECK])
            .stdin(Stdio::from(luggage.file()?))
            .stdout(Stdio::null())
            .stderr(Stdio::from(said.try_clone()?))
            .process_group(0)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
        tracing::info!(program = %program.display(), pid = child.id(), "upgrade: asking the program whether it can take over");
        let until = Instant::now() + CHECK_LIMIT;
        Ok(Self::Checking(Check { program, pid: child.id(), said, until }))
    }

    /// Takes note of a child's end; tells why there will be no upgrade after all, if that is what it means.
    pub(crate) fn ended(&mut self, pid: u32, exit: Ended) -> Option<String> {
        let Self::Checking(check) = self else { return None };
        if check.pid != pid {
            return None;
        }
        let Self::Checking(mut check) = std::mem::take(self) else { return None };
        if exit.success() {
            *self = Self::Due { program: check.program, until: Instant::now() + DUE_LIMIT };
            return None;
        }
        let said = check.said();
        Some(format!("{} cannot take over ({exit}): {said}", check.program.display()))
    }

    /// When somebody has to look again, if nothing else happens before.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Self::None => None,
            Self::Wanted { until, .. } | Self::Checking(Check { until, .. }) | Self::Due { until, .. } => {
                Some(*until)
            }
        }
    }

    /// Gives up an upgrade that takes too long, and tells why.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<String> {
        if self.due().is_none_or(|until| now < until) {
            return None;
        }
        match std::mem::take(self) {
            Self::None => None,
            Self::Checking(check) => {
                check.kill();
                Some(format!("{} did not say in time whether it can take over", check.program.display()))
            }
            Self::Wanted { .. } | Self::Due { .. } => {
                Some("the workers did not come to rest in time; try again".to_owned())
            }
        }
    }
}

impl Check {
    /// Its number is its own until its end is told.
    fn kill(&self) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _gone = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }

    /// What it wrote, as far as it matters.
    fn said(&mut self) -> String {
        let mut said = String::new();
        let _unreadable = self.said.rewind().and_then(|()| self.said.read_to_string(&mut said));
        said.trim().to_owned()
    }
}

/// The program that stands by now where the one was started from that runs.
pub(crate) fn successor(edition: &Edition, directory: &Path) -> io::Result<PathBuf> {
    let name = edition.command_line().first().map(Path::new).unwrap_or_else(|| Path::new("cohost"));
    if name.components().count() > 1 {
        return Ok(directory.join(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| io::Error::other(format!("no {} in PATH; put the new one there", name.display())))
}

/// Puts `program` in place of this one. Returns only if that fails. Signals have to be kept by then: one that comes in
/// between would end a process that does not listen yet.
pub(crate) fn replace(program: &Path, edition: &Edition, luggage: &Luggage) -> io::Error {
    let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
    let replaced = || {
        let descriptor = OsString::from(luggage.keep()?.to_string());
        let words = edition.command_line().iter().map(|word| &**word);
        let words = words.chain([RESUME.as_ref(), &*descriptor]).map(text).collect::<io::Result<Vec<_>>>()?;
        // Its sockets are carried with the others; these numbers will be of something else.
        let own = |name: &OsStr| !systemd::SOCKETS.iter().any(|hidden| name == *hidden);
        let environment = std::env::vars_os().filter(|(name, _)| own(name)).map(|(name, value)| {
            let mut variable = name;
            variable.push("=");
            variable.push(value);
            text(&variable)
        });
        let environment = environment.collect::<io::Result<Vec<_>>>()?;
        let Err(error) = nix::unistd::execve(&text(program.as_os_str())?, &words, &environment);
        io::Result::<()>::Err(error.into())
    };
    match replaced() {
        Err(error) => error,
        Ok(()) => io::ErrorKind::Other.into(),
    }
}

/// Reads what the program before this one left at `descriptor`; with `check`, that is all that is to be done.
pub(crate) fn carried(descriptor: i32) -> Result<Carried, Refused> {
    let read = match descriptor {
        0 => rustix::io::dup(rustix::stdio::stdin()).map_err(io::Error::from),
        number => cohost::runner::inherited(number),
    };
    read.and_then(Carried::read)
        .map_err(|error| Exit::Failed.because(format!("cannot read what is to be taken over: {error}")))
}

/// The options, hidden, with which one program starts the next. The second is for a child that ends after reading.
const RESUME: &str = "--resume";
const CHECK: &str = "--resume-check";

/// How long the next program may take to read what it would be left.
const CHECK_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take until nothing is being changed.
const DUE_LIMIT: Duration = Duration::from_secs(60);
