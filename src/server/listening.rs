//! The listeners of a server that serves, and the connections that came in there.
//!
//! In: listeners to begin and to end with, while others go on. Out: every connection served to its end. Never: ends a
//! connection because another listener ended.

use std::{pin::Pin, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
    task::JoinSet,
};

use super::{Stop, Stopping, entrance::Entrance};
use crate::{
    facts::{Connection, Scheme},
    http::{Connections, Handler, Idlers},
    listener::{Accepted, Address, Listener, Proxied},
};

#[cfg(feature = "tls")]
use super::secure::Patience;
#[cfg(feature = "tls")]
use crate::listener::tls::Secured;

/// Without TLS there is no handshake to wait for.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
pub(super) struct Patience;

/// Has a server listen on more or fewer addresses while it serves.
#[derive(Clone, Debug)]
pub struct Listening(UnboundedSender<Change>);

pub(super) type Changes = UnboundedReceiver<Change>;

#[derive(Debug)]
pub(super) enum Change {
    Begin(Listener),
    End(Address),
}

pub(super) fn channel() -> (Listening, Changes) {
    let (sender, receiver) = unbounded_channel();
    (Listening(sender), receiver)
}

impl Listening {
    /// Accepts on one more listener. After the server has stopped: closes it.
    pub fn begin(&self, listener: Listener) {
        let _stopped = self.0.send(Change::Begin(listener));
    }

    /// Accepts there no more. Requests of connections that came in there are finished, and clients hear that they were
    /// the last.
    pub fn end(&self, address: &Address) {
        let _stopped = self.0.send(Change::End(address.clone()));
    }
}

/// The connections that were open when their listener ended.
#[derive(Default)]
struct Left {
    connections: JoinSet<()>,
    /// Without it they would take the order for the more urgent one.
    _stopping: Option<Stopping>,
}

/// What is open: listeners, and connections.
pub(super) struct Open<S> {
    connections: Connections<S>,
    places: Arc<Semaphore>,
    entrance: Entrance,
    patience: Patience,
    listeners: Vec<(Address, Stopping)>,
    accepting: JoinSet<Left>,
    /// Those of listeners that have ended.
    left: JoinSet<()>,
}

impl<S: Handler> Open<S> {
    pub(super) fn new(
        connections: Connections<S>,
        most: usize,
        entrance: Entrance,
        patience: Patience,
    ) -> Self {
        let (accepting, left) = (JoinSet::new(), JoinSet::new());
        let (places, listeners) = (Arc::new(Semaphore::new(most)), Vec::new());
        Self { connections, places, entrance, patience, listeners, accepting, left }
    }

    pub(super) fn listen(&mut self, listener: Listener) {
        let stopping = Stopping::new();
        self.listeners.push((listener.address().clone(), stopping.clone()));
        let (connections, entrance) = (self.connections.clone(), self.entrance.clone());
        let places = Places { free: Arc::clone(&self.places), idlers: connections.idlers().clone() };
        let served = Served::new(&listener, connections, entrance, &self.patience, &stopping);
        self.accepting.spawn(accept(listener, served, places, stopping));
    }

    fn end(&mut self, address: &Address) {
        if let Some(place) = self.listeners.iter().position(|(other, _)| other == address) {
            self.listeners.swap_remove(place).1.stop();
        }
    }

    /// Goes on until `stopped`; then nothing is accepted any more.
    pub(super) async fn until(&mut self, stopped: impl Future<Output = ()>, mut changes: Option<Changes>) {
        let mut stopped = std::pin::pin!(stopped);
        loop {
            tokio::select! {
                change = next(&mut changes) => match change {
                    Change::Begin(listener) => self.listen(listener),
                    Change::End(address) => self.end(&address),
                },
                Some(ended) = self.accepting.join_next() => self.leave(ended.unwrap_or_default()),
                Some(_) = self.left.join_next() => {}
                () = stopped.as_mut() => break,
            }
        }
        for (_, stopping) in self.listeners.drain(..) {
            stopping.stop();
        }
    }

    /// Waits until all connections have ended; tells when nobody accepts any more.
    pub(super) async fn finish(mut self, closed: impl FnOnce()) {
        while let Some(ended) = self.accepting.join_next().await {
            // One that panicked has lost its connections with it; the others go on.
            self.leave(ended.unwrap_or_default());
        }
        closed();
        while self.left.join_next().await.is_some() {}
    }

    fn leave(&mut self, left: Left) {
        self.left.spawn(left.finish());
    }
}

impl Left {
    async fn finish(mut self) {
        while self.connections.join_next().await.is_some() {}
    }
}

/// Waits for ever, if nobody is going to change anything.
async fn next(changes: &mut Option<Changes>) -> Change {
    if let Some(open) = changes {
        if let Some(change) = open.recv().await {
            return change;
        }
        *changes = None;
    }
    std::future::pending().await
}

/// How the connections of a listener are served.
#[derive(Clone)]
struct Served<S> {
    connections: Connections<S>,
    entrance: Entrance,
    proxied: Proxied,
    /// What the listener is called where TLS is not spoken.
    clear: Arc<str>,
    /// And where it is.
    #[cfg(feature = "tls")]
    secure: Arc<str>,
    #[cfg(feature = "tls")]
    patience: Patience,
    #[cfg(feature = "tls")]
    secured: Secured,
    stop: watch::Receiver<Stop>,
}

impl<S: Handler> Served<S> {
    fn new(
        listener: &Listener,
        connections: Connections<S>,
        entrance: Entrance,
        #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "there is no handshake"))]
        patience: &Patience,
        stopping: &Stopping,
    ) -> Self {
        Self {
            connections,
            entrance,
            proxied: listener.is_proxied(),
            clear: listener.address().named(Scheme::Http).into(),
            #[cfg(feature = "tls")]
            secure: listener.address().named(Scheme::Https).into(),
            #[cfg(feature = "tls")]
            patience: patience.clone(),
            #[cfg(feature = "tls")]
            secured: listener.secured().clone(),
            stop: stopping.watch(),
        }
    }

    /// Serves a connection to its end.
    // Boxed, since they are large, and moved several times on their way into a task.
    fn serve(&self, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if self.proxied == Proxied::Yes {
            let (served, entrance, stop) = (self.clone(), self.entrance.clone(), self.stop.clone());
            return Box::pin(async move {
                if let Some(accepted) = entrance.announced(accepted, stop).await {
                    served.let_in(accepted).await;
                }
            });
        }
        self.let_in(accepted)
    }

    /// Serves a connection of whom is known who has made it.
    fn let_in(&self, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self.entrance.enter(&accepted.peer) {
            Some(place) if place.is_none() => self.secure(accepted),
            Some(place) => {
                let serving = self.secure(accepted);
                Box::pin(async move {
                    serving.await;
                    drop(place);
                })
            }
            None => Box::pin(std::future::ready(())),
        }
    }

    fn secure(&self, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Accepted { stream, peer, local } = accepted;
        #[cfg(feature = "tls")]
        if let Some(tls) = self.secured.now() {
            let (connections, patience) = (self.connections.clone(), self.patience.clone());
            let (binding, stop) = (Arc::clone(&self.secure), self.stop.clone());
            return Box::pin(async move {
                let secured = patience.secure(stream, tls, peer, stop.clone()).await;
                let Some((stream, agreed)) = secured else { return };
                let connection = Connection::new(peer, local, binding, Some(agreed));
                connections.serve(TokioIo::new(stream), connection, stop).await;
            });
        }
        let connection = Connection::new(peer, local, Arc::clone(&self.clear), None);
        Box::pin(self.connections.clone().serve(TokioIo::new(stream), connection, self.stop.clone()))
    }
}

/// The places of connections.
struct Places {
    free: Arc<Semaphore>,
    idlers: Idlers,
}

impl Places {
    /// A place for one more connection. If there is none, those that wait for their clients give theirs.
    async fn one(&self) -> OwnedSemaphorePermit {
        loop {
            let free = Arc::clone(&self.free);
            if let Ok(place) = Arc::clone(&free).try_acquire_owned() {
                return place;
            }
            self.idlers.make_room();
            // Whoever was told may have got a request just then, or none had waited long enough.
            if let Ok(place) = tokio::time::timeout(ASK_AGAIN, free.acquire_owned()).await {
                return place.expect("never closed");
            }
        }
    }
}

/// How long a connection may take to leave for another one before the next is asked.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Accepts connections until the stop; gives back those that are open then.
async fn accept<S: Handler>(
    listener: Listener,
    served: Served<S>,
    places: Places,
    stopping: Stopping,
) -> Left {
    let mut open = JoinSet::new();
    let mut stopped = Box::pin(stopping.asked());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped.as_mut() => break,
        };
        // Those that have ended; otherwise the set grows for as long as the listener lives.
        while open.try_join_next().is_some() {}
        // Only now: nobody has to leave for a client that has not come.
        let place = tokio::select! {
            place = places.one() => Some(place),
            // As those that nobody had the time to accept.
            () = stopped.as_mut() => None,
        };
        let (serving, is_over) = (served.serve(accepted), place.is_none());
        open.spawn(async move {
            serving.await;
            drop(place);
        });
        if is_over {
            break;
        }
    }
    // They came before the stop, though nobody had the time to accept them.
    for accepted in listener.close() {
        open.spawn(served.serve(accepted));
    }
    drop(stopped);
    Left { connections: open, _stopping: Some(stopping) }
}
