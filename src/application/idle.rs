//! The end of an instance that nobody asks for anything.
//!
//! In: how many requests came, and how many there are. Out: after `idle_stop` without any the instance is stopped; the
//! next request starts another one, as the first did. Never: ends one that a request has: it is first taken out of
//! sight, and comes back if somebody had seen it just before.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    current::{Shared, State},
    start::Backing,
};
use crate::options::ProcessListen;

impl Shared {
    /// Looks after the instance that has just started, for as long as it is there.
    pub(super) fn watch_idle(self: &Arc<Self>) {
        let Some(limit) = self.definition.process.idle_stop else { return };
        let Some(pid) = self.pid() else { return };
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            let (mut came, mut idle_since) = (None, None);
            loop {
                tokio::time::sleep((limit / LOOKS).max(SHORTEST)).await;
                let Some(shared) = shared.upgrade() else { return };
                if shared.pid() != Some(pid) {
                    return;
                }
                let before = came.replace(shared.requests.load(Ordering::Relaxed));
                if before != came || shared.is_wanted() {
                    idle_since = None;
                } else if idle_since.get_or_insert_with(Instant::now).elapsed() >= limit
                    && let Some(withdrawn) = shared.withdraw(pid)
                {
                    return withdrawn.end(limit).await;
                }
            }
        });
    }

    fn pid(&self) -> Option<u32> {
        self.backing().as_ref().and_then(Backing::pid)
    }

    /// Whether it has requests, or some that waited for its start and have not come to it yet.
    fn is_wanted(&self) -> bool {
        self.in_flight() > 0 || self.queue.waiting() > 0
    }

    /// Takes the instance away from requests to come, unless one is on its way to it at this very moment.
    fn withdraw(&self, pid: u32) -> Option<Withdrawn<'_>> {
        // Held throughout: whoever else ends it does so before or after.
        let mut backing = self.backing();
        backing.as_ref().filter(|backing| backing.pid() == Some(pid) && !backing.has_exited())?;
        // From here on requests find none, and wait for the change below.
        let found = self.state.swap(Arc::new(State::Absent));
        let withdrawn = match Arc::try_unwrap(found) {
            Ok(State::Running(dispatcher)) if dispatcher.is_unused() => {
                self.ending.send_modify(|endings| *endings += 1);
                backing.take().map(|backing| Withdrawn { backing: Some(backing), shared: self })
            }
            Ok(found) => {
                self.state.store(Arc::new(found));
                None
            }
            // A request has looked at it, and will hand itself over.
            Err(found) => {
                self.state.store(found);
                None
            }
        };
        drop(backing);
        if withdrawn.is_some() {
            self.life().ended();
        }
        self.changed.send_modify(|changes| *changes += 1);
        withdrawn
    }

    /// Where there is one port, waits until the instance before has let go of it.
    pub(super) async fn wait_for_port(&self) {
        if let ProcessListen::Port(_) = self.definition.process.listen {
            self.wait_for_idle_ends().await;
        }
    }

    /// Waits until no instance is being ended for want of requests. Their own limit bounds it.
    pub(super) async fn wait_for_idle_ends(&self) {
        // The sender is in `self`.
        let _ = self.ending.subscribe().wait_for(|endings| *endings == 0).await;
    }
}

/// An instance that no request can come to any more. Those who stop the application wait for its end.
struct Withdrawn<'a> {
    backing: Option<Backing>,
    shared: &'a Shared,
}

impl Withdrawn<'_> {
    async fn end(mut self, limit: Duration) {
        let Some(backing) = self.backing.take() else { return };
        let definition = &self.shared.definition;
        let (application, pid) = (&*definition.name, backing.pid());
        tracing::info!(application, pid, idle = ?limit, "instance has had no requests; the next one starts another");
        backing.retire(definition.options.shutdown_timeout).await;
    }
}

impl Drop for Withdrawn<'_> {
    fn drop(&mut self) {
        self.shared.ending.send_modify(|endings| *endings -= 1);
    }
}

/// How often within the limit somebody looks; it may last longer by two of them.
const LOOKS: u32 = 8;

/// Nobody needs to look more often.
const SHORTEST: Duration = Duration::from_millis(1);
