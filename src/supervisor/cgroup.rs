//! Control groups, version 2: what an instance and all that it starts may take together.
//!
//! In: limits. Out: a group for one instance, beside the one that has the host's own processes; or why there can be none.
//! Touches the file system, so it is called where blocking is allowed. Never: changes a group in which somebody else
//! lives, or moves an instance: its guard has it go there before its program runs.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use procfs::{ProcResult, process::Process};
use rustix::io::Errno;

use crate::options::Limits;

/// A group for an instance of `application`, if its limits need one and the host may make groups. If it may not, the log
/// says so once: the application runs without, since it would not run at all otherwise on machines that have none.
pub(super) fn group(application: &str, limits: &Limits) -> Result<Option<Group>, Refused> {
    static OURS: OnceLock<Option<Hierarchy>> = OnceLock::new();
    if limits.memory_max.is_none() && limits.cpu_max.is_none() && limits.pids_max.is_none() {
        return Ok(None);
    }
    let ours = OURS.get_or_init(|| match Hierarchy::own() {
        Ok(hierarchy) => Some(hierarchy),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(tracing::field::display);
            tracing::warn!(
                application, reason = %error, cause, advice = ADVICE,
                "memory_max, cpu_max and pids_max have no effect; applications run without them"
            );
            None
        }
    });
    ours.as_ref().map(|hierarchy| hierarchy.group(application, limits)).transpose()
}

/// The group of one instance. Dropping it removes it, unless somebody is in it.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
}

impl Group {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The system refuses as long as a process is in it. Then its guard lives, and does this at the end.
        let _used = fs::remove_dir(&self.path);
    }
}

/// The group that was delegated to the host, prepared for others below it.
#[derive(Debug)]
struct Hierarchy {
    base: PathBuf,
    next: AtomicU64,
}

/// Why the host may not make groups.
#[derive(Debug, thiserror::Error)]
enum Undelegated {
    #[error("the system does not say in which control group the host is")]
    Unknown(#[from] procfs::ProcError),
    #[error("no file system of control groups, version 2, is mounted that shows the host's own group")]
    NotMounted,
    #[error("{} lacks the controllers {missing}", group.display())]
    Controllers { group: PathBuf, missing: String },
    #[error("process {pid}, which is not the host's, is in {} as well", group.display())]
    Shared { group: PathBuf, pid: i32 },
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// A file of a group could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used", path.display())]
pub(super) struct Refused {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

impl Hierarchy {
    /// That of this process.
    fn own() -> Result<Self, Undelegated> {
        let found = Found::of(&Process::myself()?)?.ok_or(Undelegated::NotMounted)?;
        Self::prepare(found.group(), |pid| found.is_all || is_ours(pid))
    }

    /// Moves the host's own processes from `own` into a group below it, since a group with processes may have no limits
    /// for those below, and switches these limits on. If they are there already, so are we: before an upgrade.
    fn prepare(own: PathBuf, is_ours: impl Fn(i32) -> bool) -> Result<Self, Undelegated> {
        let base = if own.ends_with(HOST) { own.parent().map(Path::to_owned).unwrap_or(own) } else { own };
        let controllers = read(&base.join("cgroup.controllers"))?;
        let missing =
            CONTROLLERS.into_iter().filter(|name| !controllers.split_whitespace().any(|it| it == *name));
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            return Err(Undelegated::Controllers { group: base, missing: missing.join(" ") });
        }
        let host = base.join(HOST);
        let mut tries = TRIES;
        loop {
            move_all(&base, &host, &is_ours)?;
            match write(&base.join("cgroup.subtree_control"), "+memory +cpu +pids") {
                // A process was forked after we had looked.
                Err(Refused { source, .. }) if is(&source, Errno::BUSY) && tries > 0 => tries -= 1,
                Err(error) => return Err(error.into()),
                Ok(()) => break,
            }
        }
        sweep(&base);
        Ok(Self { base, next: AtomicU64::new(1) })
    }

    fn group(&self, application: &str, limits: &Limits) -> Result<Group, Refused> {
        let path = loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.base.join(format!("{PREFIX}{}-{number}", safe(application)));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                // From before an upgrade.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Refused { path, source }),
            }
        };
        // From here on it is removed if anything fails.
        let group = Group { path };
        for (file, value) in files(limits) {
            write(&group.path.join(file), &value)?;
        }
        Ok(group)
    }
}

/// What is written into which file.
fn files(limits: &Limits) -> Vec<(&'static str, String)> {
    let number = |file, limit: Option<u64>| limit.map(|limit| (file, limit.to_string()));
    // Microseconds in each period, which is 100 ms as everywhere. Thousandths of a processor, so 100 each.
    let cpu = limits.cpu_max.map(|thousandths| ("cpu.max", format!("{} 100000", thousandths * 100)));
    let all = [number("memory.max", limits.memory_max), cpu, number("pids.max", limits.pids_max)];
    all.into_iter().flatten().collect()
}

/// Where the group of a process is.
struct Found {
    mount: PathBuf,
    below: PathBuf,
    /// Whether it is the topmost one that a container sees, so that all that is in it is in the host's container.
    is_all: bool,
}

impl Found {
    fn of(process: &Process) -> ProcResult<Option<Self>> {
        let groups = process.cgroups()?;
        let Some(own) = groups.into_iter().find(|group| group.hierarchy == 0) else { return Ok(None) };
        let mounts = process.mountinfo()?;
        let found = mounts.into_iter().filter(|mount| mount.fs_type == "cgroup2").find_map(|mount| {
            let below = Path::new(&own.pathname).strip_prefix(&mount.root).ok()?.to_owned();
            // The system's own topmost group is no container. It has no type, either.
            let is_typed = mount.mount_point.join("cgroup.type").exists();
            Some(Self { is_all: below.as_os_str().is_empty() && is_typed, mount: mount.mount_point, below })
        });
        Ok(found)
    }

    fn group(&self) -> PathBuf {
        self.mount.join(&self.below)
    }
}

/// Whether `pid` is this process, or descends from it, or is gone.
fn is_ours(mut pid: i32) -> bool {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    while pid != me {
        match Process::new(pid).and_then(|process| process.stat()) {
            Ok(stat) if stat.ppid > 0 => pid = stat.ppid,
            Ok(_) => return false,
            Err(procfs::ProcError::NotFound(_)) => return true,
            Err(_) => return false,
        }
    }
    true
}

fn move_all(from: &Path, to: &Path, is_ours: impl Fn(i32) -> bool) -> Result<(), Undelegated> {
    let pids = read(&from.join(PROCS))?;
    let pids: Vec<i32> = pids.lines().filter_map(|line| line.parse().ok()).collect();
    if let Some(pid) = pids.iter().copied().find(|pid| !is_ours(*pid)) {
        return Err(Undelegated::Shared { group: from.to_owned(), pid });
    }
    make(to)?;
    for pid in pids {
        match write(&to.join(PROCS), &format!("{pid}\n")) {
            // It has ended.
            Err(Refused { source, .. }) if is(&source, Errno::SRCH) => {}
            moved => moved?,
        }
    }
    Ok(())
}

/// Removes what a host left that was killed, together with its guards.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name != HOST && name.to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            let _used = fs::remove_dir(entry.path());
        }
    }
}

/// A name that is one part of a path, of a length that any file system takes.
fn safe(application: &str) -> String {
    let safe =
        |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
    application.chars().map(safe).take(200).collect()
}

fn make(path: &Path) -> Result<(), Refused> {
    match fs::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(Refused { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, Refused> {
    fs::read_to_string(path).map_err(|source| Refused { path: path.to_owned(), source })
}

/// In one call, since each is an order of its own.
fn write(path: &Path, value: &str) -> Result<(), Refused> {
    let open = OpenOptions::new().append(true).create(cfg!(test)).open(path);
    open.and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| Refused { path: path.to_owned(), source })
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// The group of the host's own processes: supervisor, workers, guards, and instances without limits of this kind.
const HOST: &str = "cohost-host";
const PREFIX: &str = "cohost-";
const PROCS: &str = "cgroup.procs";
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
const TRIES: u32 = 20;
const ADVICE: &str =
    "under systemd, write Delegate=yes into the service; in a container, make /sys/fs/cgroup writable";

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// What looks like a group that was delegated, with two processes in it.
    fn delegated() -> TempDir {
        let base = TempDir::new().unwrap();
        fs::write(base.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        fs::write(base.path().join(PROCS), "11\n12\n").unwrap();
        base
    }

    fn content(base: &TempDir, file: &str) -> String {
        fs::read_to_string(base.path().join(file)).unwrap()
    }

    fn limits() -> Limits {
        Limits { memory_max: Some(1 << 20), cpu_max: Some(1500), pids_max: Some(30), ..Limits::default() }
    }

    #[test]
    fn the_hosts_own_processes_move_aside_and_each_instance_has_a_group_with_its_limits() {
        let base = delegated();
        fs::create_dir(base.path().join("cohost-left-7")).unwrap();
        fs::create_dir(base.path().join("cohost-shop_cart-1")).unwrap();
        fs::write(base.path().join("cohost-shop_cart-1/used"), "").unwrap();

        let hierarchy = Hierarchy::prepare(base.path().to_owned(), |_| true).unwrap();
        let group = hierarchy.group("shop/cart", &limits()).unwrap();

        assert_eq!(content(&base, "cohost-host/cgroup.procs"), "11\n12\n");
        assert_eq!(content(&base, "cgroup.subtree_control"), "+memory +cpu +pids");
        assert!(!base.path().join("cohost-left-7").exists());
        assert_eq!(group.path(), base.path().join("cohost-shop_cart-2"));
        assert_eq!(content(&base, "cohost-shop_cart-2/memory.max"), "1048576");
        assert_eq!(content(&base, "cohost-shop_cart-2/cpu.max"), "150000 100000");
        assert_eq!(content(&base, "cohost-shop_cart-2/pids.max"), "30");
    }

    #[test]
    fn a_group_ends_with_whoever_has_it() {
        let base = delegated();
        let hierarchy = Hierarchy::prepare(base.path().to_owned(), |_| true).unwrap();
        let path = hierarchy.group("shop", &Limits::default()).unwrap().path().to_owned();
        assert!(!path.exists());
    }

    #[test]
    fn after_an_upgrade_the_host_is_where_it_has_moved_to() {
        let base = delegated();
        let before = Hierarchy::prepare(base.path().to_owned(), |_| true).unwrap();
        let after = Hierarchy::prepare(base.path().join(HOST), |_| true).unwrap();
        assert_eq!(before.base, after.base);
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_changed() {
        let base = delegated();
        let shared = Hierarchy::prepare(base.path().to_owned(), |pid| pid == 11).unwrap_err();
        assert!(shared.to_string().starts_with("process 12, which is not the host's, is in "), "{shared}");
        assert!(!base.path().join("cgroup.subtree_control").exists());

        fs::write(base.path().join("cgroup.controllers"), "memory").unwrap();
        let few = Hierarchy::prepare(base.path().to_owned(), |_| true).unwrap_err();
        assert!(few.to_string().ends_with("lacks the controllers cpu pids"), "{few}");
    }

    #[test]
    fn whoever_descends_from_us_is_ours() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(is_ours(pid) && is_ours(i32::try_from(std::process::id()).unwrap()));
        assert!(!is_ours(1));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
