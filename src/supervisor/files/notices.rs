//! When to look: what the system says of directories, by inotify.
//!
//! In: the directories, and which entries in them matter. Out: that something happened there; not what, since a notice
//! may be lost, and a look finds out anyway. Never: misses a change without saying that it might: on file systems that
//! others write to as well, and past the system's limits, [`Notices::are_incomplete`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsString,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStringExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{
        inotify::{self, CreateFlags, ReadFlags, WatchFlags},
        statfs,
    },
    io::Errno,
};

use super::places::Places;

/// What the system was asked to tell.
#[derive(Debug, Default)]
pub(super) struct Notices {
    of: Places,
    inotify: Option<OwnedFd>,
    names: HashMap<i32, BTreeSet<OsString>>,
    incomplete: bool,
    /// What was watched is not where it was.
    outdated: bool,
    /// What was said about it.
    said: Option<String>,
    #[cfg(test)]
    past_the_limit: bool,
}

impl Notices {
    /// The system has none left.
    #[cfg(test)]
    pub(super) fn past_the_limit() -> Self {
        Self { past_the_limit: true, ..Self::default() }
    }

    /// Asks for notices of these places, if that was not done before.
    pub(super) fn follow(&mut self, places: &Places) {
        if !self.outdated && self.of == *places {
            return;
        }
        self.outdated = false;
        // First, since the system counts them.
        (self.inotify, self.names) = (None, HashMap::new());
        self.of = Places(places.0.clone());
        let trouble = match self.ask() {
            Ok(()) => elsewhere(&self.of.0),
            Err(error) => {
                self.inotify = None;
                Some(error)
            }
        };
        self.incomplete = trouble.is_some();
        if let Some(why) = trouble.filter(|why| self.said.as_ref() != Some(why)) {
            tracing::warn!(
                why,
                "the system does not tell of all changes to files; looking at them every second"
            );
            self.said = Some(why);
        }
    }

    /// Whether one has to look without having been told.
    pub(super) fn are_incomplete(&self) -> bool {
        self.incomplete
    }

    fn ask(&mut self) -> Result<(), String> {
        #[cfg(test)]
        if self.past_the_limit {
            return Err(refused("fs.inotify.max_user_instances", Errno::MFILE));
        }
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|error| refused("fs.inotify.max_user_instances", error))?;
        for (place, names) in &self.of.0 {
            let wanted = if names.is_empty() { ITSELF } else { ITSELF.union(ENTRIES) };
            match inotify::add_watch(&inotify, place, wanted.union(WatchFlags::ONLYDIR)) {
                Ok(watch) => self.names.entry(watch).or_default().extend(names.iter().cloned()),
                // It went meanwhile, and will be asked for anew.
                Err(Errno::NOENT | Errno::NOTDIR) => self.outdated = true,
                // Nobody who may not look into it is told of it; a look at the file itself still works.
                Err(Errno::ACCESS) => {
                    return Err(format!("{}: {}", place.display(), io::Error::from(Errno::ACCESS)));
                }
                Err(error) => return Err(refused("fs.inotify.max_user_watches", error)),
            }
        }
        self.inotify = Some(inotify);
        Ok(())
    }

    /// Waits for a notice that matters, for `other`, or until `limit` is over.
    pub(super) fn wait(&mut self, other: &UnixStream, limit: Option<Duration>) {
        if self.outdated {
            return;
        }
        let mut limit = limit;
        loop {
            let began = std::time::Instant::now();
            let Some(inotify) = &self.inotify else {
                self.pause(other, limit.unwrap_or(FAR));
                return;
            };
            let mut waited = [
                PollFd::from_borrowed_fd(inotify.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(other.as_fd(), PollFlags::IN),
            ];
            let ready = poll(&mut waited, Some(&timespec(limit.unwrap_or(FAR))));
            let (noticed, woken) = (!waited[0].revents().is_empty(), !waited[1].revents().is_empty());
            if ready == Ok(0) || woken || (noticed && self.read()) {
                return;
            }
            limit = limit.map(|limit| limit.saturating_sub(began.elapsed()));
        }
    }

    /// Waits for `other`, or until `limit` is over.
    pub(super) fn pause(&self, other: &UnixStream, limit: Duration) {
        let mut waited = [PollFd::from_borrowed_fd(other.as_fd(), PollFlags::IN)];
        let _interrupted = poll(&mut waited, Some(&timespec(limit)));
    }

    /// Reads all notices; whether one of them matters.
    fn read(&mut self) -> bool {
        let Some(inotify) = &self.inotify else { return true };
        let mut space = [MaybeUninit::uninit(); 8192];
        let mut notices = inotify::Reader::new(inotify, &mut space);
        let mut matters = false;
        loop {
            match notices.next() {
                Ok(notice) => {
                    let name = notice.file_name().map(|name| OsString::from_vec(name.to_bytes().to_vec()));
                    let named = name.is_some_and(|name| {
                        self.names.get(&notice.wd()).is_some_and(|names| names.contains(&name))
                    });
                    // The directory has moved or gone, or there were too many notices.
                    let moved =
                        notice.file_name().is_none() && !notice.events().intersects(ReadFlags::ATTRIB);
                    self.outdated |= moved;
                    matters |= named || moved;
                }
                Err(Errno::INTR) => {}
                Err(_) => return matters,
            }
        }
    }
}

fn refused(limit: &str, error: Errno) -> String {
    let error = io::Error::from(error);
    format!("inotify refuses: {error}; {limit} may be too low")
}

/// A file system that others may write to without this system noticing.
fn elsewhere(places: &BTreeMap<PathBuf, BTreeSet<OsString>>) -> Option<String> {
    let place =
        places.iter().filter(|(_, names)| !names.is_empty()).find(|(place, _)| is_elsewhere(place))?.0;
    Some(format!("{} may be changed by another system", place.display()))
}

fn is_elsewhere(place: &Path) -> bool {
    // The numbers are 32 bits wide, whatever the type of the field is.
    statfs(place).is_ok_and(|found| ELSEWHERE.contains(&((found.f_type as u64) & 0xffff_ffff)))
}

fn timespec(limit: Duration) -> Timespec {
    Timespec { tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: limit.subsec_nanos().into() }
}

/// Not a write: a file that is being written to all the time, as a log beside it, wakes nobody. A change is over when
/// the file is closed.
const ENTRIES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB);

const ITSELF: WatchFlags = WatchFlags::MOVE_SELF.union(WatchFlags::DELETE_SELF);

/// NFS, SMB 1 to 3, FUSE, 9P, Ceph, AFS, GFS2, OCFS2: their numbers in `statfs(2)`.
const ELSEWHERE: [u64; 9] = [
    0x6969,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x0116_1970,
    0x7461_636f,
];

const FAR: Duration = Duration::from_secs(24 * 60 * 60);
