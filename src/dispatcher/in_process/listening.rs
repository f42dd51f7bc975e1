//! Notices an application that listens by itself, although the host brings it its requests.
//!
//! In: that an application has started. Out: a line in the log for each socket that listens, was not there before any
//! application was, and is not the host's. Never: looks while nothing was started lately, or closes what it finds.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use crate::sys::listening;

/// When to look, counted from the start: a server that was spawned by the constructor listens soon, one that waits for
/// its database later.
const LOOKS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(30)];

/// Looks that are due some time.
static DUE: Mutex<Vec<(Instant, Arc<str>)>> = Mutex::new(Vec::new());

/// Sockets that need no mention (any more).
static KNOWN: OnceLock<Mutex<HashSet<u64>>> = OnceLock::new();

/// To be called before any code of an application runs: what listens now is none of an application's doing.
pub(super) fn before() {
    KNOWN.get_or_init(|| Mutex::new(listening::all().into_iter().map(|socket| socket.inode).collect()));
}

/// To be called when an application has started.
pub(super) fn started(application: &Arc<str>, now: Instant) {
    let looks = LOOKS.iter().map(|after| (now + *after, Arc::clone(application)));
    DUE.lock().unwrap_or_else(PoisonError::into_inner).extend(looks);
}

/// To be called now and then, on a thread that serves nobody.
pub(super) fn look(now: Instant) {
    let due: Vec<_> = {
        let mut due = DUE.lock().unwrap_or_else(PoisonError::into_inner);
        due.extract_if(.., |(when, _)| *when <= now).collect()
    };
    let Some((_, application)) = due.last() else { return };
    let Some(known) = KNOWN.get() else { return };
    for socket in listening::foreign().into_iter().flatten() {
        if known.lock().unwrap_or_else(PoisonError::into_inner).insert(socket.inode) {
            // It may as well be of another application here that was started before; the system does not tell.
            tracing::warn!(
                %application,
                address = socket.address,
                "application listens by itself although it is hosted in process; clients that connect there go past \
                 the host: remove its listener, or host it as a command"
            );
        }
    }
}
