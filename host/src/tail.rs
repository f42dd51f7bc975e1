//! Reads what applications print from the files where it is kept: what is there, and what comes.
//!
//! In: the path of the file that is written. Out: all bytes of it and of those that were rotated before, oldest first.
//! Never: misses a line because files were rotated between two looks, or reads one twice.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
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

    /// Adds to `into` what has come since the last time.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        loop {
            // Before the rest is read: whoever rotates writes nothing more to what it has renamed.
            let newer = self.newer()?;
            if let Some(open) = &mut self.open {
                rest(open, into)?;
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
            Some(open) => {
                let identity = identity(&open.metadata()?);
                let same =
                    |file: &PathBuf| fs::metadata(file).is_ok_and(|it| identity == self::identity(&it));
                match files.iter().position(same) {
                    Some(place) => place + 1,
                    // It was removed, being the oldest; all that are there are newer.
                    None => 0,
                }
            }
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

fn rest(open: &mut File, into: &mut Vec<u8>) -> io::Result<()> {
    if open.metadata()?.len() < open.stream_position()? {
        // Somebody has made a copy of it and cut it.
        open.seek(SeekFrom::Start(0))?;
    }
    open.read_to_end(into).map(drop)
}

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
            let mut read = Vec::new();
            self.tail.read(&mut read).unwrap();
            String::from_utf8(read).unwrap()
        }
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
