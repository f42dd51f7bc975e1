//! Where a library lies in this process's memory.

use std::{fs, ops::Range, path::Path};

/// From the first byte of the file that is mapped to the last; `None` if none is, or the system does not say.
pub(super) fn of(file: &Path) -> Option<Range<usize>> {
    // What the system says is the file's real name.
    let file = fs::canonicalize(file).ok()?;
    within(&fs::read_to_string("/proc/self/maps").ok()?, file.to_str()?)
}

fn within(maps: &str, file: &str) -> Option<Range<usize>> {
    let pieces = maps.lines().filter(|line| line.strip_suffix(file).is_some_and(|rest| rest.ends_with(' ')));
    let pieces = pieces.filter_map(|line| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
    });
    pieces.fold(None, |all: Option<Range<usize>>, (start, end)| {
        let all = all.unwrap_or(start..end);
        Some(all.start.min(start)..all.end.max(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pieces_of_a_file_count_and_those_of_others_do_not() {
        let maps = "\
1000-2000 r--p 00000000 08:01 1 /tmp/a/lib.so
2000-5000 r-xp 00001000 08:01 1 /tmp/a/lib.so
5000-6000 rw-p 00000000 00:00 0
9000-a000 r-xp 00000000 08:01 2 /tmp/b/tmp/a/lib.so
b000-c000 rw-p 00000000 00:00 0 [heap]
";
        assert_eq!(within(maps, "/tmp/a/lib.so"), Some(0x1000..0x5000));
        assert_eq!(within(maps, "/lib.so"), None);
    }

    #[test]
    fn this_program_is_in_its_own_memory() {
        let place = of(&std::env::current_exe().unwrap()).expect("it is mapped");
        assert!(place.contains(&(of as fn(&Path) -> Option<Range<usize>> as usize)));
    }
}
