//! Opens what is below a folder, and nothing else.
//!
//! In: a folder and a name below it. Out: an open regular file, or what else is there, or only what there is. The
//! kernel itself keeps the way below the folder, whatever is renamed or linked meanwhile. Never: waits for a pipe, or
//! returns anything that is no file.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Component, Path},
    sync::OnceLock,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2},
    io::Errno,
};

/// What is there.
#[derive(Debug)]
pub(crate) enum Found {
    /// A regular file.
    File(Opened),
    /// A directory.
    Directory(Opened),
}

/// A regular file, or a directory, that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    /// To read.
    pub(crate) file: OwnedFd,
    /// As it was then.
    pub(crate) stat: Stat,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    /// There is nothing of that name, or nothing that could be a file below this folder.
    #[error("there is no such file")]
    Missing,
    /// A link leads out of the folder.
    #[error("a link leads out of the folder, or round in a circle")]
    Outside,
    /// A pipe, a socket, a device.
    #[error("it is neither a file nor a directory")]
    NoFile,
    /// The host may not read it.
    #[error("the host may not read it")]
    Denied,
    /// The folder itself.
    #[error("the folder cannot be opened: {0}")]
    Folder(io::Error),
    /// Too many files are open, or the disk is broken.
    #[error("it cannot be opened: {0}")]
    Failed(io::Error),
}

/// What is there, for whoever does not want to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum There {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Nothing, or what is neither.
    Nothing,
}

/// Opens `name` below `folder`. Blocks for as long as the file system does.
pub(crate) fn open(folder: &Path, name: &Path) -> Result<Found, NotOpened> {
    let (file, stat) = below(folder, name, FILE)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Found::File(Opened { file, stat })),
        FileType::Directory => Ok(Found::Directory(Opened { file, stat })),
        _ => Err(NotOpened::NoFile),
    }
}

/// What `name` is below `folder`, as [`open`] would find it. Blocks for as long as the file system does.
pub(crate) fn there(folder: &Path, name: &Path) -> Result<There, NotOpened> {
    match below(folder, name, PLACE) {
        Ok((_, stat)) => Ok(There::of(&stat)),
        Err(NotOpened::Missing | NotOpened::Outside | NotOpened::NoFile) => Ok(There::Nothing),
        Err(why) => Err(why),
    }
}

/// The same, as far as the kernel knows it by heart, which is what has been looked for of late: `None` where somebody would
/// have to wait, or where there is nobody who may say. Never blocks.
pub(crate) fn glance(folder: &Path, name: &Path) -> Option<There> {
    if !has_openat2() {
        return None;
    }
    let folder = openat2(CWD, folder, FOLDER, Mode::empty(), ResolveFlags::CACHED).ok()?;
    match openat2(folder, or_itself(name), PLACE, Mode::empty(), BELOW.union(ResolveFlags::CACHED)) {
        Ok(found) => fstat(&found).ok().map(|stat| There::of(&stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Some(There::Nothing),
        Err(_) => None,
    }
}

impl There {
    fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            _ => Self::Nothing,
        }
    }
}

fn below(folder: &Path, name: &Path, flags: OFlags) -> Result<(OwnedFd, Stat), NotOpened> {
    // Anew for each file: a deployment may have put another folder there.
    let folder = rustix::io::retry_on_intr(|| openat(CWD, folder, FOLDER, Mode::empty()))
        .map_err(|errno| NotOpened::Folder(errno.into()))?;
    let way = if has_openat2() { beneath } else { step_by_step };
    let file = way(folder.as_fd(), or_itself(name), flags)?;
    let stat = fstat(&file).map_err(|errno| NotOpened::Failed(errno.into()))?;
    Ok((file, stat))
}

/// Nothing names the folder.
fn or_itself(name: &Path) -> &Path {
    if name.as_os_str().is_empty() { Path::new(".") } else { name }
}

/// One call for all of it, in which links may lead around, but not out.
fn beneath(folder: BorrowedFd<'_>, name: &Path, flags: OFlags) -> Result<OwnedFd, NotOpened> {
    let mut tries = 0;
    loop {
        match openat2(folder, name, flags, Mode::empty(), BELOW) {
            // Something was renamed while a `..` of a link was followed, or a signal came.
            Err(Errno::AGAIN | Errno::INTR) if tries < MOST_TRIES => tries += 1,
            Err(errno) => return Err(not_opened(errno)),
            Ok(file) => return Ok(file),
        }
    }
}

/// The same for kernels before 5.6, and for sandboxes that have never heard of the call: name by name, and no links.
fn step_by_step(folder: BorrowedFd<'_>, name: &Path, flags: OFlags) -> Result<OwnedFd, NotOpened> {
    let mut names = name.components().peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(part) = names.next() {
        if !matches!(part, Component::Normal(_) | Component::CurDir) {
            return Err(NotOpened::Missing);
        }
        let flags = if names.peek().is_some() { FOLDER } else { flags } | OFlags::NOFOLLOW;
        let from = at.as_ref().map_or(folder, |folder| folder.as_fd());
        let next = rustix::io::retry_on_intr(|| openat(from, part.as_os_str(), flags, Mode::empty()))
            .map_err(not_opened)?;
        at = Some(next);
    }
    at.ok_or(NotOpened::Missing)
}

fn not_opened(errno: Errno) -> NotOpened {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => NotOpened::Missing,
        // A socket, or a device without a driver.
        Errno::NXIO | Errno::NODEV => NotOpened::NoFile,
        Errno::LOOP | Errno::XDEV => NotOpened::Outside,
        Errno::ACCESS | Errno::PERM => NotOpened::Denied,
        errno => NotOpened::Failed(errno.into()),
    }
}

/// Whether the kernel has the call, and lets this process use it.
fn has_openat2() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    known(&KNOWN, || openat2(CWD, "/", FOLDER, Mode::empty(), ResolveFlags::NO_MAGICLINKS).map(drop))
}

/// What a try of the call has shown once and for all. Before that it is taken to be there: if it is not, it says so by
/// itself.
fn known(known: &OnceLock<bool>, attempt: impl FnOnce() -> Result<(), Errno>) -> bool {
    known.get().copied().unwrap_or_else(|| match attempt() {
        Ok(()) => *known.get_or_init(|| true),
        // The second is what a sandbox says.
        Err(Errno::NOSYS | Errno::PERM) => *known.get_or_init(|| false),
        // Of the moment: too many files are open, or there is no memory.
        Err(_) => true,
    })
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// To read; not to wait for the other end of a pipe, nor to become anybody's terminal.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// To know of, and neither to read nor to wake anybody.
const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

const BELOW: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

const MOST_TRIES: usize = 64;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::*;

    /// A folder `www` with a secret beside it.
    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let www = place.path().join("www");
        fs::create_dir_all(www.join("a/b")).unwrap();
        fs::write(www.join("a/b/file"), "file").unwrap();
        fs::write(place.path().join("secret"), "secret").unwrap();
        place
    }

    type Way = fn(BorrowedFd<'_>, &Path, OFlags) -> Result<OwnedFd, NotOpened>;

    const WAYS: [Way; 2] = [beneath, step_by_step];

    fn opened(way: Way, place: &tempfile::TempDir, name: &str) -> Result<String, NotOpened> {
        let folder = openat(CWD, place.path().join("www"), FOLDER, Mode::empty()).unwrap();
        let mut text = String::new();
        let mut file = fs::File::from(way(folder.as_fd(), Path::new(name), FILE)?);
        io::Read::read_to_string(&mut file, &mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let place = place();
        let www = place.path().join("www");
        symlink("../secret", www.join("link")).unwrap();
        symlink("..", www.join("up")).unwrap();
        symlink(place.path(), www.join("absolute")).unwrap();
        symlink("/proc/self/root", www.join("magic")).unwrap();
        symlink("round", www.join("round")).unwrap();
        for way in WAYS {
            for name in [
                "link",
                "up/secret",
                "absolute/secret",
                "magic/etc/passwd",
                "round",
                "../secret",
                "/etc/passwd",
            ] {
                let found = opened(way, &place, name);
                assert!(matches!(found, Err(NotOpened::Outside | NotOpened::Missing)), "{name}: {found:?}");
            }
            assert_eq!(opened(way, &place, "a/b/file").unwrap(), "file");
        }
    }

    #[test]
    fn links_lead_around_inside_where_the_kernel_watches() {
        let place = place();
        symlink("b/../b/file", place.path().join("www/a/link")).unwrap();
        assert_eq!(opened(beneath, &place, "a/link").unwrap(), "file");
        assert!(matches!(opened(step_by_step, &place, "a/link"), Err(NotOpened::Outside)));
    }

    #[test]
    fn a_link_that_is_turned_meanwhile_leads_nowhere_else() {
        let place = place();
        let www = place.path().join("www");
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let next = www.join("next");
                for to in ["a/b/file", "../secret"].iter().cycle() {
                    symlink(to, &next).unwrap();
                    fs::rename(&next, www.join("link")).unwrap();
                    if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for _ in 0..10_000 {
                if let Ok(text) = opened(beneath, &place, "link") {
                    assert_eq!(text, "file");
                }
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn what_is_no_file_is_told_without_waiting() {
        let place = place();
        let www = place.path().join("www");
        rustix::fs::mknodat(CWD, www.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(www.join("socket")).unwrap();
        for name in ["pipe", "socket"] {
            assert!(matches!(open(&www, Path::new(name)), Err(NotOpened::NoFile)), "{name}");
        }
        assert!(matches!(open(&www, Path::new("a")), Ok(Found::Directory(_))));
        assert!(matches!(open(&www, Path::new("")), Ok(Found::Directory(_))));
        assert!(matches!(open(&www, Path::new("a/b/file/x")), Err(NotOpened::Missing)));
        assert!(matches!(open(&www, Path::new(&"x".repeat(5000))), Err(NotOpened::Missing)));
        assert!(matches!(open(&www, Path::new(&"x/".repeat(2100))), Err(NotOpened::Missing)));
        assert!(matches!(open(&www.join("none"), Path::new("a")), Err(NotOpened::Folder(_))));
    }

    #[test]
    fn what_is_there_is_told_without_opening_it() {
        let place = place();
        let www = place.path().join("www");
        symlink("../secret", www.join("out")).unwrap();
        rustix::fs::mknodat(CWD, www.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for (name, is) in [
            ("a/b/file", There::File),
            ("a/b", There::Directory),
            ("", There::Directory),
            ("none", There::Nothing),
            ("none/at/all", There::Nothing),
            ("a/b/file/x", There::Nothing),
            ("out", There::Nothing),
            ("pipe", There::Nothing),
        ] {
            let name = Path::new(name);
            assert_eq!(there(&www, name).unwrap(), is, "{name:?}");
            // Which is known by heart now, or not; but never otherwise.
            assert!(glance(&www, name).is_none_or(|found| found == is), "{name:?}");
        }
        assert!(matches!(there(&www.join("none"), Path::new("a")), Err(NotOpened::Folder(_))));
        assert_eq!(glance(&www.join("none"), Path::new("a")), None);
    }

    #[test]
    fn only_a_kernel_without_the_call_is_remembered_as_one() {
        let slot = OnceLock::new();
        for passing in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::AGAIN] {
            assert!(known(&slot, || Err(passing)) && slot.get().is_none(), "{passing}");
        }
        assert!(known(&slot, || Ok(())) && known(&slot, || Err(Errno::NOSYS)));
        for lasting in [Errno::NOSYS, Errno::PERM] {
            let slot = OnceLock::new();
            assert!(!known(&slot, || Err(lasting)) && !known(&slot, || Ok(())), "{lasting}");
        }
    }

    #[test]
    fn what_may_not_be_read_is_told_apart() {
        let place = place();
        let file = place.path().join("www/a/b/file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
        let opening = std::thread::spawn({
            let www = place.path().join("www");
            move || {
                give_up_what_root_may();
                open(&www, Path::new("a/b/file"))
            }
        });
        let found = opening.join().unwrap();
        assert!(matches!(found, Err(NotOpened::Denied)), "{found:?}");
    }

    /// Root may read everything; this thread no longer.
    fn give_up_what_root_may() {
        let mut own = capabilities(None).unwrap();
        own.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        set_capabilities(None, own).unwrap();
    }
}
