//! The end of an application that is still starting.
//!
//! In: a stop, while a start is under way. Out: a process is ended, a turn is given up, and a constructor in this process
//! awaited, which nobody can end. Never: leaves a start without somebody who ends what comes of it, however late.

use std::sync::Arc;

use super::current::Shared;
use crate::{Failure, dispatcher::in_process::Ended, failure::Code};

impl Shared {
    /// Ends it as soon as that can be. If another one has taken its place, waits for that up to `shutdown_timeout`.
    pub(super) async fn call_off(self: &Arc<Self>) -> Ended {
        // Who waits for it goes to the next one; and what can be given up is.
        self.changed.send_modify(|changes| *changes += 1);
        let ending = tokio::spawn({
            let shared = Arc::clone(self);
            async move {
                shared.start_is_over().await;
                shared.end().await
            }
        });
        // The process ends, or its owner goes on without it.
        if !self.is_retired() {
            return Ended::Gracefully;
        }
        let (application, limit) = (&*self.definition.name, self.definition.options.shutdown_timeout);
        tracing::info!(application, "application is still starting; that is called off");
        if tokio::time::timeout(limit, self.start_is_over()).await.is_err() {
            tracing::warn!(
                application,
                ?limit,
                "application left behind: its start was called off, and has not come to an end"
            );
            return Ended::LeftBehind;
        }
        ending.await.unwrap_or(Ended::LeftBehind)
    }

    /// Does something for a start, as long as that is wanted.
    pub(super) async fn unless_called_off<T>(
        &self,
        doing: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.called_off() => Err(Code::Draining.into()),
            done = doing => done,
        }
    }

    pub(super) fn is_called_off(&self) -> bool {
        self.life().is_stopped()
    }

    /// Waits until somebody has stopped it.
    pub(super) async fn called_off(&self) {
        // The sender is in `self`.
        let _ = self.changed.subscribe().wait_for(|_| self.is_called_off()).await;
    }

    async fn start_is_over(&self) {
        let _ = self.changed.subscribe().wait_for(|_| !self.life().is_starting()).await;
    }
}
