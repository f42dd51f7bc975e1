//! One connection: from a byte stream to requests, until it ends or is told to.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    rt::{Read, Write},
    server::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tower_service::Service;

use super::{
    flood::Guarded,
    head_timer::{self, Timed},
    idle,
    idlers::{Idler, Idlers},
    limits::{Limits, Protocols},
    requests::{Around, Requests},
    socket::{Pipeline, Socket},
    streams::Streams,
    version,
};
use crate::{Body, Failure, facts::Connection, stop::Stop};

/// Serves connections.
#[derive(Clone)]
pub(crate) struct Connections<S> {
    service: S,
    around: Around,
    protocols: Arc<Protocols>,
    idlers: Idlers,
}

/// The service behind all connections.
pub(crate) trait Handler:
    Service<Request<Body>, Response = Response<Body>, Error: Into<Failure>, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Handler for S where
    S: Service<Request<Body>, Response = Response<Body>, Error: Into<Failure>, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

impl<S: Handler> Connections<S> {
    /// Idle ones stay open for `linger` after a stop: a client may be about to send.
    pub(crate) fn new(service: S, around: Around, limits: &Limits, linger: Duration) -> Self {
        let protocols = Arc::new(Protocols::new(limits, linger));
        Self { service, around, protocols, idlers: Idlers::default() }
    }

    /// Those that wait for their clients.
    pub(crate) fn idlers(&self) -> &Idlers {
        &self.idlers
    }

    /// Serves one connection to its end, which `stop` hastens.
    pub(crate) async fn serve<I>(
        mut self,
        mut stream: I,
        connection: Connection,
        mut stop: watch::Receiver<Stop>,
    ) where
        I: Read + Write + Unpin + Send + 'static,
    {
        let pipeline = Arc::<Pipeline>::default();
        self.idlers.enter(&pipeline);
        let (version, first) = match version::agreed(&connection) {
            Some(version) => (version, Vec::new()),
            None => match self.version(&mut stream, &mut stop, pipeline.idler()).await {
                Some(found) => found,
                None => return,
            },
        };
        let send_timeout = self.protocols.limits.send_timeout;
        let socket = Socket::new(stream, first, Arc::clone(&pipeline), send_timeout);
        let connection = Arc::new(connection);
        let (shared, known) = (Arc::clone(&connection), Arc::clone(&pipeline));
        let service = Requests::new(self.service, self.around, shared, known);
        let protocols = Arc::clone(&self.protocols);
        let limits = &protocols.limits;
        let waiting = Arc::clone(&pipeline);
        let serving = Serving { protocols: self.protocols, connection, pipeline: waiting, stop };
        match version {
            version::Version::Http1 => {
                let mut http1 = protocols.http1.clone();
                let waits = head_timer::Waits::new(limits, Arc::clone(&pipeline));
                let connection = head_timer::timed(waits, |timer| {
                    http1.timer(timer);
                    http1.serve_connection(socket, service).with_upgrades()
                });
                serving.serve(pin!(Http1 { connection, pipeline })).await;
            }
            // Boxed, so that the others, of which there may be thousands, need no room for it.
            version::Version::Http2 => {
                let streams = Streams::new(limits.send_timeout);
                let open = streams.open();
                let counted = TokioIo::new(Guarded::new(TokioIo::new(socket), limits.useless_frames));
                let connection = protocols.http2(streams).serve_connection(counted, service);
                let mut connection =
                    Box::pin(idle::ended(connection, limits.keep_alive_timeout, open, pipeline));
                serving.serve(connection.as_mut()).await;
            }
        }
    }

    /// What the client speaks, and its first bytes; `None` when it says nothing in time, or has left.
    async fn version<I: Read + Unpin>(
        &mut self,
        stream: &mut I,
        stop: &mut watch::Receiver<Stop>,
        idler: &Idler,
    ) -> Option<(version::Version, Vec<u8>)> {
        let limit = self.protocols.limits.header_timeout;
        let mut finding = pin!(async {
            let found = version::find_out(stream);
            match limit {
                Some(limit) => tokio::time::timeout(limit, found).await.ok()?.ok(),
                None => found.await.ok(),
            }
        });
        let order = stop.clone();
        match until(finding.as_mut(), &order, stop.wait_for(is_ordered), idler).await {
            Until::Ended(found) => found,
            Until::Stop => tokio::time::timeout(self.protocols.linger, finding).await.ok()?,
            Until::Leave => None,
        }
    }
}

/// A connection that is served, whatever its version.
struct Serving {
    protocols: Arc<Protocols>,
    connection: Arc<Connection>,
    pipeline: Arc<Pipeline>,
    stop: watch::Receiver<Stop>,
}

impl Serving {
    async fn serve(mut self, mut serving: Pin<&mut impl Graceful>) {
        let ended = match self.until_stop(serving.as_mut()).await {
            Some(ended) => ended,
            None => {
                // A client that is about to send gets its answer, and hears that it is the last.
                self.connection.close();
                match tokio::time::timeout(self.protocols.linger, serving.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        serving.as_mut().graceful_shutdown();
                        tokio::select! {
                            ended = serving => ended,
                            _ = self.stop.wait_for(|stop| *stop == Stop::Now) => return,
                        }
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }

    /// Serves to the end, also if that is brought about for want of places; `None` when the order to stop came first.
    async fn until_stop<C: Graceful>(&mut self, mut serving: Pin<&mut C>) -> Option<C::Output> {
        let (order, idler) = (self.stop.clone(), self.pipeline.idler());
        loop {
            match until(serving.as_mut(), &order, self.stop.wait_for(is_ordered), idler).await {
                Until::Ended(ended) => return Some(ended),
                Until::Stop => return None,
                Until::Leave if idler.obeys() => serving.as_mut().graceful_shutdown(),
                Until::Leave => {}
            }
        }
    }
}

fn is_ordered(stop: &Stop) -> bool {
    *stop != Stop::Run
}

/// A connection of hyper's.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
    /// Ends it once what is in flight is answered.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

pin_project_lite::pin_project! {
    /// A connection of HTTP/1, which does not rest while answers are held.
    struct Http1<C> {
        #[pin]
        connection: C,
        pipeline: Arc<Pipeline>,
    }
}

impl<I, S> Future for Http1<Timed<http1::UpgradeableConnection<Socket<I>, Requests<S>>>>
where
    I: Read + Write + Unpin + Send + 'static,
    S: Handler,
{
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let ended = this.connection.poll(cx);
        if ended.is_pending() && this.pipeline.is_resting() {
            // In each poll hyper flushes, and the next flush is one that sends.
            this.pipeline.urgent();
            cx.waker().wake_by_ref();
        }
        ended
    }
}

impl<I, S> Graceful for Http1<Timed<http1::UpgradeableConnection<Socket<I>, Requests<S>>>>
where
    I: Read + Write + Unpin + Send + 'static,
    S: Handler,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.project().connection.connection().graceful_shutdown();
    }
}

impl<I, S> Graceful for http2::Connection<I, Requests<S>, Streams>
where
    I: Read + Write + Unpin,
    S: Handler,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// What a connection was served up to.
enum Until<T> {
    /// Its end.
    Ended(T),
    /// The order to stop.
    Stop,
    /// The wish that it leaves for another one.
    Leave,
}

/// Waits for the end of `serving`, or for what comes first.
///
/// The order is listened to once and then only looked at: a connection's task is woken for every request, and asking
/// properly each time would cost more than many an answer.
async fn until<F: Future>(
    mut serving: Pin<&mut F>,
    order: &watch::Receiver<Stop>,
    stopped: impl Future,
    idler: &Idler,
) -> Until<F::Output> {
    let mut stopped = pin!(stopped);
    let mut listening = false;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(ended) = serving.as_mut().poll(cx) {
            return Poll::Ready(Until::Ended(ended));
        }
        // The task's waker stays the same, so that listening once is enough.
        if (!listening || order.has_changed().unwrap_or(true)) && stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Until::Stop);
        }
        if !std::mem::replace(&mut listening, true) {
            idler.register(cx.waker());
        }
        if idler.is_told() { Poll::Ready(Until::Leave) } else { Poll::Pending }
    })
    .await
}

#[cfg(test)]
mod tests;
