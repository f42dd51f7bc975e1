//! What is in the files after good and bad days.

use std::{num::NonZeroU16, time::Duration};

use super::*;
use crate::options::Destination;

struct Kept {
    folder: tempfile::TempDir,
    file: File,
    output: Output,
    now: SystemTime,
}

impl Kept {
    fn new(size: Option<u64>, files: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = Output {
            to: Destination::Files,
            folder: folder.path().join("below/logs"),
            size,
            age: Some(Duration::from_secs(3600)),
            files: NonZeroU16::new(files).unwrap(),
        };
        let now = humantime::parse_rfc3339("2026-01-31T12:00:00Z").unwrap();
        Self { folder, file: File::of(&batch_of(&output, b"")), output, now }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.output.folder.join(name)
    }

    fn lines(&mut self, lines: &[&str]) {
        let mut text = Vec::new();
        for line in lines {
            let time = humantime::format_rfc3339_micros(self.now);
            text.extend_from_slice(format!("{time} stdout F:1 {line}\n").as_bytes());
        }
        self.file.write(&batch_of(&self.output, &text), self.now);
    }

    /// The texts of the lines in a file.
    fn read(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or(line).to_owned()).collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.output.folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn batch_of(output: &Output, text: &[u8]) -> Batch {
    let (output, text) = (output.clone(), text.to_vec());
    Batch { application: "site/shop".into(), output, text, lost: Lost::default() }
}

const LOG: &str = "site+shop.log";
const FIRST: &str = "site+shop.log.1";
/// What a line of one letter takes.
const LINE: u64 = 41;

#[test]
fn a_file_that_is_full_gets_a_number_and_the_oldest_goes() {
    let mut kept = Kept::new(Some(2 * LINE), 3);
    kept.lines(&["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(kept.names(), [LOG, FIRST, "site+shop.log.2"]);
    assert_eq!(kept.read(LOG), ["g"]);
    assert_eq!(kept.read(FIRST), ["e", "f"]);
    assert_eq!(kept.read("site+shop.log.2"), ["c", "d"]);
    assert_eq!(fs::metadata(kept.path(FIRST)).unwrap().len(), 2 * LINE);
}

#[test]
fn the_only_file_begins_anew() {
    let mut kept = Kept::new(Some(2 * LINE), 1);
    kept.lines(&["a", "b", "c"]);
    assert_eq!((kept.names(), kept.read(LOG)), (vec![LOG.to_owned()], vec!["c".to_owned()]));
}

#[test]
fn fewer_files_than_before_are_fewer_after_the_next_rotation() {
    let mut kept = Kept::new(Some(LINE), 5);
    kept.lines(&["a", "b", "c", "d", "e"]);
    assert_eq!(kept.names().len(), 5);
    kept.output.files = NonZeroU16::new(2).unwrap();
    kept.lines(&["f"]);
    assert_eq!(kept.names(), [LOG, FIRST]);
    assert_eq!(kept.read(FIRST), ["e"]);
}

#[test]
fn a_line_that_is_larger_than_a_file_is_alone_in_one() {
    let mut kept = Kept::new(Some(2 * LINE), 3);
    let long = "x".repeat(200);
    kept.lines(&["a", &long, "b"]);
    assert_eq!(kept.read("site+shop.log.2"), ["a"]);
    assert_eq!(kept.read(FIRST), [long]);
    assert_eq!(kept.read(LOG), ["b"]);
}

#[test]
fn a_file_whose_time_is_over_is_followed_by_another_also_after_a_restart() {
    let mut kept = Kept::new(None, 3);
    kept.lines(&["a"]);
    kept.now += Duration::from_secs(3599);
    kept.file = File::of(&batch_of(&kept.output, b""));
    kept.lines(&["b"]);
    assert_eq!(kept.read(LOG), ["a", "b"]);
    kept.now += Duration::from_secs(1);
    kept.lines(&["c"]);
    assert_eq!((kept.read(LOG), kept.read(FIRST)), (vec!["c".into()], vec!["a".into(), "b".into()]));
}

#[test]
fn a_file_that_was_moved_or_removed_is_noticed() {
    let mut kept = Kept::new(None, 3);
    kept.lines(&["a"]);
    fs::rename(kept.path(LOG), kept.path("moved")).unwrap();
    kept.lines(&["b"]);
    assert_eq!((kept.read("moved"), kept.read(LOG)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    fs::remove_dir_all(&kept.output.folder).unwrap();
    kept.lines(&["c"]);
    assert_eq!(kept.read(LOG), ["c"]);
    fs::File::create(kept.path(LOG)).unwrap();
    kept.lines(&["d"]);
    assert_eq!(kept.read(LOG), ["d"], "cut to nothing, as by copytruncate");
}

#[test]
fn a_file_that_was_cut_is_as_old_as_its_first_line_from_then_on() {
    let mut kept = Kept::new(None, 3);
    kept.lines(&["a"]);
    kept.now += Duration::from_secs(3599);
    fs::File::create(kept.path(LOG)).unwrap();
    kept.lines(&["b"]);
    kept.now += Duration::from_secs(3599);
    kept.lines(&["c"]);
    assert_eq!((kept.names(), kept.read(LOG)), (vec![LOG.to_owned()], vec!["b".into(), "c".into()]));
    kept.now += Duration::from_secs(1);
    kept.lines(&["d"]);
    assert_eq!((kept.read(FIRST), kept.read(LOG)), (vec!["b".into(), "c".into()], vec!["d".into()]));
}

#[test]
fn whoever_locks_a_file_does_not_make_it_grow_for_ever() {
    let mut kept = Kept::new(Some(2 * LINE), 3);
    kept.lines(&["a"]);
    let reader = fs::File::open(kept.path(LOG)).unwrap();
    flock(&reader, FlockOperation::NonBlockingLockShared).unwrap();
    for line in ["b", "c", "d"] {
        kept.lines(&[line]);
    }
    assert_eq!((kept.names().len(), kept.read(LOG)), (1, ["a", "b", "c", "d"].map(String::from).to_vec()));
    kept.lines(&["e"]);
    assert_eq!((kept.read(FIRST).len(), kept.read(LOG)), (4, vec!["e".to_owned()]));
}

#[test]
fn what_cannot_be_written_is_counted_and_the_count_is_written_in_its_place() {
    let mut kept = Kept::new(None, 3);
    kept.lines(&["a"]);
    fs::remove_file(kept.path(LOG)).unwrap();
    for make in [make_fifo, make_folder, make_link] {
        make(&kept.path(LOG));
        kept.lines(&["b", "c"]);
        kept.lines(&["d"]);
        fs::remove_file(kept.path(LOG)).or_else(|_| fs::remove_dir(kept.path(LOG))).unwrap();
        kept.lines(&["e"]);
        let missing = format!("3 lines ({} bytes) could not be written and are missing here", 3 * LINE);
        assert_eq!(kept.read(LOG), [missing, "e".to_owned()]);
        fs::remove_file(kept.path(LOG)).unwrap();
    }
    assert!(!kept.folder.path().join("elsewhere").exists(), "a link is not followed");
}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
}

fn make_folder(path: &Path) {
    fs::create_dir(path).unwrap();
}

fn make_link(path: &Path) {
    std::os::unix::fs::symlink("../../elsewhere", path).unwrap();
}

#[test]
fn what_found_no_room_on_its_way_is_told_behind_what_did() {
    let mut kept = Kept::new(None, 3);
    kept.lines(&["a"]);
    let lost = Lost { lines: 7, bytes: 70 };
    kept.file.write(&Batch { lost, ..batch_of(&kept.output, b"T stdout F:1 b\n") }, kept.now);
    let missing = "7 lines (70 bytes) could not be written and are missing here";
    assert_eq!(kept.read(LOG), ["a", "b", missing]);
}

#[test]
fn a_line_that_broke_off_gets_its_end_before_the_next_one() {
    let mut kept = Kept::new(None, 3);
    fs::create_dir_all(&kept.output.folder).unwrap();
    fs::write(kept.path(LOG), "T stdout F:1 brok").unwrap();
    kept.lines(&["a"]);
    assert_eq!(kept.read(LOG), ["brok", "a"]);
}

#[test]
fn two_hosts_may_write_the_same_file() {
    let mut kept = Kept::new(Some(2 * LINE), 9);
    let mut other = File::of(&batch_of(&kept.output, b""));
    for number in 0..8 {
        kept.lines(&["a"]);
        kept.now += Duration::from_micros(number);
        std::mem::swap(&mut kept.file, &mut other);
    }
    let lines: usize = kept.names().iter().map(|name| kept.read(name).len()).sum();
    assert_eq!((kept.names().len(), lines), (4, 8));
}

#[test]
fn names_of_applications_make_names_of_files_that_differ() {
    let names = ["shop", "shop/api", "shop-api", "shop+api", "/shop", "..", "", "@in-process", "ä"];
    let mut files: Vec<_> = names.map(name).to_vec();
    assert_eq!(files[..2], ["shop.log", "shop+api.log"]);
    assert!(files.iter().all(|file| !file.contains('/') && file.ends_with(".log")));
    files.sort();
    files.dedup();
    assert_eq!(files.len(), names.len());
}
