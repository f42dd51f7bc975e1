//! What a page says, once nobody writes to it any more.
//!
//! The page was in the hands of a process that crashed, perhaps by writing where it should not. So nothing in it is
//! believed to be in its place, to be text, or to be small.

use std::{
    fs::File,
    io,
    ops::Range,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    sync::Arc,
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::{
    layout::{
        APPLICATIONS, MAGIC, MOST_APPLICATIONS, MOST_SLOTS, SLOTS, STACK, VERSION, WORDS, application, head,
        nth, slot,
    },
    slot::Doing,
    text,
};
use crate::{facts::RequestId, sys::crash};

/// A page in the hands of whoever will read it.
#[derive(Clone, Debug)]
pub struct Recorder {
    page: Arc<OwnedFd>,
}

impl Recorder {
    /// An empty page.
    ///
    /// # Errors
    /// The system refused.
    pub fn new() -> io::Result<Self> {
        let page = memfd_create("cohost-recorder", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&page, (WORDS * size_of::<u64>()) as u64)?;
        // Whoever maps it relies on its size.
        fcntl_add_seals(&page, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self { page: Arc::new(page) })
    }

    /// One that was made before, by whoever had it then.
    #[must_use]
    pub fn of(page: OwnedFd) -> Self {
        Self { page: Arc::new(page) }
    }

    /// For the process that will write to it, with [`record_into`](super::record_into).
    #[must_use]
    pub fn page(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.page)
    }

    /// What it says now.
    ///
    /// # Errors
    /// Nothing was written, or by another version.
    pub fn read(&self) -> io::Result<Recording> {
        let mut bytes = vec![0; WORDS * size_of::<u64>()];
        File::from(self.page.try_clone()?).read_exact_at(&mut bytes, 0)?;
        let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        Recording::of(&words).ok_or_else(|| io::Error::other("nothing was recorded"))
    }
}

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The applications that were loaded, oldest first.
    pub applications: Vec<Application>,
    /// The threads that were inside one of them.
    pub inside: Vec<Inside>,
    /// The crash, if the process had time to note it.
    pub note: Option<Note>,
}

/// A generation of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Its name; empty for one that could not be loaded.
    pub name: String,
    /// Which loaded copy.
    pub generation: u32,
    /// Where its code was. Empty if that is not known.
    pub code: Range<u64>,
}

/// A thread inside an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The system's number of the thread.
    pub thread: u32,
    /// Which of the applications, counted from 0. It may be one that is not there.
    pub application: usize,
    /// What it did there.
    pub doing: Doing,
    /// For which request; `None` for what is done for none, such as a start.
    pub request: Option<RequestId>,
    /// The request's method; empty if it is not known.
    pub method: String,
    /// And its path, as far as there was room for it.
    pub path: String,
}

/// A crash, as the signal handler saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The signal; `None` for a call of `exit`.
    pub signal: Option<i32>,
    /// The thread it hit, or that called.
    pub thread: u32,
    /// Whether that was the process's first one, which runs no code of an application.
    pub first_thread: bool,
    /// The address that could not be reached, where the signal is about one.
    pub address: u64,
    /// Where the thread was.
    pub instruction: u64,
    /// What lay on its stack, from the top.
    pub stack: Vec<u64>,
}

impl Recording {
    pub(super) fn of(words: &[u64]) -> Option<Self> {
        if words.len() < WORDS || words[head::MAGIC] != MAGIC || words[head::VERSION] != VERSION {
            return None;
        }
        let count = |at: usize, most: usize| usize::try_from(words[at]).unwrap_or(most).min(most);
        let applications = 0..count(head::APPLICATIONS, MOST_APPLICATIONS);
        let slots = 0..count(head::SLOTS, MOST_SLOTS);
        let slot = |number| &words[nth(SLOTS, slot::SIZE, number)];
        let mut inside: Vec<_> = slots.clone().filter_map(|number| Inside::read(slot(number))).collect();
        // What is done later for a request is noted without its text; another thread may still have it.
        for inside in inside.iter_mut().filter(|inside| inside.method.is_empty()) {
            let Some(RequestId(request)) = inside.request else { continue };
            if let Some(number) = slots.clone().find(|number| slot(*number)[slot::TEXT_OF] == request) {
                (inside.method, inside.path) = line(slot(number));
            }
        }
        Some(Self {
            applications: applications
                .map(|number| read_application(&words[nth(APPLICATIONS, application::SIZE, number)]))
                .collect(),
            inside,
            note: read_note(words),
        })
    }
}

fn read_application(words: &[u64]) -> Application {
    Application {
        name: text::read(&words[application::NAME..], words[application::NAME_LENGTH]),
        generation: u32::try_from(words[application::GENERATION]).unwrap_or_default(),
        code: words[application::CODE]..words[application::CODE_END],
    }
}

impl Inside {
    /// What a slot says; `None` if its thread is not inside an application.
    pub(crate) fn read(words: &[u64]) -> Option<Self> {
        let application = u64::from(words[slot::APPLICATION] as u32).checked_sub(1)?;
        if words[slot::THREAD] == 0 || words[slot::SEQUENCE].is_multiple_of(2) {
            return None;
        }
        let request = words[slot::REQUEST];
        let known = words[slot::TEXT_OF] == request;
        let (method, path) = if known { line(words) } else { (String::new(), String::new()) };
        Some(Self {
            thread: words[slot::THREAD] as u32,
            application: usize::try_from(application).ok()?,
            doing: doing(words[slot::APPLICATION]),
            request: (request != 0).then_some(RequestId(request)),
            method,
            path,
        })
    }
}

/// The method and the path that a slot has.
fn line(words: &[u64]) -> (String, String) {
    let lengths = words[slot::LENGTHS];
    let method = text::read(&words[slot::METHOD..slot::PATH], lengths & 0xff);
    (method, text::read(&words[slot::PATH..], lengths >> 8))
}

pub(super) fn doing(application: u64) -> Doing {
    if application >> 32 == 0 { Doing::Serving } else { Doing::Waiting }
}

fn read_note(words: &[u64]) -> Option<Note> {
    let note = &words[head::NOTE..];
    if note[crash::CLAIMED] == 0 {
        return None;
    }
    let signal = i32::try_from(note[crash::SIGNAL]).ok().filter(|signal| *signal != 0);
    let deep = usize::try_from(note[crash::STACK_LENGTH]).unwrap_or(usize::MAX) / size_of::<u64>();
    let deep = deep.min(crash::STACK_WORDS);
    Some(Note {
        signal,
        thread: note[crash::THREAD] as u32,
        first_thread: note[crash::THREAD] == note[crash::PROCESS],
        address: note[crash::ADDRESS],
        instruction: note[crash::INSTRUCTION],
        stack: words[STACK..STACK + deep].to_vec(),
    })
}
