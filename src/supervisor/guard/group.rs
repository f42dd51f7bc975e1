//! The control group of an instance, as its guard needs it: the way in, and what happened there.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

/// The file by which a process goes into `group`.
pub(super) fn entrance(group: &Path) -> io::Result<File> {
    // In words: by its number alone it would be taken for an error of the program's own file.
    let explained =
        |error| io::Error::other(format!("its control group {} cannot be entered: {error}", group.display()));
    OpenOptions::new().write(true).open(group.join("cgroup.procs")).map_err(explained)
}

/// Whether the system has killed somebody in `group` because all together took too much memory.
pub(super) fn ran_out_of_memory(group: &Path) -> bool {
    let events = fs::read_to_string(group.join("memory.events")).unwrap_or_default();
    events.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;
    use crate::sys::{
        confine::{Confined, confine},
        image::Image,
    };

    #[test]
    fn a_program_goes_into_its_group_before_it_runs() {
        let group = TempDir::new().unwrap();
        let file = group.path().join("cgroup.procs");
        fs::write(&file, "").unwrap();
        let mut command = Command::new("cat");
        let words = ["cat".into(), file.clone().into_os_string()];
        let image = Image::new("/bin/cat".as_ref(), &words, &[]).unwrap();
        confine(&mut command, &Confined::default(), Some(entrance(group.path()).unwrap()), image);
        // It prints what was there when it ran.
        let printed = command.output().unwrap().stdout;
        assert_eq!(printed, b"0");
    }

    #[test]
    fn a_group_that_is_not_there_is_named() {
        let error = entrance(Path::new("/no/group")).unwrap_err();
        assert!(error.to_string().starts_with("its control group /no/group cannot be entered"), "{error}");
    }

    #[test]
    fn only_a_kill_for_want_of_memory_counts_as_one() {
        let group = TempDir::new().unwrap();
        assert!(!ran_out_of_memory(group.path()));
        for (kills, told) in [("0", false), ("1", true), ("12", true)] {
            let events = format!("low 0\nhigh 0\nmax 7\noom 1\noom_kill {kills}\noom_group_kill 0\n");
            fs::write(group.path().join("memory.events"), events).unwrap();
            assert_eq!(ran_out_of_memory(group.path()), told, "{kills}");
        }
    }
}
