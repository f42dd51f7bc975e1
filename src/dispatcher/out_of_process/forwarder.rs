//! The way of one request to an instance, and of its answer back.
//!
//! In: a routed request with its facts. Out: the instance's response, or why there is none. Never: waits longer than
//! the limits say, or keeps the instance at work for a client that has gone: dropping the future, or the response's
//! body, closes the instance's stream.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::{sync::oneshot, time::Instant};

use super::{
    answer::{self, Exchange},
    certificate,
    connection::Sent,
    facts::{self as carried, Clock, Host},
    flights::{Flights, Line},
    forwarded,
    parcel::{Parcel, Undelivered},
    pool::{Carrier, Choice, Company, Lease, Pool},
    switch::Switch,
    target::{Peer, Protocol, Target},
    upload::{Start, Upload, Watch},
};
use crate::{
    Body, Failure,
    facts::{Base, End, Facts},
    failure::{Code, told},
    fields::{self, Sender},
};

/// Carries requests to one instance. Clones share its connections.
#[derive(Clone)]
pub struct Forwarder(Arc<Inner>);

struct Inner {
    target: Target,
    token: Option<HeaderValue>,
    pool: Arc<Pool>,
}

impl Forwarder {
    /// A forwarder to `target`. It connects with the first request.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self::watched(target).0
    }

    /// A forwarder, and what ends when nobody has a clone of it, and all that went through it has ended: requests,
    /// answers with their bodies, upgraded streams.
    pub(crate) fn watched(target: Target) -> (Self, oneshot::Receiver<Infallible>) {
        let token = match &target.peer {
            Peer::Foreign { token: Some(token) } => secret(token),
            Peer::Foreign { token: None } | Peer::Runner => None,
        };
        let (pool, over) = Pool::new(&target);
        (Self(Arc::new(Inner { target, token, pool: Arc::new(pool) })), over)
    }

    /// The requests that the instance has.
    pub(crate) fn flights(&self) -> Arc<Flights> {
        self.0.pool.flights()
    }

    /// Requests on connections of the instance that have not ended.
    pub(crate) fn in_flight(&self) -> usize {
        // One is ours.
        Arc::strong_count(&self.0.pool).saturating_sub(1)
    }

    /// Whether this is the only clone, and nothing is left of what went through it.
    pub(crate) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && self.in_flight() == 0
    }

    /// Carries one request.
    ///
    /// # Errors
    /// `connect_failed`, `tls_failed`, `instance_lost`, `bad_gateway`, `first_byte_timeout`; `bad_request` for a
    /// CONNECT that no application can take; and the code of the request body's own failure, if it had one.
    pub async fn forward(&self, request: Request<Body>) -> Result<Response<Body>, Failure> {
        self.carry(request).await.map_err(|undelivered| undelivered.failure)
    }

    /// Carries one request, and has it back if the instance has seen nothing of it.
    pub(crate) async fn carry(&self, request: Request<Body>) -> Result<Response<Body>, Undelivered> {
        let parcel = self.0.pack(request)?;
        self.0.deliver(parcel, None).await
    }

    /// Makes of a request what its instance gets, or another one that speaks the same.
    #[cfg(feature = "front")]
    pub(crate) fn pack(&self, request: Request<Body>) -> Result<Parcel, Failure> {
        self.0.pack(request)
    }

    /// Carries what was packed, with `company` until the answer has ended.
    #[cfg(feature = "front")]
    pub(crate) async fn deliver(
        &self,
        parcel: Parcel,
        company: Arc<dyn Company>,
    ) -> Result<Response<Body>, Undelivered> {
        self.0.deliver(parcel, Some(company)).await
    }

    /// Carries a request that was meant for another instance of the same application.
    pub(crate) async fn carry_instead(&self, mut parcel: Parcel) -> Result<Response<Body>, Failure> {
        self.0.pair(&mut parcel.request);
        self.0.deliver(parcel, None).await.map_err(|undelivered| undelivered.failure)
    }

    /// Whether both are the same, or clones of it.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl tower_service::Service<Request<Body>> for Forwarder {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let forwarder = self.clone();
        Box::pin(async move { forwarder.forward(request).await })
    }
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Forwarder").field(&self.0.target).finish()
    }
}

impl Inner {
    fn pack(&self, mut request: Request<Body>) -> Result<Parcel, Failure> {
        let facts = Facts::take_from(request.extensions_mut()).unwrap_or_else(Facts::unknown);
        let (method, path) = (request.method().clone(), request.uri().path_and_query().cloned());
        let line = Line { request: facts.request_id, method, path };
        let switch = Switch::of(&mut request)?;
        let carrier = self.carrier(&request, &switch);
        let (request, watch) = self.outgoing(request, &facts, &switch, carrier)?;
        Ok(Parcel { line, request, watch, switch, carrier })
    }

    async fn deliver(
        &self,
        parcel: Parcel,
        company: Option<Arc<dyn Company>>,
    ) -> Result<Response<Body>, Undelivered> {
        let Parcel { line, request, watch, switch, carrier } = parcel;
        let (response, mut lease) = match self.exchange(&line, request, carrier, watch.as_deref()).await {
            Ok(begun) => begun,
            Err((failure, request)) => {
                let parcel = |request| Box::new(Parcel { line, request, watch, switch, carrier });
                let untouched = request.map(parcel);
                return Err(Undelivered { failure, untouched });
            }
        };
        lease.accompany(company);
        if matches!(self.target.peer, Peer::Runner)
            && let Some(failure) = told::read(response.headers())
        {
            answer::discard(&response, answer::Exchange { lease, watch, carrier });
            return Err(failure.into());
        }
        if switch.accepted(response.status(), carrier)? {
            return Ok(switch.join(response, lease));
        }
        if let Some(watch) = &watch
            && !response.status().is_client_error()
            && !response.status().is_server_error()
        {
            watch.open(); // it answers first and reads then; a refusal wants no body
        }
        Ok(answer::pass(response, Exchange { lease, watch, carrier }, self.target.limits.idle)?)
    }

    /// HTTP/1.1 where it loses nothing. Its client side sends only trailers that were announced, and an upgrade
    /// exists only there.
    fn carrier(&self, request: &Request<Body>, switch: &Switch) -> Carrier {
        let needs_http2 = || {
            let fields = request.headers();
            request.version() == Version::HTTP_2
                // The runner's parser of HTTP/1 takes no more, with those that we add.
                || fields.len() > FIELDS
                || fields.contains_key(TRAILER)
                || fields::has_token(fields, &TE, "trailers")
        };
        match (&self.target.peer, switch) {
            (_, Switch::Upgrade { .. }) => Carrier::Http1,
            (Peer::Runner, Switch::Connect { .. }) => Carrier::Http2,
            (Peer::Runner, Switch::No) if needs_http2() => Carrier::Http2,
            (Peer::Runner, Switch::No) => Carrier::Http1,
            (Peer::Foreign { .. }, _) => match self.target.protocol {
                Protocol::Http1 => Carrier::Http1,
                Protocol::Http2 => Carrier::Http2,
            },
        }
    }

    /// Shows a foreign program that the request comes through the host.
    fn pair(&self, request: &mut Request<Upload>) {
        if let Some(token) = &self.token {
            request.headers_mut().insert(&TOKEN, token.clone());
        }
    }

    /// The request as the instance gets it.
    fn outgoing(
        &self,
        request: Request<Body>,
        facts: &Facts,
        switch: &Switch,
        carrier: Carrier,
    ) -> Result<(Request<Upload>, Option<Arc<Watch>>), Failure> {
        let (mut parts, body) = request.into_parts();
        let version = parts.version;
        let start = self.start(&parts, carrier);
        // hyper's own notes on the client's request mean something else on ours.
        Facts::leave(std::mem::take(&mut parts.extensions));
        let authority = authority(&parts);
        self.write_fields(&mut parts, facts, authority.as_ref(), version);
        switch.ask(&mut parts, carrier)?;
        match carrier {
            Carrier::Http1 => self.write_http1(&mut parts, facts, authority, &body)?,
            Carrier::Http2 => self.write_http2(&mut parts, facts, authority.as_ref())?,
        }
        let (upload, watch) = Upload::new(body, start);
        let mut request = Request::from_parts(parts, upload);
        listen(&mut request, watch.as_ref(), carrier);
        Ok((request, watch))
    }

    /// First everything is removed that a client may not say, then the host's fields are added.
    fn write_fields(
        &self,
        parts: &mut http::request::Parts,
        facts: &Facts,
        authority: Option<&HeaderValue>,
        version: Version,
    ) {
        match &self.target.peer {
            Peer::Runner => {
                // The application sees the client's fields as it would in the host's process, and learns from its
                // facts who the client is.
                fields::clean_for_library(&mut parts.headers);
                let host = if authority.is_some() { Host::Named } else { Host::Unnamed };
                let facts = carried::encode(facts, version, host, Clock::read);
                parts.headers.insert(carried::FIELD, facts);
            }
            Peer::Foreign { .. } => {
                let sender = if facts.forwarded.is_some() { Sender::Trusted } else { Sender::Untrusted };
                fields::clean_request(&mut parts.headers, sender);
                forwarded::write(&mut parts.headers, facts, authority);
                if let Some(token) = &self.token {
                    parts.headers.insert(&TOKEN, token.clone());
                }
                certificate::write(&mut parts.headers, facts, self.token.is_some());
            }
        }
    }

    fn write_http1(
        &self,
        parts: &mut http::request::Parts,
        facts: &Facts,
        authority: Option<HeaderValue>,
        body: &Body,
    ) -> Result<(), Failure> {
        parts.version = Version::HTTP_11;
        parts.uri = Uri::from(self.path(&parts.uri, facts)?);
        // One field, also when the client put another authority into its request line.
        let host = authority.unwrap_or_else(|| nameless(facts));
        parts.headers.insert(HOST, host);
        // hyper would take a GET of unknown length for one without a body.
        if !body.is_end_stream()
            && !parts.headers.contains_key(CONTENT_LENGTH)
            && body.size_hint().exact().is_none()
        {
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Ok(())
    }

    fn write_http2(
        &self,
        parts: &mut http::request::Parts,
        facts: &Facts,
        authority: Option<&HeaderValue>,
    ) -> Result<(), Failure> {
        parts.version = Version::HTTP_2;
        let authority = authority.cloned().unwrap_or_else(|| nameless(facts));
        let authority = Authority::try_from(authority.as_bytes()).map_err(|error| {
            Failure::new(Code::BadRequest).detail("the host is no authority").source(error)
        })?;
        let mut uri = http::uri::Parts::default();
        // The scheme of this connection; servers refuse another. The client's is among the facts.
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(authority);
        uri.path_and_query = Some(self.path(&parts.uri, facts)?);
        parts.uri = Uri::from_parts(uri)
            .map_err(|error| Failure::new(Code::BadRequest).detail("the target is no URI").source(error))?;
        if !matches!(self.target.peer, Peer::Runner) {
            parts.headers.remove(HOST);
        }
        Ok(())
    }

    /// The whole path. A foreign program knows its path base by itself, so it wants it back if somebody took it off;
    /// the runner is told.
    fn path(&self, uri: &Uri, facts: &Facts) -> Result<PathAndQuery, Failure> {
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let removed = facts.base == Base::Removed && !facts.path_base.is_empty();
        if !removed || matches!(self.target.peer, Peer::Runner) || path.as_str() == "*" {
            return Ok(path);
        }
        let whole = format!("{}{path}", utf8_percent_encode(&facts.path_base, NOT_IN_PATHS));
        PathAndQuery::try_from(whole)
            .map_err(|error| Failure::new(Code::BadRequest).detail("the path base is no path").source(error))
    }

    fn start(&self, parts: &http::request::Parts, carrier: Carrier) -> Start {
        let waits = parts
            .headers
            .get(EXPECT)
            .is_some_and(|expects| expects.as_bytes().eq_ignore_ascii_case(CONTINUE));
        match (carrier, &self.target.peer) {
            // hyper's HTTP/2 side does not tell of a 100.
            (Carrier::Http2, _) => Start::AtOnce,
            (Carrier::Http1, _) if !waits || parts.version < Version::HTTP_11 => Start::AtOnce,
            (Carrier::Http1, Peer::Runner) => Start::WhenAsked,
            (Carrier::Http1, Peer::Foreign { .. }) => Start::WhenAskedOrLate,
        }
    }

    /// Sends the request, again only if hyper gives it back untouched: then the connection was dead before.
    async fn exchange(
        &self,
        line: &Line,
        mut request: Request<Upload>,
        carrier: Carrier,
        watch: Option<&Watch>,
    ) -> Result<(Response<Incoming>, Lease), (Failure, Option<Request<Upload>>)> {
        let mut attempt = 1;
        loop {
            let choice = if attempt < ATTEMPTS { Choice::Any } else { Choice::Fresh };
            let mut lease = match self.pool.lease(carrier, choice, line).await {
                Ok(lease) => lease,
                Err(failure) => return Err((failure, Some(request))),
            };
            match self.begun(&mut lease, request, watch).await.map_err(|failure| (failure, None))? {
                Ok(response) => {
                    if watch.is_some_and(|watch| !watch.is_done()) {
                        lease.detach(); // the client may send on before it reads
                    }
                    return Ok((response, lease));
                }
                Err(mut error) => match error.take_message() {
                    Some(untouched) if attempt < ATTEMPTS => request = untouched,
                    untouched => {
                        if untouched.is_none() {
                            lease.broke();
                        }
                        let failure = answer::lost(error.into_error(), watch, &self.target.endpoint);
                        return Err((failure, untouched));
                    }
                },
            }
            attempt += 1;
        }
    }

    /// Waits until the answer begins. Time during which the instance waits for the client does not count.
    async fn begun(
        &self,
        lease: &mut Lease,
        request: Request<Upload>,
        watch: Option<&Watch>,
    ) -> Result<Sent, Failure> {
        let limit = self.target.limits.first_byte;
        let mut answer = pin!(lease.send(request));
        let mut seen = 0;
        poll_fn(|cx| {
            if let Poll::Ready(sent) = lease.drive(cx, |cx| answer.as_mut().poll(cx)) {
                return Poll::Ready(Ok(sent));
            }
            while lease.timer().poll(cx, limit).is_ready() {
                if !watch.is_some_and(|watch| watch.is_under_way(&mut seen)) {
                    lease.was_slow();
                    return Poll::Ready(Err(Failure::new(Code::FirstByteTimeout)
                        .detail(format!("{} sent no answer within {limit:?}", self.target.endpoint))));
                }
                lease.timer().start(Instant::now());
            }
            Poll::Pending
        })
        .await
    }
}

/// Hears the instance's interim answers. Only 100 has an effect: hyper's server cannot send the others on.
fn listen(request: &mut Request<Upload>, watch: Option<&Arc<Watch>>, carrier: Carrier) {
    let gate = watch.filter(|watch| watch.is_shut()).cloned();
    // An allocation for each request, so only where somebody is interested.
    if carrier == Carrier::Http2 || (gate.is_none() && !tracing::enabled!(tracing::Level::DEBUG)) {
        return;
    }
    hyper::ext::on_informational(request, move |interim| match (&gate, interim.status()) {
        (Some(gate), http::StatusCode::CONTINUE) => gate.open(),
        (_, status) => tracing::debug!(%status, "interim answer of the instance dropped"),
    });
}

/// The authority the client asked for. The one in the request line counts, if there is one (RFC 9112, 3.2.2).
fn authority(parts: &http::request::Parts) -> Option<HeaderValue> {
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts.headers.get(HOST).cloned(),
    }
}

/// A host for requests of HTTP/1.0 that name none.
fn nameless(facts: &Facts) -> HeaderValue {
    match facts.connection.local {
        End::Ip(local) => HeaderValue::from_str(&local.to_string()).unwrap_or(LOCALHOST),
        End::Unix | End::Unknown => LOCALHOST,
    }
}

fn secret(token: &str) -> Option<HeaderValue> {
    let mut value = match HeaderValue::from_str(token) {
        Ok(value) => value,
        Err(_) => {
            tracing::error!(
                "the pairing token is no field value; the instance will refuse requests without it"
            );
            return None;
        }
    };
    value.set_sensitive(true);
    Some(value)
}

/// A client's fields that go on in HTTP/1.
const FIELDS: usize = 100;

/// Where the pairing token stands.
static TOKEN: HeaderName = HeaderName::from_static("ms-aspnetcore-token");
const CONTINUE: &[u8] = b"100-continue";
const LOCALHOST: HeaderValue = HeaderValue::from_static("localhost");
/// Twice on kept connections, then once on a fresh one.
const ATTEMPTS: u32 = 3;
/// What a decoded path base may contain and a path may not.
const NOT_IN_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');
