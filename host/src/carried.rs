//! What a supervisor leaves to the program that takes its place: in the same process, so with the same number, the same
//! children and the same descriptors.
//!
//! In: what is served, the listening sockets, the workers. Out: the same, in the next program. Text, as between supervisor
//! and worker, since the next program is of another build; a field that it does not know is skipped.
//! Never: carries what the next program can make itself.

use std::{
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use cohost::{
    recorder::Recorder,
    supervisor::{
        lending,
        worker::{self, Generation, Process, Verdicts},
    },
};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::{FdFlags, fcntl_setfd},
};
use serde::{Deserialize, Serialize};

use crate::{edition::Edition, supervise::Crashes};

/// What is left to the next program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Carried {
    format: u32,
    /// Of the program that wrote this.
    pub(crate) version: String,
    /// What is served.
    pub(crate) edition: Edition,
    /// Its number.
    pub(crate) number: u64,
    /// Listening sockets by descriptor, in the order of the configuration.
    sockets: Vec<i32>,
    /// The one that serves.
    server: Worker,
    /// Those that were told to end.
    draining: Vec<Worker>,
    /// Processes of applications.
    #[serde(default)]
    instances: Vec<Instance>,
    /// See [`Past`]. As it was written: a program that does not understand it counts anew.
    #[serde(default)]
    past: serde_json::Value,
}

/// What counts against applications, and what there is to say about them. As a list, in this order.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Past {
    /// Against those that ended workers.
    pub(crate) verdicts: Verdicts,
    /// Against those whose processes failed.
    pub(crate) failures: lending::Past,
    /// For whoever asks for the last crashes.
    pub(crate) crashes: Crashes,
}

#[derive(Debug, Serialize, Deserialize)]
struct Instance {
    told: serde_json::Value,
    descriptors: [i32; 3],
}

#[derive(Debug, Serialize, Deserialize)]
struct Worker {
    generation: u64,
    pid: u32,
    socket: i32,
    /// Of a report whose end has not come.
    unread: Vec<u8>,
    /// What it records into.
    #[serde(default)]
    recorder: Option<i32>,
    /// What it prints into, and what is there of a line whose end has not come: standard output, standard error.
    output: [(i32, Vec<u8>); 2],
}

/// A file with a [`Carried`], and the descriptors that are named in it. They are inherited, once told to be.
pub(crate) struct Luggage {
    file: std::fs::File,
    descriptors: Vec<OwnedFd>,
}

/// Collects what is to be carried.
pub(crate) struct Packing<'a> {
    pub(crate) edition: &'a Edition,
    pub(crate) number: worker::Edition,
    pub(crate) sockets: Vec<OwnedFd>,
    pub(crate) server: (Generation, &'a Process),
    pub(crate) draining: Vec<(Generation, &'a Process)>,
    pub(crate) instances: Vec<lending::Carried>,
    /// A [`Past`].
    pub(crate) past: serde_json::Value,
}

impl Packing<'_> {
    /// Writes it all down.
    pub(crate) fn pack(self) -> io::Result<Luggage> {
        let mut descriptors = self.sockets;
        let sockets = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let mut worker = |(generation, process): (Generation, &Process)| {
            let worker::Carried { pid, socket, unread, recorder, output } = process.carry()?;
            let recorder = recorder.map(|recorder| recorder.page().try_clone()).transpose()?;
            let mut keep = |descriptor: OwnedFd| {
                let number = descriptor.as_raw_fd();
                descriptors.push(descriptor);
                number
            };
            let output = output.map(|worker::Pipe { descriptor, begun }| (keep(descriptor), begun));
            let (socket, recorder) = (keep(socket), recorder.map(keep));
            let packed = Worker { generation: generation.0, pid, socket, unread, recorder, output };
            io::Result::Ok(packed)
        };
        let carried = Carried {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            edition: self.edition.clone(),
            number: self.number.0,
            sockets,
            server: worker(self.server)?,
            draining: self.draining.into_iter().map(&mut worker).collect::<io::Result<_>>()?,
            instances: self.instances.iter().map(Instance::packed).collect(),
            past: self.past,
        };
        descriptors.extend(self.instances.into_iter().flat_map(|instance| instance.descriptors));
        Luggage::new(&carried, descriptors)
    }
}

impl Luggage {
    fn new(carried: &Carried, descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let mut file = std::fs::File::from(memfd_create("cohost-upgrade", MemfdFlags::CLOEXEC)?);
        file.write_all(&serde_json::to_vec(carried)?)?;
        file.rewind()?;
        Ok(Self { file, descriptors })
    }

    /// The text, for somebody who is to read it and nothing else.
    pub(crate) fn file(&self) -> io::Result<std::fs::File> {
        // By a path, so that it is read from its beginning by each.
        std::fs::File::open(Path::new("/proc/self/fd").join(self.file.as_raw_fd().to_string()))
    }

    /// Has all of it survive the next `execve`. The descriptor of the text.
    pub(crate) fn keep(&self) -> io::Result<i32> {
        for descriptor in &self.descriptors {
            fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        fcntl_setfd(&self.file, FdFlags::empty())?;
        Ok(self.file.as_raw_fd())
    }
}

impl Carried {
    /// Reads what the program before this one has left.
    pub(crate) fn read(descriptor: OwnedFd) -> io::Result<Self> {
        let mut text = Vec::new();
        std::fs::File::from(descriptor).read_to_end(&mut text)?;
        let carried: Self = serde_json::from_slice(&text)?;
        if carried.format != FORMAT {
            return Err(io::Error::other(format!(
                "the program before this one, {}, writes format {}, this one reads {FORMAT}; restart instead",
                carried.version, carried.format
            )));
        }
        Ok(carried)
    }

    /// The listening sockets.
    pub(crate) fn sockets(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().copied().map(cohost::runner::inherited).collect()
    }

    /// The processes of applications.
    pub(crate) fn instances(&self) -> io::Result<Vec<lending::Carried>> {
        self.instances.iter().map(Instance::take).collect()
    }

    /// What counts against applications.
    pub(crate) fn past(&mut self) -> Past {
        let past = std::mem::take(&mut self.past);
        serde_json::from_value(past).unwrap_or_else(|error| {
            tracing::warn!(%error, "what counted against applications is forgotten: it is not understood");
            Past::default()
        })
    }

    /// The worker that serves, and those that drain.
    pub(crate) fn workers(&self) -> io::Result<(Taken, Vec<Taken>)> {
        Ok((self.server.take()?, self.draining.iter().map(Worker::take).collect::<io::Result<_>>()?))
    }
}

/// A worker of the program before this one.
pub(crate) type Taken = (Generation, worker::Carried);

impl Instance {
    fn packed(instance: &lending::Carried) -> Self {
        let descriptors = instance.descriptors.each_ref().map(AsRawFd::as_raw_fd);
        Self { told: instance.text.clone(), descriptors }
    }

    fn take(&self) -> io::Result<lending::Carried> {
        let take = cohost::runner::inherited;
        let [socket, stdout, stderr] = self.descriptors;
        let descriptors = [take(socket)?, take(stdout)?, take(stderr)?];
        Ok(lending::Carried { text: self.told.clone(), descriptors })
    }
}

impl Worker {
    fn take(&self) -> io::Result<Taken> {
        let socket = cohost::runner::inherited(self.socket)?;
        let pipe = |(number, begun): &(i32, Vec<u8>)| {
            let descriptor = cohost::runner::inherited(*number)?;
            io::Result::Ok(worker::Pipe { descriptor, begun: begun.clone() })
        };
        let [stdout, stderr] = &self.output;
        let output = [pipe(stdout)?, pipe(stderr)?];
        let recorder = self.recorder.map(cohost::runner::inherited).transpose()?.map(Recorder::of);
        let carried =
            worker::Carried { pid: self.pid, socket, unread: self.unread.clone(), recorder, output };
        Ok((Generation(self.generation), carried))
    }
}

/// Raised when the next program must not misunderstand the one before it.
const FORMAT: u32 = 1;
