//! A worker's process, as its supervisor has it.
//!
//! In: orders. Out: its reports, and that it said its last word. Never: waits for the worker, whatever that does; or
//! reaps it: whoever does that drops this, and nobody signals a number that may be somebody else's by then.

use std::{
    fmt,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream as StdUnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{Pid, Signal, kill_process_group},
};
use tokio::{
    io::Interest,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
};

use super::{
    super::instance::Tail,
    WORKER,
    message::{Order, Report, Start, line, read},
    output::{Capture, Pipe, Whose},
    terms::Generation,
};
use crate::{
    recorder::{Recorder, Recording},
    telemetry::output::Stream,
};

/// A worker's process.
pub struct Process {
    pid: Pid,
    whose: Whose,
    output: [Arc<Capture>; 2],
    tail: Tail,
    orders: UnboundedSender<Said>,
    conversation: Arc<Conversation>,
    /// Beside those who use it, for whoever goes on with the worker.
    socket: OwnedFd,
    recorder: Option<Recorder>,
}

/// A worker's process as one program leaves it to the next one that runs in the same process.
#[derive(Debug)]
pub struct Carried {
    /// Its number.
    pub pid: u32,
    /// Our end of the conversation.
    pub socket: OwnedFd,
    /// What was read of a report whose end has not come.
    pub unread: Vec<u8>,
    /// What it records into.
    pub recorder: Option<Recorder>,
    /// Its standard output and error.
    pub output: [Pipe; 2],
}

/// An order, as it goes out, and the descriptor that goes with it.
type Said = (Vec<u8>, Option<Arc<OwnedFd>>);

/// What of a conversation is neither with the one side nor with the other.
#[derive(Debug, Default)]
struct Conversation {
    unsent: watch::Sender<usize>,
    unread: Mutex<Vec<u8>>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// What was heard of a worker.
#[derive(Clone, Debug, PartialEq)]
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
        let (stdout, their_stdout) = io::pipe()?;
        let (stderr, their_stderr) = io::pipe()?;
        let mut command = Command::new(program);
        command
            .arg0("cohost-worker")
            // The number is for whoever reads a list of processes.
            .args([WORKER, &generation.to_string()])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(their_stdout))
            .stderr(Stdio::from(their_stderr))
            // Not in the terminal's foreground: Ctrl+C there is for the supervisor, which tells the worker.
            .process_group(0);
        for name in hidden {
            command.env_remove(name);
        }
        let child = command.spawn()?;
        // It has the other ends as well, and while it does, nobody sees the end of what is printed.
        drop(command);
        let output = [stdout, stderr].map(Pipe::from);
        let (unread, recorder) = (Vec::new(), recorder());
        let carried = Carried { pid: child.id(), socket: ours.into(), unread, recorder, output };
        let process = Self::resume(carried, generation, heard)?;
        if let Some(recorder) = &process.recorder {
            process.hand_over(&Order::Recorder, recorder.page());
        }
        Ok(process)
    }

    /// Goes on with a worker that the program before this one has started, in this very process.
    ///
    /// # Errors
    /// The system refused, or the number is none of a process.
    pub fn resume(
        carried: Carried,
        generation: Generation,
        heard: UnboundedSender<(Generation, Heard)>,
    ) -> io::Result<Self> {
        let pid = i32::try_from(carried.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let socket = StdUnixStream::from(carried.socket);
        socket.set_nonblocking(true)?;
        let unread = Mutex::new(carried.unread);
        let conversation = Arc::new(Conversation { unread, ..Conversation::default() });
        let kept = socket.try_clone()?.into();
        let (read, write) = UnixStream::from_std(socket)?.into_split();
        let whose: Whose = Arc::default();
        let tail = Tail::default();
        let shared = || (Arc::clone(&whose), tail.clone());
        let capture = |pipe, stream| Capture::start(pipe, carried.pid, stream, shared());
        let [stdout, stderr] = carried.output;
        let output = [capture(stdout, Stream::Stdout)?, capture(stderr, Stream::Stderr)?];
        let (orders, waiting) = unbounded_channel();
        // Both end with the worker's end of the socket.
        tokio::spawn(listen(generation, read, Arc::clone(&conversation), heard));
        tokio::spawn(speak(write, waiting, Arc::clone(&conversation)));
        Ok(Self { pid, whose, output, tail, orders, conversation, socket: kept, recorder: carried.recorder })
    }

    /// Waits until all that it was told has reached it, so that nothing is lost when [`carry`](Self::carry) is called.
    pub async fn has_heard_all(&self) {
        let mut unsent = self.conversation.unsent.subscribe();
        // It fails only without a sender, which is here.
        let _none = unsent.wait_for(|unsent| *unsent == 0).await;
    }

    /// What the next program in this process needs to go on with this worker.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn carry(&self) -> io::Result<Carried> {
        let socket = self.socket.try_clone()?;
        let recorder = self.recorder.clone();
        let [stdout, stderr] = &self.output;
        let output = [stdout.carry()?, stderr.carry()?];
        Ok(Carried { pid: self.pid(), socket, unread: self.conversation.unread().clone(), recorder, output })
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
        self.say((line(order), None));
    }

    /// Tells it what to serve, and hands it what it shall log to.
    pub fn begin(&self, start: Start, log: Arc<OwnedFd>) {
        self.hand_over(&Order::Start(start), log);
    }

    /// Says whose it is what it prints from now on: that of `application`, or nobody knows.
    pub fn prints_for(&self, application: Option<Arc<str>>) {
        self.whose.store(application.map(Arc::new));
    }

    /// Keeps what it has printed until now. For its end, which is news only after its last words.
    pub fn last_words(&self) {
        self.output.iter().for_each(|stream| stream.last_words());
    }

    /// The end of what it has printed, up to 30 KB; of a worker that another program has started, since this one is there.
    #[must_use]
    pub fn output_tail(&self) -> Arc<str> {
        self.tail.text()
    }

    /// Tells it what to do, from wherever this is taken to.
    pub fn voice(&self) -> impl Fn(&Order) + Send + 'static + use<> {
        let (orders, conversation) = (self.orders.clone(), Arc::clone(&self.conversation));
        move |order| conversation.say(&orders, (line(order), None))
    }

    /// Hands it a socket to accept on.
    pub fn hand(&self, socket: Arc<OwnedFd>) {
        self.hand_over(&Order::Socket, socket);
    }

    fn hand_over(&self, order: &Order, descriptor: Arc<OwnedFd>) {
        self.say((line(order), Some(descriptor)));
    }

    /// What its flight recorder says. Empty if it has none, or recorded nothing.
    #[must_use]
    pub fn recording(&self) -> Recording {
        let read = self.recorder.as_ref().and_then(|recorder| recorder.read().ok());
        read.unwrap_or_default()
    }

    fn say(&self, said: Said) {
        self.conversation.say(&self.orders, said);
    }

    /// Kills it, and what it has started in its own group. Also right after its end, before it is reaped.
    pub fn kill(&self) {
        let _gone = kill_process_group(self.pid, Signal::KILL);
    }
}

impl Conversation {
    fn say(&self, orders: &UnboundedSender<Said>, said: Said) {
        self.unsent.send_modify(|unsent| *unsent += 1);
        let _gone = orders.send(said);
    }

    fn unread(&self) -> MutexGuard<'_, Vec<u8>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next report, if all of it has come.
    fn next(&self) -> Option<Vec<u8>> {
        let mut unread = self.unread();
        let end = unread.iter().position(|byte| *byte == b'\n')?;
        let rest = unread.split_off(end + 1);
        Some(std::mem::replace(&mut *unread, rest))
    }
}

/// A page for the next worker. Without one, a crash has no name, and everything else is as it was.
fn recorder() -> Option<Recorder> {
    Recorder::new().inspect_err(|error| tracing::warn!(%error, "a worker has no flight recorder")).ok()
}

async fn listen(
    generation: Generation,
    socket: OwnedReadHalf,
    conversation: Arc<Conversation>,
    heard: UnboundedSender<(Generation, Heard)>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        while let Some(line) = conversation.next() {
            if let Some(report) = read(&line)
                && heard.send((generation, Heard::Report(report))).is_err()
            {
                return;
            }
        }
        // Nothing is read that is not noted at once: this may be the last that is done here.
        match socket.readable().await.and_then(|()| socket.try_read(&mut bytes)) {
            Ok(0) => break,
            Ok(length) => conversation.unread().extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    let _over = heard.send((generation, Heard::Hung));
}

async fn speak(socket: OwnedWriteHalf, mut orders: UnboundedReceiver<Said>, conversation: Arc<Conversation>) {
    while let Some((line, descriptor)) = orders.recv().await {
        let mut descriptor = descriptor.as_ref().map(|descriptor| descriptor.as_fd());
        let mut rest = &line[..];
        while !rest.is_empty() {
            let stream = socket.as_ref();
            let sent = stream.async_io(Interest::WRITABLE, || send(stream, rest, descriptor.as_ref())).await;
            let Ok(sent) = sent else { break };
            rest = &rest[sent..];
            // It has gone with the first byte.
            descriptor = None;
        }
        // Or will never reach it.
        conversation.unsent.send_modify(|unsent| *unsent = unsent.saturating_sub(1));
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
        let speaking = tokio::spawn(speak(write, waiting, Arc::default()));
        let heard = tokio::task::spawn_blocking(move || {
            let files = Orders::new(theirs).map(|(_, descriptor)| std::fs::File::from(descriptor.unwrap()));
            files.map(|file| file.metadata().unwrap().ino()).collect::<Vec<_>>()
        });
        assert_eq!(heard.await.unwrap(), inodes);
        speaking.await.unwrap();
    }
}
