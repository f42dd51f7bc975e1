//! An instance as one program leaves it to the next one that runs in the same process.
//!
//! In: an instance. Out: what names it, and its descriptors; the same instance, in the next program. Never: carries what it
//! has printed, but for a line whose end has not come.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    path::PathBuf,
    process::{ChildStderr as StdStderr, ChildStdout as StdStdout},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio::{
    net::UnixStream,
    process::{ChildStderr, ChildStdout},
};

use super::{
    super::{Endpoint, Launch, wire},
    Instance,
    output::Begun,
    start::{Watched, printer},
    watch::{Guard, Handle, reports},
};

/// What names an instance. Its descriptors go beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Carried {
    pid: u32,
    guard: u32,
    #[serde(with = "wire::endpoint")]
    endpoint: Endpoint,
    #[serde(with = "wire::text")]
    token: Arc<str>,
    #[serde(with = "wire::path")]
    private: PathBuf,
    /// Of a line whose end has not come: standard output, standard error.
    #[serde(default)]
    begun: [Vec<u8>; 2],
}

/// What is kept of an instance for the one case that it is carried.
pub(super) struct Kept {
    pub(super) guard: u32,
    pub(super) private: PathBuf,
    pub(super) descriptors: Descriptors,
    pub(super) begun: Begun,
}

/// Copies of the descriptors that it is watched by: the guard's socket, and its two streams.
pub(super) struct Descriptors([OwnedFd; 3]);

impl Descriptors {
    pub(super) fn of(
        socket: OwnedFd,
        stdout: Option<&ChildStdout>,
        stderr: Option<&ChildStderr>,
    ) -> io::Result<Self> {
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        Ok(Self([socket, stdout.as_fd().try_clone_to_owned()?, stderr.as_fd().try_clone_to_owned()?]))
    }

    fn copies(&self) -> io::Result<[OwnedFd; 3]> {
        let [socket, stdout, stderr] = &self.0;
        Ok([socket.try_clone()?, stdout.try_clone()?, stderr.try_clone()?])
    }
}

impl Instance {
    /// What the next program in this process needs to go on with it.
    pub(in super::super) fn carry(&self) -> io::Result<(Carried, [OwnedFd; 3])> {
        let carried = Carried {
            pid: self.pid,
            guard: self.kept.guard,
            endpoint: self.endpoint.clone(),
            token: Arc::clone(&self.token),
            private: self.kept.private.clone(),
            begun: self.kept.begun.rest(),
        };
        Ok((carried, self.kept.descriptors.copies()?))
    }

    /// Goes on with an instance that the program before this one has started, in this very process.
    pub(in super::super) fn resume(
        launch: &Launch,
        carried: Carried,
        descriptors: [OwnedFd; 3],
    ) -> io::Result<Self> {
        let descriptors = Descriptors(descriptors);
        let [socket, stdout, stderr] = descriptors.copies()?;
        let socket = StdUnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let (read, orders) = UnixStream::from_std(socket)?.into_split();
        let process = Watched {
            pid: carried.pid,
            endpoint: carried.endpoint,
            token: carried.token,
            streams: (
                Some(ChildStdout::from_std(StdStdout::from(stdout))?),
                Some(ChildStderr::from_std(StdStderr::from(stderr))?),
            ),
            guard: Guard::Resumed(Handle::new(carried.guard)),
            reports: reports(read),
            orders,
            // Its guard removes it.
            group: None,
            kept: Kept {
                guard: carried.guard,
                private: carried.private,
                descriptors,
                begun: Begun::new(printer(launch), carried.begun),
            },
        };
        Ok(process.instance(launch))
    }
}
