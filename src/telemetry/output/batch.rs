//! Lines of one application that are written together, in the form in which they stand in its file:
//!
//! ```text
//! 2026-01-31T12:00:00.000000Z stdout F:4711 as it was printed
//! ```
//!
//! It is the form in which container runtimes write logs (CRI), which collectors of logs know: the time, the stream, `F`
//! for a full line or `P` for a part that the next one of its stream goes on with, and, as a further tag, the process.

use std::{io::Write as _, sync::Arc, time::SystemTime};

use super::{
    Printer,
    lines::{End, Line},
};
use crate::options::Output;

/// Lines of one application that are written together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) application: Arc<str>,
    pub(super) output: Output,
    /// Whole lines.
    pub(super) text: Vec<u8>,
    /// What came after them and found no room.
    pub(super) lost: Lost,
}

/// What could not be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl Lost {
    /// The lines of `text`.
    pub(super) fn of(text: &[u8]) -> Self {
        let lines = memchr::memchr_iter(b'\n', text).count();
        Self { lines: lines as u64, bytes: text.len() as u64 }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::default()
    }

    /// A line that says so.
    pub(super) fn line(self, now: SystemTime) -> Vec<u8> {
        let Self { lines, bytes } = self;
        let now = humantime::format_rfc3339_micros(now);
        format!(
            "{now} stderr F:cohost {lines} lines ({bytes} bytes) could not be written and are missing here\n"
        )
        .into_bytes()
    }
}

/// Appends `line` to `text`, as it stands in the file.
pub(super) fn append(text: &mut Vec<u8>, printer: Printer<'_>, line: Line<'_>, now: SystemTime) {
    let Printer { pid, stream, .. } = printer;
    let tag = match line.end {
        End::Whole => 'F',
        End::Cut => 'P',
    };
    let now = humantime::format_rfc3339_micros(now);
    // Nothing can go wrong in memory.
    let _written = write!(text, "{now} {stream} {tag}:{pid} ");
    text.extend_from_slice(line.text);
    text.push(b'\n');
}

/// When the first line of a file was written, as it says.
pub(super) fn begun(head: &[u8]) -> Option<SystemTime> {
    let time = head.split(|byte| *byte == b' ').next()?;
    humantime::parse_rfc3339(std::str::from_utf8(time).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::{super::Stream, *};

    #[test]
    fn a_line_stands_in_the_file_as_it_was_printed_and_says_when() {
        let now = humantime::parse_rfc3339("2026-01-31T12:00:00.5Z").unwrap();
        let printer = Printer { application: Some("shop"), pid: 7, stream: Stream::Stdout };
        let mut text = Vec::new();
        append(&mut text, printer, Line { text: b"a\0\xff b", end: End::Whole }, now);
        assert_eq!(text, b"2026-01-31T12:00:00.500000Z stdout F:7 a\0\xff b\n");
        assert_eq!(begun(&text), Some(now));
        assert_eq!(Lost::of(&text), Lost { lines: 1, bytes: 45 });
        assert_eq!(begun(b"something else"), None);
    }
}
