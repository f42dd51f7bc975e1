//! From an instance that has ended to the next one: a request that it has seen nothing of.
//!
//! In: the request, as the forwarder gave it back. Out: the answer of the next instance, or of the application that is in
//! its place by now. Never: sends it to another while the first may be alive and merely not listen, or a second time to
//! another.

use std::{sync::Arc, time::Duration};

use http::Response;

use super::current::{Dispatcher, Shared, State};
use crate::{
    Body, Failure,
    dispatcher::out_of_process::{Forwarder, Undelivered},
};

impl Shared {
    /// Serves a request that `failed` could not deliver, once it is clear that its instance has ended. The next one
    /// is its last chance.
    pub(super) async fn hand_back(
        self: &Arc<Self>,
        failed: &Forwarder,
        undelivered: Undelivered,
    ) -> Result<Response<Body>, Failure> {
        let Undelivered { failure, untouched: Some(parcel) } = undelivered else {
            return Err(undelivered.failure);
        };
        // It may be alive and merely not listen; then another would not be better.
        if tokio::time::timeout(NOTICE, self.ended(failed)).await.is_err() {
            return Err(failure);
        }
        let mut shared = Arc::clone(self);
        loop {
            match shared.dispatcher().await {
                Ok(Dispatcher::OutOfProcess(next)) => return next.carry_instead(*parcel).await,
                Ok(Dispatcher::InProcess(_)) => return Err(failure),
                // It may have been replaced meanwhile.
                Err(refused) => shared = shared.next().ok_or(refused)?,
            }
        }
    }

    /// Waits until requests do not go to `forwarder` any more.
    async fn ended(&self, forwarder: &Forwarder) {
        let mut changed = self.changed.subscribe();
        let is_current = || match &**self.state.load() {
            State::Running(Dispatcher::OutOfProcess(current)) => current.is(forwarder),
            State::Running(Dispatcher::InProcess(_)) | State::Absent => false,
        };
        while is_current() {
            // The sender is in `self`.
            let _ = changed.changed().await;
        }
    }
}

/// How long it may take until the end of an instance is noticed that accepts no connections any more.
const NOTICE: Duration = Duration::from_secs(1);
