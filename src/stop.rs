//! The order to stop, and its second, more urgent form.
//!
//! A leaf: the server obeys it between connections, `http` within one.

use tokio::sync::watch;

/// What a server is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Serve.
    Run,
    /// Finish what is in flight.
    Gracefully,
    /// Leave at once.
    Now,
}

/// The order to stop: one gives it, servers and connections hear it.
#[derive(Clone, Debug)]
pub struct Stopping {
    order: watch::Sender<Stop>,
    /// Whether those who obey accept no more.
    closed: watch::Sender<bool>,
}

impl Default for Stopping {
    fn default() -> Self {
        Self::new()
    }
}

impl Stopping {
    /// Nobody has to stop yet.
    #[must_use]
    pub fn new() -> Self {
        Self { order: watch::Sender::new(Stop::Run), closed: watch::Sender::new(false) }
    }

    /// Orders to stop gracefully; the second time, at once.
    pub fn stop(&self) {
        self.order.send_modify(|stop| *stop = if *stop == Stop::Run { Stop::Gracefully } else { Stop::Now });
    }

    /// Waits for the order.
    pub async fn asked(&self) {
        self.at_least(Stop::Gracefully).await;
    }

    /// Waits for the second order.
    pub async fn now(&self) {
        self.at_least(Stop::Now).await;
    }

    /// Waits until the server that was ordered to stop has closed its listening sockets: whoever connects from then on
    /// is accepted by others, or refused.
    pub async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender is in `self`.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    pub(crate) fn has_closed(&self) {
        self.closed.send_replace(true);
    }

    async fn at_least(&self, wanted: Stop) {
        let mut order = self.order.subscribe();
        // The sender is `self`, so it cannot end.
        let _ = order.wait_for(|stop| *stop >= wanted).await;
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Stop> {
        self.order.subscribe()
    }
}
