//! From one application to the one in its place: nothing that was routed to the old one is lost.
//!
//! In: the old one, and the new one if there is any. Out: requests that still come to the old one go to the new one; the
//! old one ends after its last request. Never: tells a process to end while it has a request, unless `shutdown_timeout`
//! is over.

use std::sync::{Arc, PoisonError};

use super::{Application, current::Shared};
use crate::{Failure, dispatcher::in_process::Ended, failure::Code, stage::Stage};

/// Who answers requests that still come to an application which another one has taken the place of: they were on their
/// way, or waited for its start.
#[derive(Clone, Debug)]
pub enum Successor {
    /// Another application, which they wait for if it still has to start.
    Application(Application),
    /// What has no life of its own: files, upstreams, a page that says why there is nothing else.
    Stage(Stage),
    /// They get 503.
    Nobody,
}

impl From<&Application> for Successor {
    fn from(application: &Application) -> Self {
        Self::Application(application.clone())
    }
}

impl Application {
    /// Whether it runs, or is being started.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.is_running()
    }

    /// Ends it for good, while something else serves in its place.
    ///
    /// Requests that come all the same are answered by `successor`. Those that it has, with their bodies and the
    /// connections that they became, may go on for up to `shutdown_timeout`; it is told that its end is near, and ends
    /// after the last of them.
    pub async fn retire(&self, successor: impl Into<Successor>) -> Ended {
        self.shared.retire(successor.into()).await
    }

    /// Has it start only after `other` has ended, which has to be [retired](Self::retire): for what cannot run twice at
    /// the same time. Requests wait for that.
    pub fn start_after(&self, other: &Self) {
        *self.shared.predecessor.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::downgrade(&other.shared));
    }
}

impl Shared {
    async fn retire(self: &Arc<Self>, successor: Successor) -> Ended {
        // The second time changes nothing: requests have been sent on already.
        let _ = self.successor.set(successor);
        self.stop().await
    }

    pub(super) fn is_retired(&self) -> bool {
        self.successor.get().is_some()
    }

    /// Who answers in its place, if that is an application.
    pub(super) fn next(&self) -> Option<Arc<Self>> {
        match self.successor.get()? {
            Successor::Application(next) => Some(Arc::clone(&next.shared)),
            Successor::Stage(_) | Successor::Nobody => None,
        }
    }

    /// What answers in its place, if that is no application.
    pub(super) fn stage_instead(&self) -> Option<&Stage> {
        match self.successor.get()? {
            Successor::Stage(stage) => Some(stage),
            Successor::Application(_) | Successor::Nobody => None,
        }
    }

    /// Waits for the end of what must not run beside it.
    pub(super) async fn wait_for_predecessor(&self) -> Result<(), Failure> {
        let predecessor = self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(predecessor) = predecessor.and_then(|weak| weak.upgrade()) else { return Ok(()) };
        // Its last requests may take that long, and then its end; what it needs is not taken from our own time.
        let limit =
            2 * predecessor.definition.options.shutdown_timeout + self.definition.options.startup_timeout;
        let mut over = predecessor.over.subscribe();
        let ended = tokio::time::timeout(limit, over.wait_for(|over| *over)).await.is_ok();
        if !ended {
            let detail = format!("the one before it did not end within {limit:?}");
            return Err(Failure::new(Code::StartTimeout).detail(detail));
        }
        self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}
