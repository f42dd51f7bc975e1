//! The worker's end of the conversation with its supervisor.
//!
//! In: orders, some of them with a descriptor. Out: reports. Never: survives the supervisor's end; whoever reads the
//! orders is told, whatever the rest of the process is doing, because reading needs nothing but a thread.

use std::{
    collections::VecDeque,
    io::{self, IoSliceMut, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Mutex, PoisonError},
};

use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::Signal,
};

use super::message::{Order, Report, line, read};

/// Orders from the supervisor.
#[derive(Debug)]
pub struct Orders {
    socket: UnixStream,
    unread: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

/// Reports to the supervisor, from any thread.
#[derive(Debug)]
pub struct Reports(Mutex<UnixStream>);

/// Takes over the conversation of a process that was started as a worker. Once, before anything else.
///
/// Standard input, where it came, is empty from then on; no descriptor is inherited by what the worker starts.
///
/// # Errors
/// The process was not started as a worker.
pub fn inherited() -> io::Result<(Orders, Reports)> {
    crate::sys::descriptors::seal()?;
    // The supervisor blocks them; whatever an application starts must not inherit that.
    crate::sys::hear_signals();
    crate::sys::call_this_process(c"cohost-worker");
    // Should the worker be stopped, it would not see that the conversation is over.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Asks whether it is a connected socket at all.
    socket.peer_addr()?;
    // Code of an application may read it.
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok((Orders::new(socket.try_clone()?), Reports(Mutex::new(socket))))
}

/// Ends this process as if it were killed: for a worker without a supervisor.
///
/// Nothing of an application runs any more, neither its destructors nor what it has registered for the end.
pub fn end_at_once() {
    let _cannot_fail = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
}

impl Orders {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, unread: Vec::new(), descriptors: VecDeque::new() }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 16 * 1024];
        let received = loop {
            let mut into = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.unread.extend_from_slice(&bytes[..received.bytes]);
        Ok(received.bytes)
    }
}

/// Waits for the next order, and for the descriptor that comes with it. Ends when the supervisor is gone.
impl Iterator for Orders {
    type Item = (Order, Option<OwnedFd>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(end + 1);
                let line = std::mem::replace(&mut self.unread, rest);
                let Some(order) = read::<Order>(&line) else { continue };
                let comes_with_one = matches!(order, Order::Start(_) | Order::Socket | Order::Recorder);
                let descriptor = if comes_with_one { self.descriptors.pop_front() } else { None };
                return Some((order, descriptor));
            }
            // An error is an end, too: nothing more will come.
            if self.receive().unwrap_or(0) == 0 {
                return None;
            }
        }
    }
}

impl Reports {
    /// Tells the supervisor. If it is gone, whoever reads the orders learns of that.
    pub fn send(&self, report: &Report) {
        let line = line(report);
        // Held while it is written: a long report goes in several pieces, with nothing of another between them.
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _gone = socket.write_all(&line);
    }
}

/// With one read. A sender sends one with each message, and the system does not join such messages.
const MOST_DESCRIPTORS: usize = 8;
