//! One connection: from a byte stream to requests, until it ends or is told to.

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Request, Response, Version, header};
use hyper::{
    body::Incoming,
    rt::{Read, Write},
};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use tokio::sync::watch;
use tower_service::Service;

use super::Outgoing;
use crate::{
    Body,
    facts::{Connection, Facts},
    stop::Stop,
};

/// What connections may cost.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How long a request's head may take to arrive.
    pub(crate) header_timeout: Duration,
    /// Size of a request's head.
    pub(crate) max_head: usize,
    /// Requests at a time on an HTTP/2 connection.
    pub(crate) max_streams: u32,
    /// How long an idle connection stays open after a stop: a client may be about to send.
    pub(crate) linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            max_head: 64 * 1024,
            max_streams: 128,
            linger: Duration::from_millis(500),
        }
    }
}

/// Serves connections.
#[derive(Clone)]
pub(crate) struct Connections<S> {
    service: S,
    builder: auto::Builder<TokioExecutor>,
    linger: Duration,
    stop: watch::Receiver<Stop>,
}

impl<S> Connections<S>
where
    S: Service<Request<Body>, Response = Response<Outgoing>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    pub(crate) fn new(service: S, limits: &Limits, stop: watch::Receiver<Stop>) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.max_head)
            // Answers to pipelined requests leave together.
            .pipeline_flush(true);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_streams)
            .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
            .enable_connect_protocol()
            .keep_alive_interval(Duration::from_secs(60))
            .adaptive_window(true);
        Self { service, builder, linger: limits.linger, stop }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve<I>(self, stream: I, connection: Connection)
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let service =
            Requests { service: self.service, connection: Arc::new(connection), stop: self.stop.clone() };
        let mut serving = pin!(self.builder.serve_connection_with_upgrades(stream, service));
        let mut stop = self.stop;
        let first = tokio::select! {
            ended = serving.as_mut() => Some(ended),
            _ = stop.wait_for(|stop| *stop != Stop::Run) => None,
        };
        let ended = match first {
            Some(ended) => ended,
            None => {
                // From now on every answer says that it is the last. A client that is about to send gets its answer.
                let lingered = tokio::time::timeout(self.linger, serving.as_mut()).await;
                match lingered {
                    Ok(ended) => ended,
                    Err(_) => {
                        serving.as_mut().graceful_shutdown();
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

/// hyper's requests as ours.
struct Requests<S> {
    service: S,
    connection: Arc<Connection>,
    stop: watch::Receiver<Stop>,
}

impl<S> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Body>, Response = Response<Outgoing>, Error = Infallible> + Clone,
{
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Responding<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Responding<S::Future> {
        let mut request = request.map(Body::from);
        let version = request.version();
        request.extensions_mut().insert(Facts::new(Arc::clone(&self.connection)));
        Responding { inner: self.service.clone().call(request), version, stop: self.stop.clone() }
    }
}

pin_project_lite::pin_project! {
    /// A response to come, which will say if it is the connection's last.
    struct Responding<F> {
        #[pin]
        inner: F,
        version: Version,
        stop: watch::Receiver<Stop>,
    }
}

impl<F: Future<Output = Result<Response<Outgoing>, Infallible>>> Future for Responding<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.inner.poll(cx));
        let stopping = *this.stop.borrow() != Stop::Run;
        let upgrade = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
        if stopping && !upgrade && *this.version <= Version::HTTP_11 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}
