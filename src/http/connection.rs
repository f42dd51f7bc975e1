//! One connection: from a byte stream to requests, until it ends or is told to.

use std::{
    future::Future,
    io,
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
    progress::Progress,
    quiet,
    requests::{Around, Requests},
    socket::Socket,
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
    pub(crate) async fn serve<I>(self, mut stream: I, connection: Connection, stop: watch::Receiver<Stop>)
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let progress = Arc::<Progress>::default();
        self.idlers.enter(&progress);
        let connection = Arc::new(connection);
        let mut serving = Serving { protocols: self.protocols, connection, progress, stop };
        let Limits { header_timeout, keep_alive_timeout, .. } = serving.protocols.limits;
        let (version, mut first) = match version::agreed(&serving.connection) {
            Some(version) => (version, Vec::new()),
            None => match serving.heard(header_timeout, version::find_out(&mut stream)).await {
                Some(found) => found,
                None => return,
            },
        };
        if version == version::Version::Http2 {
            let requests = serving.requests(self.service, self.around);
            return serving.http2(stream, first, requests).await;
        }
        loop {
            let requests = serving.requests(self.service.clone(), self.around.clone());
            let Some(quiet) = serving.http1(stream, first, requests).await else { return };
            stream = quiet;
            let left =
                keep_alive_timeout.map(|limit| limit.saturating_sub(serving.progress.idler().waited()));
            first = match serving.heard(left, quiet::first(&mut stream)).await {
                Some(first) if !first.is_empty() => first,
                _ => return quiet::end(stream).await,
            };
        }
    }
}

/// A connection that is served, whatever its version.
struct Serving {
    protocols: Arc<Protocols>,
    connection: Arc<Connection>,
    progress: Arc<Progress>,
    stop: watch::Receiver<Stop>,
}

impl Serving {
    /// What surrounds its requests.
    fn requests<S>(&self, service: S, around: Around) -> Requests<S> {
        Requests::new(service, around, Arc::clone(&self.connection), Arc::clone(&self.progress))
    }

    /// What `hearing` comes to; `None` when the client says nothing within `limit`, or the connection is to end.
    async fn heard<T>(
        &mut self,
        limit: Option<Duration>,
        hearing: impl Future<Output = io::Result<T>>,
    ) -> Option<T> {
        let mut hearing = pin!(async {
            match limit {
                Some(limit) => tokio::time::timeout(limit, hearing).await.ok()?.ok(),
                None => hearing.await.ok(),
            }
        });
        let (order, idler) = (self.stop.clone(), self.progress.idler());
        match until(hearing.as_mut(), &order, self.stop.wait_for(is_ordered), idler).await {
            Until::Ended(heard) => heard,
            Until::Stop => {
                // A client that is about to send gets its answer, and hears that it is the last.
                self.connection.close();
                tokio::time::timeout(self.protocols.linger, hearing).await.ok()?
            }
            Until::Leave => None,
        }
    }

    /// Serves HTTP/1 until the connection ends; or until its client has been silent for a while: then the stream is left.
    async fn http1<I, S>(&mut self, stream: I, first: Vec<u8>, requests: Requests<S>) -> Option<I>
    where
        I: Read + Write + Unpin + Send + 'static,
        S: Handler,
    {
        let limits = &self.protocols.limits;
        let (connection, progress) = (Arc::clone(&self.connection), Arc::clone(&self.progress));
        let socket = Socket::new(stream, first, Arc::clone(&progress), limits.send_timeout);
        let home = socket.home();
        let mut http1 = self.protocols.http1.clone();
        let waits = head_timer::Waits::new(limits, Arc::clone(&progress));
        let timed = head_timer::timed(waits, |timer| {
            http1.timer(timer);
            http1.serve_connection(socket, requests).with_upgrades()
        });
        // Boxed, so that nothing is kept of it while the client is silent.
        let mut serving = Box::pin(Http1 { timed, progress, connection });
        self.serve(serving.as_mut()).await;
        drop(serving);
        home.take()
    }

    /// Serves HTTP/2 until the connection ends.
    async fn http2<I, S>(mut self, stream: I, first: Vec<u8>, requests: Requests<S>)
    where
        I: Read + Write + Unpin + Send + 'static,
        S: Handler,
    {
        let limits = &self.protocols.limits;
        let progress = Arc::clone(&self.progress);
        let socket = Socket::new(stream, first, Arc::clone(&progress), limits.send_timeout);
        let streams = Streams::new(limits.send_timeout);
        let open = streams.open();
        let counted = TokioIo::new(Guarded::new(TokioIo::new(socket), limits.useless_frames));
        let connection = self.protocols.http2(streams).serve_connection(counted, requests);
        // Boxed, so that the others, of which there may be thousands, need no room for it.
        let mut serving = Box::pin(idle::ended(connection, limits.keep_alive_timeout, open, progress));
        self.serve(serving.as_mut()).await;
    }

    async fn serve(&mut self, mut serving: Pin<&mut impl Graceful>) {
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
        let (order, idler) = (self.stop.clone(), self.progress.idler());
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
    /// A connection of HTTP/1, which does not rest while answers are held, and gives its stream back when its client is
    /// silent.
    struct Http1<C> {
        #[pin]
        timed: C,
        progress: Arc<Progress>,
        connection: Arc<Connection>,
    }
}

impl<I, S> Future for Http1<Timed<http1::UpgradeableConnection<Socket<I>, Requests<S>>>>
where
    I: Read + Write + Unpin + Send + 'static,
    S: Handler,
{
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(ended) = this.timed.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        if this.progress.is_resting() {
            // In each poll hyper flushes, and the next flush is one that sends.
            this.progress.urgent();
            cx.waker().wake_by_ref();
        }
        if this.timed.is_quiet() && this.progress.is_done() && !this.connection.is_closing() {
            this.progress.part();
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

impl<I, S> Graceful for Http1<Timed<http1::UpgradeableConnection<Socket<I>, Requests<S>>>>
where
    I: Read + Write + Unpin + Send + 'static,
    S: Handler,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.project().timed.connection().graceful_shutdown();
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
