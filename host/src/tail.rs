//! Reads what applications print from the files where it is kept: what is there, and what comes.
//!
//! In: the path of the file that is written, and from where on. Out: the bytes of it and of those that were rotated before,
//! oldest first, a piece at a time. Never: misses a line because files were rotated between two looks, reads one twice, or
//! holds more than a piece.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// A reader of a file that is rotated.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    /// The one that is being read; whatever it is called by now, it is the same.
    open: Option<File>,
}

impl Tail {
    /// From the oldest file that is there.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// From so many lines before the end.
    pub(crate) fn last(path: PathBuf, lines: usize) -> io::Result<Self> {
        let (mut tail, mut search) = (Self::new(path), Search { lines, end: End::Ahead });
        while let Some(mut file) = tail.older()? {
            let found = search.within(&file)?;
            file.seek(SeekFrom::Start(found.unwrap_or(0)))?;
            tail.open = Some(file);
            if found.is_some() {
                break;
            }
        }
        Ok(tail)
    }

    /// The next piece; empty if there is nothing more by now.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        loop {
            // Before the rest is read: whoever rotates writes nothing more to what it has renamed.
            let newer = self.newer()?;
            if let Some(open) = &mut self.open {
                piece(open, into)?;
            }
            if !into.is_empty() {
                return Ok(());
            }
            match newer {
                Some(newer) => self.open = Some(newer),
                None => return Ok(()),
            }
        }
    }

    /// The file after the one that is open, if there is one.
    fn newer(&self) -> io::Result<Option<File>> {
        let files = files(&self.path);
        let place = match &self.open {
            // If it was removed, being the oldest, all that are there are newer.
            Some(open) => place(open, &files)?.map_or(0, |place| place + 1),
            None => 0,
        };
        match files.get(place).map(File::open) {
            Some(Ok(file)) => Ok(Some(file)),
            // It was renamed just now. The next look finds it.
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }
}

impl Tail {
    /// The file before the one that is open, if there is one; the newest, if none is.
    fn older(&self) -> io::Result<Option<File>> {
        loop {
            let files = files(&self.path);
            let before = match &self.open {
                Some(open) => place(open, &files)?.and_then(|place| place.checked_sub(1)),
                None => files.len().checked_sub(1),
            };
            match before.map(|before| File::open(&files[before])).transpose() {
                // It was renamed just now: look again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened,
            }
        }
    }
}

/// Where a line begins that is so many before the end. Looks at pieces, from the end to the beginning.
struct Search {
    /// How many are still to be found.
    lines: usize,
    end: End,
}

/// The end of the very last line, which begins none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Ahead,
    Behind,
}

impl Search {
    /// `None` if the beginning is in a file before this one, or at the beginning of all.
    fn within(&mut self, file: &File) -> io::Result<Option<u64>> {
        let mut end = file.metadata()?.len();
        let mut piece = Vec::new();
        while self.lines > 0 && end > 0 {
            let begin = end.saturating_sub(PIECE);
            piece.resize(usize::try_from(end - begin).unwrap_or_default(), 0);
            file.read_exact_at(&mut piece, begin)?;
            let mut skipped = piece.len();
            if self.end == End::Ahead {
                self.end = End::Behind;
                skipped -= 1;
            }
            for (place, _) in piece[..skipped].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                self.lines -= 1;
                if self.lines == 0 {
                    return Ok(Some(begin + place as u64 + 1));
                }
            }
            end = begin;
        }
        Ok((self.lines == 0).then_some(end))
    }
}

/// Where a file is among these, whatever it is called by now.
fn place(file: &File, files: &[PathBuf]) -> io::Result<Option<usize>> {
    let wanted = identity(&file.metadata()?);
    let same = |file: &PathBuf| fs::metadata(file).is_ok_and(|it| wanted == identity(&it));
    Ok(files.iter().position(same))
}

/// The file at `path` and those that were rotated before it, oldest first.
fn files(path: &Path) -> Vec<PathBuf> {
    let rotated = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let mut files: Vec<PathBuf> = (1..).map(rotated).take_while(|file| file.exists()).collect();
    files.reverse();
    files.extend(path.exists().then(|| path.to_owned()));
    files
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn piece(open: &mut File, into: &mut Vec<u8>) -> io::Result<()> {
    if open.metadata()?.len() < open.stream_position()? {
        // Somebody has made a copy of it and cut it.
        open.seek(SeekFrom::Start(0))?;
    }
    open.take(PIECE).read_to_end(into).map(drop)
}

/// As much as is held in memory at a time.
const PIECE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    struct Log {
        folder: tempfile::TempDir,
        tail: Tail,
    }

    impl Log {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let tail = Tail::new(folder.path().join("a.log"));
            Self { folder, tail }
        }

        fn file(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, text: &str) {
            let file = File::options().append(true).create(true).open(self.file("a.log"));
            file.unwrap().write_all(text.as_bytes()).unwrap();
        }

        /// Keeps three files.
        fn rotate(&self) {
            for (from, to) in [("a.log.1", "a.log.2"), ("a.log", "a.log.1")] {
                let _missing = fs::rename(self.file(from), self.file(to));
            }
        }

        fn reads(&mut self) -> String {
            all(&mut self.tail)
        }

        fn last(&self, lines: usize) -> String {
            all(&mut Tail::last(self.file("a.log"), lines).unwrap())
        }
    }

    fn all(tail: &mut Tail) -> String {
        let (mut all, mut piece) = (Vec::new(), Vec::new());
        loop {
            tail.read(&mut piece).unwrap();
            assert!(piece.len() as u64 <= PIECE);
            if piece.is_empty() {
                return String::from_utf8(all).unwrap();
            }
            all.extend_from_slice(&piece);
        }
    }

    #[test]
    fn the_last_lines_are_whole_wherever_they_begin() {
        let log = Log::new();
        assert_eq!(log.last(3), "");
        log.write("one\ntwo\n");
        log.rotate();
        log.write("three\nfour\n");
        log.rotate();
        log.write("");
        let text = "one\ntwo\nthree\nfour\n";
        for (lines, begin) in [(0, text.len()), (1, 14), (2, 8), (3, 4), (4, 0), (9, 0)] {
            assert_eq!(log.last(lines), text[begin..], "{lines}");
        }
        log.write("five");
        assert_eq!((log.last(1), log.last(2)), ("five".to_owned(), "four\nfive".to_owned()));
    }

    #[test]
    fn lines_may_be_longer_than_a_piece_and_files_longer_than_many() {
        let log = Log::new();
        let long = "x".repeat(3 * PIECE as usize);
        for text in [&*long, "short"] {
            log.write(&format!("{text}\n"));
            log.rotate();
        }
        log.write(&format!("{long}\n"));
        assert_eq!(log.last(1), format!("{long}\n"));
        assert_eq!(log.last(2), format!("short\n{long}\n"));
        assert_eq!(log.last(3).len(), 2 * long.len() + 8);
    }

    #[test]
    fn what_comes_after_the_last_lines_is_read_as_well() {
        let log = Log::new();
        log.write("one\ntwo\n");
        let mut tail = Tail::last(log.file("a.log"), 0).unwrap();
        assert_eq!(all(&mut tail), "");
        log.write("three\n");
        log.rotate();
        log.write("four\n");
        assert_eq!(all(&mut tail), "three\nfour\n");
    }

    #[test]
    fn what_was_rotated_comes_first() {
        let mut log = Log::new();
        assert_eq!(log.reads(), "");
        for text in ["one\n", "two\n", "three\n"] {
            log.rotate();
            log.write(text);
        }
        assert_eq!(log.reads(), "one\ntwo\nthree\n");
        assert_eq!(log.reads(), "");
    }

    #[test]
    fn nothing_is_missed_or_read_twice_however_often_files_are_rotated() {
        let mut log = Log::new();
        log.write("one\n");
        assert_eq!(log.reads(), "one\n");
        log.write("two\n");
        log.rotate();
        log.write("three\n");
        log.rotate();
        log.write("four\n");
        assert_eq!(log.reads(), "two\nthree\nfour\n");
        log.rotate();
        assert_eq!(log.reads(), "");
        log.write("five\n");
        assert_eq!(log.reads(), "five\n");
    }

    #[test]
    fn after_more_rotations_than_files_are_kept_the_oldest_comes_next() {
        let mut log = Log::new();
        log.write("one\n");
        assert_eq!(log.reads(), "one\n");
        for text in ["two\n", "three\n", "four\n", "five\n"] {
            log.rotate();
            log.write(text);
        }
        assert_eq!(log.reads(), "three\nfour\nfive\n");
    }

    #[test]
    fn a_file_that_was_cut_is_read_from_its_beginning() {
        let mut log = Log::new();
        log.write("one, and more of it\n");
        log.reads();
        File::options().write(true).truncate(true).open(log.file("a.log")).unwrap();
        log.write("two\n");
        assert_eq!(log.reads(), "two\n");
    }
}
