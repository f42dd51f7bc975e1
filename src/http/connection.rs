//! One connection: from a byte stream to requests, until it ends or is told to.

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, Version, header};
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

use super::{
    Outgoing,
    ahead::{self, Ahead},
};
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
            header_timeout: Duration::from_secs(30),
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
            .max_buf_size(limits.max_head);
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
        Self { service, builder, linger: limits.linger, stop }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve<I>(self, stream: I, connection: Connection)
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let connection = Arc::new(connection);
        let service = Requests { service: Mutex::new(self.service), connection: Arc::clone(&connection) };
        let mut serving = pin!(self.builder.serve_connection_with_upgrades(stream, service));
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

/// hyper's requests as ours.
struct Requests<S> {
    // Not a clone for each request: the counts of what clones share are fought for by all threads, this lock by none.
    service: Mutex<S>,
    connection: Arc<Connection>,
}

impl<S> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Body>, Response = Response<Outgoing>, Error = Infallible> + Clone,
{
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Responding<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Responding<S::Future> {
        let (mut request, ahead) = read_ahead(request);
        let (version, head) = (request.version(), *request.method() == Method::HEAD);
        Facts::new(Arc::clone(&self.connection)).put_into(request.extensions_mut());
        let connection = Arc::clone(&self.connection);
        let inner = Some(self.service.lock().unwrap_or_else(PoisonError::into_inner).call(request));
        Responding { inner, ahead, version, head, connection }
    }
}

/// Looks out for the client where hyper would not.
fn read_ahead(request: Request<Incoming>) -> (Request<Body>, Option<Ahead>) {
    let needless = request.version() > Version::HTTP_11 // HTTP/2 tells of a client's end by itself
        || http_body::Body::is_end_stream(request.body())
        || request.headers().contains_key(header::EXPECT); // reading would ask for it
    if needless {
        return (request.map(Body::from), None);
    }
    let (parts, body) = request.into_parts();
    let (body, ahead) = ahead::read(body);
    (Request::from_parts(parts, Body::new(body)), Some(ahead))
}

pin_project_lite::pin_project! {
    /// A response to come, which will say if it is the connection's last.
    struct Responding<F> {
        // None: nobody waits for it any more.
        #[pin]
        inner: Option<F>,
        ahead: Option<Ahead>,
        version: Version,
        head: bool,
        connection: Arc<Connection>,
    }
}

impl<F: Future<Output = Result<Response<Outgoing>, Infallible>>> Future for Responding<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(Poll::Ready(answer)) = this.inner.as_mut().as_pin_mut().map(|inner| inner.poll(cx)) else {
            let Some(ahead) = this.ahead else { return Poll::Pending };
            ready!(ahead.poll_gone(cx));
            // This is the cancellation; what is answered goes nowhere.
            this.inner.set(None);
            return Poll::Ready(Ok(Response::new(Outgoing::nothing())));
        };
        let Ok(mut response) = answer;
        if *this.head {
            without_body(&mut response);
        }
        let upgrade = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
        if this.connection.is_closing() && !upgrade && *this.version <= Version::HTTP_11 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

/// What answers a HEAD: the fields of a GET. hyper leaves the body out by itself, but in HTTP/1.1 only.
fn without_body(response: &mut Response<Outgoing>) {
    let length = http_body::Body::size_hint(response.body()).exact().filter(|length| *length > 0);
    if let Some(length) = length {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response.body_mut().silence();
}
