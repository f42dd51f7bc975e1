//! A descriptor that lines are written to, if there is room for them at this very moment.
//!
//! In: bytes. Out: how many of them went out. Never: waits in `write`, or changes how anybody else's writes behave: the
//! log's descriptor is often shared with a terminal, or with the whole service, and its flags with it.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{FileType, Mode, OFlags, fstat, open},
    net::{SendFlags, send},
};

pub(super) struct Outlet {
    file: File,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Opened by ourselves, so that it has a flag of its own against waiting. Or a file, where writing is no waiting.
    Own,
    Socket,
    /// Somebody else's. We look before we write; if another process fills it in between, we wait.
    Shared,
}

impl Outlet {
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        let kind = fstat(&descriptor).map(|it| FileType::from_raw_mode(it.st_mode));
        match kind {
            Ok(FileType::Socket) => Self { file: descriptor.into(), kind: Kind::Socket },
            // Opened again, it would be written from its beginning.
            Ok(FileType::RegularFile) => Self { file: descriptor.into(), kind: Kind::Own },
            _ => match open_again(&descriptor) {
                Ok(own) => Self { file: own.into(), kind: Kind::Own },
                // A terminal of another user, or no /proc.
                Err(_) => Self { file: descriptor.into(), kind: Kind::Shared },
            },
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.kind {
            Kind::Own => (&self.file).write(bytes),
            Kind::Socket => Ok(send(&self.file, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?),
            Kind::Shared if self.has_room(NOW) => (&self.file).write(bytes),
            Kind::Shared => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Waits until there is room.
    pub(super) fn wait(&self) {
        self.has_room(None);
    }

    fn has_room(&self, limit: Option<&rustix::event::Timespec>) -> bool {
        let mut watched = [PollFd::new(&self.file, PollFlags::OUT)];
        // If it cannot be asked, or has no reader any more, a write tells.
        poll(&mut watched, limit).map_or(true, |ready| ready > 0)
    }
}

fn open_again(descriptor: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd());
    open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
}

const NOW: Option<&rustix::event::Timespec> = Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 });
