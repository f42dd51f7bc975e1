//! Who is let in: what is asked of a connection before anything is spoken on it.
//!
//! In: connections as they were accepted. Out: those that are served, with the client they come from. Never: waits longer
//! than the limit.

use std::time::Duration;

use tokio::sync::watch;

use super::{
    Stop,
    clients::{Clients, Place},
};
use crate::{
    facts::End,
    forwarded::Trust,
    listener::{Accepted, preamble},
};

/// The same for all listeners.
#[derive(Clone, Debug)]
pub(super) struct Entrance {
    pub(super) clients: Clients,
    pub(super) trust: Trust,
    /// How long a proxy may take to say for whom it connects.
    pub(super) limit: Duration,
}

impl Entrance {
    /// A place for a connection of this client; `None` if it has too many. Proxies speak for many.
    pub(super) fn enter(&self, client: &End) -> Option<Place> {
        if self.trust.covers(client) {
            return Some(Place::NONE);
        }
        let place = self.clients.enter(client);
        if place.is_none() {
            tracing::debug!(%client, "too many connections of one client; this one is closed");
        }
        place
    }

    /// A connection of whoever the proxy names that made it; `None` if nobody is to be served.
    pub(super) async fn announced(
        &self,
        mut accepted: Accepted,
        mut stop: watch::Receiver<Stop>,
    ) -> Option<Accepted> {
        let peer = accepted.peer;
        if !self.trust.covers(&peer) {
            tracing::warn!(client = %peer, "only trusted_proxies may connect where proxy_protocol is on");
            return None;
        }
        let taken = tokio::time::timeout(self.limit, preamble::take(&mut accepted.stream));
        let taken = tokio::select! {
            taken = taken => taken,
            _ = stop.wait_for(|stop| *stop != Stop::Run) => return None,
        };
        match taken {
            Ok(Ok(Some((client, local)))) => {
                (accepted.peer, accepted.local) = (End::Ip(client), End::Ip(local));
                Some(accepted)
            }
            Ok(Ok(None)) => Some(accepted),
            Ok(Err(error)) => {
                tracing::debug!(client = %peer, %error, "a proxy does not say for whom it connects");
                None
            }
            Err(_) => {
                tracing::debug!(client = %peer, "a proxy does not say for whom it connects");
                None
            }
        }
    }
}
