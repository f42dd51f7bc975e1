//! How much memory processes have, with all that descend from them.
//!
//! In: numbers of processes. Out: bytes that are resident. Never: counts a process twice; what several of them share, such
//! as the code of one library, counts for each.

use std::collections::{HashMap, HashSet};

use procfs::process::{Stat, all_processes};

/// The resident memory of `pids` and their descendants; `None` where the system does not tell. Looks at every process of
/// the system, so it is called where blocking is allowed.
#[must_use]
pub fn resident(pids: &[u32]) -> Option<u64> {
    let stats: Vec<Stat> = all_processes().ok()?.filter_map(|process| process.ok()?.stat().ok()).collect();
    let mut children: HashMap<i32, Vec<&Stat>> = HashMap::new();
    for stat in &stats {
        children.entry(stat.ppid).or_default().push(stat);
    }
    let is_wanted = |stat: &&Stat| pids.iter().any(|pid| i32::try_from(*pid) == Ok(stat.pid));
    let mut ahead: Vec<&Stat> = stats.iter().filter(is_wanted).collect();
    let (mut seen, mut pages) = (HashSet::new(), 0);
    while let Some(stat) = ahead.pop() {
        if seen.insert(stat.pid) {
            pages += stat.rss;
            ahead.extend(children.get(&stat.pid).into_iter().flatten());
        }
    }
    (!seen.is_empty()).then(|| pages * procfs::page_size())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn descendants_count_and_nobody_counts_twice() {
        // Two processes, of which the second waits for as long as the test lives.
        let mut shell = Command::new("sh").args(["-c", "cat; :"]).stdin(Stdio::piped()).spawn().unwrap();
        let own = std::process::id();
        let (one, both) = loop {
            let cat = all_processes()
                .unwrap()
                .filter_map(|it| it.ok()?.stat().ok())
                .find(|stat| stat.comm == "cat" && u32::try_from(stat.ppid) == Ok(shell.id()));
            if let Some(cat) = cat {
                let cat = u32::try_from(cat.pid).unwrap();
                break (resident(&[shell.id()]).unwrap(), resident(&[shell.id(), cat]).unwrap());
            }
        };
        assert!(one > 0 && one.abs_diff(both) < one / 2, "{one} {both}");
        assert!(resident(&[own]).unwrap() > one);
        assert_eq!(resident(&[]), None);
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
