//! The file with what one application prints, and its rotated predecessors.
//!
//! In: batches of whole lines. Out: `NAME.log`, never larger than its limit unless a single line is; `NAME.log.1` is the
//! one before it. Never: gives up. Whatever is wrong with the file is said once and tried anew with each batch; what could
//! not be written meanwhile is counted, and the count is written first.
//!
//! Before each batch the name is looked at, so a file that was moved, removed, cut or replaced is noticed by itself. Others
//! may write the same file: lines are appended whole, and one of the writers rotates it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::{
    batch::{self, Batch, Lost},
    queue::NOBODY,
};
use crate::options::Output;

/// The file of one application.
#[derive(Debug)]
pub(super) struct File {
    application: Arc<str>,
    output: Output,
    path: PathBuf,
    open: Option<Open>,
    /// What is missing and was not told yet.
    lost: Lost,
    state: State,
}

#[derive(Debug)]
struct Open {
    file: fs::File,
    identity: Identity,
    begun: SystemTime,
    /// How large it was when it was looked at last, or written: a smaller one was cut, and begins anew.
    size: u64,
    /// Its last line broke off.
    torn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Writing,
    Failing,
}

impl File {
    /// The file that `batch` belongs into.
    pub(super) fn of(batch: &Batch) -> Self {
        let (application, output) = (Arc::clone(&batch.application), batch.output.clone());
        let path = output.folder.join(name(&application));
        Self { application, output, path, open: None, lost: Lost::default(), state: State::Writing }
    }

    /// Writes all of it that can be written.
    pub(super) fn write(&mut self, batch: &Batch, now: SystemTime) {
        if self.output != batch.output {
            *self = Self { lost: self.lost, ..Self::of(batch) };
        }
        let written = match self.tell_lost(now) {
            Ok(()) => self.put(&batch.text, now),
            Err(error) => {
                self.lost.add(Lost::of(&batch.text));
                Err(error)
            }
        };
        self.lost.add(batch.lost);
        let written = written.and_then(|()| self.tell_lost(now));
        self.say(&written);
    }

    /// Closes it; the next line opens it again.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    fn tell_lost(&mut self, now: SystemTime) -> io::Result<()> {
        if self.lost.is_none() {
            return Ok(());
        }
        let lost = std::mem::take(&mut self.lost);
        let told = self.put(&lost.line(now), now);
        if told.is_err() {
            self.lost = lost;
        }
        told
    }

    /// Says once that it cannot be written, and once that it can again.
    fn say(&mut self, written: &io::Result<()>) {
        let (application, file) = (&*self.application, self.path.display());
        match (written, self.state) {
            (Err(error), State::Writing) => {
                self.state = State::Failing;
                tracing::error!(application, %file, %error, "cannot keep what is printed; counting it until that works");
            }
            (Ok(()), State::Failing) => {
                self.state = State::Writing;
                tracing::info!(application, %file, "what is printed is kept again; the file says how much is missing");
            }
            (Ok(()), State::Writing) | (Err(_), State::Failing) => {}
        }
    }

    /// Writes lines, or counts those that were not written.
    fn put(&mut self, mut text: &[u8], now: SystemTime) -> io::Result<()> {
        while !text.is_empty() {
            if let Err(error) = self.put_some(&mut text, now) {
                self.lost.add(Lost::of(text));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes what one file has room for, and takes that off `text`.
    fn put_some(&mut self, text: &mut &[u8], now: SystemTime) -> io::Result<()> {
        let size = self.opened(now)?;
        let room = self.room(size, now);
        let mut count = fitting(text, room);
        if count == 0 && size > 0 {
            // It is not for others to decide that a file grows for ever.
            let patient = self.output.size.is_none_or(|limit| size < limit.saturating_mul(2));
            if self.rotate(patient)? == Rotated::Done {
                return Ok(());
            }
            count = text.len();
        } else if count == 0 {
            // Larger than a whole file: alone in one.
            count = first_line(text);
        }
        let open = self.open.as_mut().expect("it was just opened");
        if open.torn {
            open.file.write_all(b"\n")?;
            open.torn = false;
        }
        let (mut now, later) = text.split_at(count);
        while !now.is_empty() {
            match open.file.write(now) {
                Ok(written @ 1..) => {
                    open.torn = now[written - 1] != b'\n';
                    open.size += written as u64;
                    now = &now[written..];
                    *text = &text[written..];
                }
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        *text = later;
        Ok(())
    }

    /// What a file of `size` has room for; nothing when its time is over.
    fn room(&self, size: u64, now: SystemTime) -> Option<u64> {
        let begun = self.open.as_ref().map_or(now, |open| open.begun);
        let old = now.duration_since(begun).unwrap_or_default();
        if size > 0 && self.output.age.is_some_and(|limit| old >= limit) {
            return Some(0);
        }
        self.output.size.map(|limit| limit.saturating_sub(size))
    }

    /// Sees to it that the file of that name is the one that is open; its size.
    fn opened(&mut self, now: SystemTime) -> io::Result<u64> {
        match fs::symlink_metadata(&self.path) {
            Ok(there) if !there.is_file() => Err(io::Error::other("there is something that is no file")),
            Ok(there) => match &mut self.open {
                Some(open) if open.identity == Identity::of(&there) && open.size <= there.len() => {
                    open.size = there.len();
                    Ok(there.len())
                }
                _ => self.open(now),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(FOLDER).create(&self.output.folder)?;
                self.open(now)
            }
            Err(error) => Err(error),
        }
    }

    fn open(&mut self, now: SystemTime) -> io::Result<u64> {
        self.open = None;
        // Whoever may write to the folder shall not be able to lead us elsewhere, or to have us wait for a reader.
        let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(FILE)
            .custom_flags(careful.bits().cast_signed())
            .open(&self.path)?;
        let there = file.metadata()?;
        if !there.is_file() {
            return Err(io::Error::other("there is something that is no file"));
        }
        let mut head = [0; 64];
        let read = file.read_at(&mut head, 0)?;
        let mut last = *b"\n";
        if let Some(end) = there.len().checked_sub(1) {
            file.read_exact_at(&mut last, end)?;
        }
        let begun = batch::begun(&head[..read]).unwrap_or(now);
        let identity = Identity::of(&there);
        let (size, torn) = (there.len(), last != *b"\n");
        self.open = Some(Open { file, identity, begun, size, torn });
        Ok(size)
    }

    fn rotate(&mut self, patient: bool) -> io::Result<Rotated> {
        let Some(open) = self.open.take() else { return Ok(Rotated::Done) };
        if flock(&open.file, FlockOperation::NonBlockingLockExclusive).is_err() && patient {
            // Another host is doing it, or somebody makes a copy. It is not worth waiting for.
            self.open = Some(open);
            return Ok(Rotated::Busy);
        }
        if fs::symlink_metadata(&self.path).is_ok_and(|there| Identity::of(&there) != open.identity) {
            // Another host has done it.
            return Ok(Rotated::Done);
        }
        let others = u32::from(self.output.files.get()) - 1;
        // Those that are too many, since there may have been a larger number once.
        let mut surplus = others + 1;
        while fs::remove_file(self.numbered(surplus)).is_ok() {
            surplus += 1;
        }
        for number in (1..others).rev() {
            renamed(&self.numbered(number), &self.numbered(number + 1))?;
        }
        if others == 0 {
            fs::remove_file(&self.path)?;
        } else {
            renamed(&self.path, &self.numbered(1))?;
        }
        Ok(Rotated::Done)
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotated {
    Done,
    /// Somebody has locked the file.
    Busy,
}

/// What a file is known by, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(found: &fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// Moves a file, if there is one.
fn renamed(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}

/// As many whole lines as there is room for.
fn fitting(text: &[u8], room: Option<u64>) -> usize {
    let room = room.and_then(|room| usize::try_from(room).ok()).unwrap_or(usize::MAX);
    if text.len() <= room {
        return text.len();
    }
    memchr::memrchr(b'\n', &text[..room]).map_or(0, |end| end + 1)
}

fn first_line(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |end| end + 1)
}

/// `NAME.log`, where `NAME` has nothing that means something in a path, and differs from that of any other application.
///
/// A slash becomes `+`; whatever else is neither a letter, a digit nor one of `-_.` becomes `%` and two digits.
pub(super) fn name(application: &str) -> String {
    if application == NOBODY {
        return "@in-process.log".to_owned();
    }
    let mut name = String::new();
    for byte in application.bytes() {
        match byte {
            b'/' => name.push('+'),
            b'-' | b'_' | b'.' => name.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name + ".log"
}

/// For the host's user, and readable for its group.
const FILE: u32 = 0o640;
const FOLDER: u32 = 0o750;

#[cfg(test)]
mod tests;
