//! A worker's process, as its supervisor has it.
//!
//! In: orders. Out: its reports, and that it said its last word. Never: waits for the worker, whatever that does; or
//! reaps it: whoever does that drops this, and nobody signals a number that may be somebody else's by then.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream as StdUnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{Pid, Signal, kill_process_group},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Interest},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{
    WORKER,
    message::{Order, Report, line, read},
    terms::Generation,
};

/// A worker's process.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    orders: UnboundedSender<(Vec<u8>, Option<Arc<OwnedFd>>)>,
}

/// What was heard of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It said this.
    Report(Report),
    /// It will not say anything any more.
    Hung,
}

impl Process {
    /// Starts a worker: `program`, which has to begin with a look at [`asked`](super::asked).
    ///
    /// What it says goes to `heard`. `hidden` are variables that it shall not inherit. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system refused.
    pub fn start(
        program: &Path,
        generation: Generation,
        hidden: &[&str],
        heard: UnboundedSender<(Generation, Heard)>,
    ) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(ours)?.into_split();
        let mut command = Command::new(program);
        command
            .arg0("cohost-worker")
            // The number is for whoever reads a list of processes.
            .args([WORKER, &generation.to_string()])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            // Not in the terminal's foreground: Ctrl+C there is for the supervisor, which tells the worker.
            .process_group(0);
        for name in hidden {
            command.env_remove(name);
        }
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("the system numbers processes from 1");
        let (orders, waiting) = unbounded_channel();
        // Both end with the worker's end of the socket.
        tokio::spawn(listen(generation, read, heard));
        tokio::spawn(speak(write, waiting));
        Ok(Self { pid, orders })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(super) fn number(&self) -> Pid {
        self.pid
    }

    /// Tells it what to do. If it is gone, that is heard otherwise.
    pub fn order(&self, order: &Order) {
        let _gone = self.orders.send((line(order), None));
    }

    /// Hands it a socket to accept on.
    pub fn hand(&self, socket: Arc<OwnedFd>) {
        let _gone = self.orders.send((line(&Order::Socket), Some(socket)));
    }

    /// Kills it, and what it has started in its own group. Also right after its end, before it is reaped.
    pub fn kill(&self) {
        let _gone = kill_process_group(self.pid, Signal::KILL);
    }
}

async fn listen(generation: Generation, socket: OwnedReadHalf, heard: UnboundedSender<(Generation, Heard)>) {
    let mut lines = BufReader::new(socket).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        if let Some(report) = read(&line)
            && heard.send((generation, Heard::Report(report))).is_err()
        {
            return;
        }
    }
    let _over = heard.send((generation, Heard::Hung));
}

async fn speak(socket: OwnedWriteHalf, mut orders: UnboundedReceiver<(Vec<u8>, Option<Arc<OwnedFd>>)>) {
    while let Some((line, descriptor)) = orders.recv().await {
        let mut descriptor = descriptor.as_ref().map(|descriptor| descriptor.as_fd());
        let mut rest = &line[..];
        while !rest.is_empty() {
            let stream = socket.as_ref();
            let sent = stream.async_io(Interest::WRITABLE, || send(stream, rest, descriptor.as_ref())).await;
            let Ok(sent) = sent else { return };
            rest = &rest[sent..];
            // It has gone with the first byte.
            descriptor = None;
        }
    }
}

fn send(socket: &UnixStream, bytes: &[u8], descriptor: Option<&BorrowedFd<'_>>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(descriptor) = descriptor {
        control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor)));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::{super::conversation::Orders, *};

    #[tokio::test]
    async fn descriptors_arrive_with_their_messages_however_long_those_are() {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (_read, write) = UnixStream::from_std(ours).unwrap().into_split();
        let (orders, waiting) = unbounded_channel();
        let files: Vec<_> = (0..100).map(|_| tempfile::tempfile().unwrap()).collect();
        let inodes: Vec<_> = files.iter().map(|file| file.metadata().unwrap().ino()).collect();
        for file in files {
            // What is not known is ignored, but has to be read to its end.
            let unknown = serde_json::json!({ "order": "later", "text": "x".repeat(30_000) });
            orders.send((line(&unknown), None)).unwrap();
            orders.send((line(&Order::Socket), Some(Arc::new(file.into())))).unwrap();
        }
        drop(orders);
        let speaking = tokio::spawn(speak(write, waiting));
        let heard = tokio::task::spawn_blocking(move || {
            let files = Orders::new(theirs).map(|(_, descriptor)| std::fs::File::from(descriptor.unwrap()));
            files.map(|file| file.metadata().unwrap().ino()).collect::<Vec<_>>()
        });
        assert_eq!(heard.await.unwrap(), inodes);
        speaking.await.unwrap();
    }
}
