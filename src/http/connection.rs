//! One connection: from a byte stream to requests, until it ends or is told to.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use hyper::rt::{Read, Write};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use tokio::sync::watch;
use tower_service::Service;

use super::{
    head_timer,
    requests::{Around, Requests},
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
    builder: auto::Builder<TokioExecutor>,
    linger: Duration,
    stop: watch::Receiver<Stop>,
}

impl<S> Connections<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Into<Failure>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    pub(crate) fn new(service: S, around: Around, limits: &Limits, stop: watch::Receiver<Stop>) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().header_read_timeout(limits.header_timeout).max_buf_size(limits.max_head);
        // Not pipeline_flush: with it hyper (1.12) takes all that a body has into memory before it writes; and while
        // bytes lie unread it withholds what is written, be it a refusal, a 101, or what the client waits for.
        if let Some(fields) = limits.max_fields {
            builder.http1().max_headers(fields);
        }
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_streams)
            .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
            .enable_connect_protocol()
            .keep_alive_interval(Duration::from_secs(60))
            .adaptive_window(true);
        Self { service, around, builder, linger: limits.linger, stop }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve<I>(self, stream: I, connection: Connection)
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let connection = Arc::new(connection);
        let service = Requests::new(self.service, self.around, Arc::clone(&connection));
        let mut builder = self.builder;
        let serving = head_timer::timed(|timer| {
            builder.http1().timer(timer);
            builder.serve_connection_with_upgrades(stream, service)
        });
        let mut serving = pin!(serving);
        let mut stop = self.stop.clone();
        let ended = match until(serving.as_mut(), &self.stop, stop.wait_for(|stop| *stop != Stop::Run)).await
        {
            Some(ended) => ended,
            None => {
                // A client that is about to send gets its answer, and hears that it is the last.
                connection.close();
                match tokio::time::timeout(self.linger, serving.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        serving.as_mut().connection().graceful_shutdown();
                        tokio::select! {
                            ended = serving => ended,
                            _ = stop.wait_for(|stop| *stop == Stop::Now) => return,
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
