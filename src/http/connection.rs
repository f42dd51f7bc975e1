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
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::watch;
use tower_service::Service;

use super::{
    head_timer::{self, Timed},
    requests::{Around, Requests},
    socket::{Pipeline, Socket},
    version,
};
use crate::{Body, Failure, facts::Connection, stop::Stop};

/// What connections may cost.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How long a request's head may take to arrive. `None`: as long as it likes.
    pub(crate) header_timeout: Option<Duration>,
    /// Size of a request's head.
    pub(crate) max_head: usize,
    /// Fields in a request's head, where that is more than hyper's 100.
    pub(crate) max_fields: Option<usize>,
    /// Requests at a time on an HTTP/2 connection.
    pub(crate) max_streams: u32,
    /// How long an idle connection stays open after a stop: a client may be about to send.
    pub(crate) linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Some(Duration::from_secs(30)),
            max_head: 64 * 1024,
            max_fields: None,
            max_streams: 128,
            linger: Duration::from_millis(500),
        }
    }
}

/// Serves connections.
#[derive(Clone)]
pub(crate) struct Connections<S> {
    service: S,
    around: Around,
    protocols: Arc<Protocols>,
}

/// How the versions of HTTP are spoken; the same for all connections.
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    header_timeout: Option<Duration>,
    linger: Duration,
}

impl Protocols {
    fn new(limits: &Limits) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .header_read_timeout(limits.header_timeout)
            // Not max_buf_size, which limits bodies too: they would go in small pieces, with a system call each.
            .max_header_size(limits.max_head);
        // Not pipeline_flush: `socket` says why, and does it better.
        if let Some(fields) = limits.max_fields {
            http1.max_headers(fields);
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_streams)
            .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
            .enable_connect_protocol()
            .keep_alive_interval(Duration::from_secs(60))
            .adaptive_window(true);
        Self { http1, http2, header_timeout: limits.header_timeout, linger: limits.linger }
    }
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
    pub(crate) fn new(service: S, around: Around, limits: &Limits) -> Self {
        Self { service, around, protocols: Arc::new(Protocols::new(limits)) }
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
        let (version, first) = match version::agreed(&connection) {
            Some(version) => (version, Vec::new()),
            None => match self.version(&mut stream, &mut stop).await {
                Some(found) => found,
                None => return,
            },
        };
        let pipeline = Arc::<Pipeline>::default();
        let socket = Socket::new(stream, first, Arc::clone(&pipeline));
        let connection = Arc::new(connection);
        let (shared, known) = (Arc::clone(&connection), Arc::clone(&pipeline));
        let service = Requests::new(self.service, self.around, shared, known);
        let protocols = Arc::clone(&self.protocols);
        let serving = Serving { protocols: self.protocols, connection, stop };
        match version {
            version::Version::Http1 => {
                let mut http1 = protocols.http1.clone();
                let connection = head_timer::timed(|timer| {
                    http1.timer(timer);
                    http1.serve_connection(socket, service).with_upgrades()
                });
                serving.serve(pin!(Http1 { connection, pipeline })).await;
            }
            // Boxed, so that the others, of which there may be thousands, need no room for it.
            version::Version::Http2 => {
                let mut connection = Box::pin(protocols.http2.serve_connection(socket, service));
                serving.serve(connection.as_mut()).await;
            }
        }
    }

    /// What the client speaks, and its first bytes; `None` when it says nothing in time, or has left.
    async fn version<I: Read + Unpin>(
        &mut self,
        stream: &mut I,
        stop: &mut watch::Receiver<Stop>,
    ) -> Option<(version::Version, Vec<u8>)> {
        let limit = self.protocols.header_timeout;
        let mut finding = pin!(async {
            let found = version::find_out(stream);
            match limit {
                Some(limit) => tokio::time::timeout(limit, found).await.ok()?.ok(),
                None => found.await.ok(),
            }
        });
        let order = stop.clone();
        match until(finding.as_mut(), &order, stop.wait_for(is_ordered)).await {
            Some(found) => found,
            None => tokio::time::timeout(self.protocols.linger, finding).await.ok()?,
        }
    }
}

/// A connection that is served, whatever its version.
struct Serving {
    protocols: Arc<Protocols>,
    connection: Arc<Connection>,
    stop: watch::Receiver<Stop>,
}

impl Serving {
    async fn serve(mut self, mut serving: Pin<&mut impl Graceful>) {
        let order = self.stop.clone();
        let ended = match until(serving.as_mut(), &order, self.stop.wait_for(is_ordered)).await {
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
}

fn is_ordered(stop: &Stop) -> bool {
    *stop != Stop::Run
}

/// A connection of hyper's.
trait Graceful: Future<Output = hyper::Result<()>> {
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

impl<I, S> Graceful for http2::Connection<I, Requests<S>, TokioExecutor>
where
    I: Read + Write + Unpin,
    S: Handler,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Waits for the end of `serving`; `None` when the order to stop came first.
///
/// The order is listened to once and then only looked at: a connection's task is woken for every request, and asking
/// properly each time would cost more than many an answer.
async fn until<F: Future>(
    mut serving: Pin<&mut F>,
    order: &watch::Receiver<Stop>,
    stopped: impl Future,
) -> Option<F::Output> {
    let mut stopped = pin!(stopped);
    let mut listening = false;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(ended) = serving.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        // The task's waker stays the same, so that listening once is enough.
        if (!listening || order.has_changed().unwrap_or(true)) && stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        listening = true;
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests;
