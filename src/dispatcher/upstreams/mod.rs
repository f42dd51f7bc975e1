//! Servers that somebody else runs, as one application: requests are spread over them.
//!
//! In: a routed request. Out: the answer of one of them, or a [`Failure`]. Never: a request to one that is known to be
//! down while another is up; a request twice, once one of them may have seen a byte of it, unless it may be repeated;
//! or an answer that was cut short made whole.
//!
//! ```text
//!                   ┌─ health ── probes
//! request ─→ asked ─→ choosing ─→ forwarder ══ upstream ══ answer ─→ response
//! ```
//!
//! Each upstream has a forwarder of its own, the same that instances have. `choosing`, `health` and `budget` decide, and
//! have neither a clock nor a socket.

mod asked;
mod budget;
mod choosing;
mod health;
mod probing;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use http::{Request, Response, StatusCode};
use tokio::task::AbortHandle;
use tower_service::Service;

pub use self::health::Condition;
use self::{
    asked::{Asked, Cookie},
    budget::Budget,
    choosing::{Choosing, Turn, Wanted},
};
use super::out_of_process::{Company, Forwarder, Limits, Parcel, Peer, Protocol, Target, Undelivered};
use crate::{
    Body, Failure,
    facts::Scheme,
    failure::Code,
    front::{Passive, Retry, Upstream, Upstreams},
    outward::{Secured, Slot, Terms},
    stage::Answering,
};

/// Spreads requests over upstreams. Clones share what is known of them.
#[derive(Clone)]
pub struct Balancer(Arc<Inner>);

struct Inner {
    application: Arc<str>,
    upstreams: Upstreams,
    protocol: Protocol,
    forwarders: Vec<Forwarder>,
    cookie: Option<Cookie>,
    /// On what terms those are spoken to that are secured.
    slot: Slot,
    table: Mutex<Table>,
    probes: OnceLock<Vec<AbortHandle>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.probes.get().into_iter().flatten().for_each(AbortHandle::abort);
    }
}

/// What changes with each request.
struct Table {
    choosing: Choosing,
    budget: Budget,
    tallies: Vec<Tally>,
}

/// What has become of the requests of an upstream.
#[derive(Clone, Debug, Default)]
struct Tally {
    requests: u64,
    failures: u64,
    last: Option<Failed>,
}

/// How an upstream is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Where it listens.
    pub place: String,
    /// Whether it has requests.
    pub condition: Condition,
    /// Requests that it has at the moment.
    pub outstanding: u32,
    /// Requests that it has had.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// The last failure, of a request or a probe.
    pub last: Option<Failed>,
}

/// What went wrong with an upstream.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What happened.
    pub detail: String,
    /// When.
    pub at: SystemTime,
}

impl Balancer {
    /// A balancer for the application of this name. It connects with the first request; over TLS, once it has been told on
    /// which terms.
    #[must_use]
    pub fn new(application: Arc<str>, upstreams: Upstreams, limits: Limits, protocol: Protocol) -> Self {
        let cookie =
            upstreams.balance.sticky.as_deref().map(|name| Cookie::new(name, &application, &upstreams));
        let slot = Slot::default();
        let inner = Inner {
            forwarders: (0..upstreams.members.len())
                .map(|index| Forwarder::new(target(&upstreams, index, &slot, limits, protocol)))
                .collect(),
            slot,
            table: Mutex::new(Table::new(&upstreams)),
            application,
            upstreams,
            protocol,
            cookie,
            probes: OnceLock::new(),
        };
        Self(Arc::new(inner))
    }

    /// Begins to ask the upstreams how they are, if they are to be asked and somebody runs tasks here. The first request
    /// does it, too.
    pub fn begin(&self) {
        if self.0.probes.get().is_some() || self.0.upstreams.balance.probe.is_none() {
            return;
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            self.0.probes.get_or_init(|| probing::begin(&self.0));
        }
    }

    /// Asks no more how they are: nobody new comes here. Requests that still do are spread over what was known last.
    pub fn end(&self) {
        self.0.probes.get_or_init(Vec::new).iter().for_each(AbortHandle::abort);
    }

    /// Whether both are the same, or clones of it.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Those that are secured are spoken to on these terms, from the next connection on.
    pub fn secure(&self, terms: Terms) {
        self.0.slot.set(terms);
    }

    /// The name of the application.
    #[must_use]
    pub fn application(&self) -> &str {
        &self.0.application
    }

    /// The upstream at `place`, as [`status`](Self::status) has it, gets no requests: for so long, or until it is well
    /// when it is asked. What somebody else has found out, to begin with; what is known here already stays.
    pub fn leave_alone(&self, place: &str, out: Option<Duration>) {
        let members = &self.0.upstreams.members;
        if let Some(index) = members.iter().position(|upstream| upstream.to_string() == place) {
            self.0.table().choosing.health(index).leave_alone(out, Instant::now());
        }
    }

    /// The upstreams.
    #[must_use]
    pub fn upstreams(&self) -> &Upstreams {
        &self.0.upstreams
    }

    /// How they are, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let table = self.0.table();
        let conditions = table.choosing.conditions(Instant::now());
        let all = self.0.upstreams.members.iter().zip(conditions).zip(&table.tallies);
        let status = |((upstream, (condition, outstanding)), tally): ((&Upstream, _), &Tally)| {
            let Tally { requests, failures, last } = tally.clone();
            Status { place: upstream.to_string(), condition, outstanding, requests, failures, last }
        };
        all.map(status).collect()
    }
}

impl Service<Request<Body>> for Balancer {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        self.begin();
        Box::pin(answered(Arc::clone(&self.0), request))
    }
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Balancer").field(&self.0.upstreams).finish()
    }
}

async fn answered(inner: Arc<Inner>, request: Request<Body>) -> Result<Response<Body>, Failure> {
    let asked = Asked::of(&request, &inner.upstreams, inner.cookie.as_ref());
    let mut tried = Vec::new();
    let mut place = inner.place(&asked, &tried).ok_or_else(|| inner.none())?;
    let mut parcel = inner.forwarders[place.turn.index].pack(request)?;
    loop {
        let turn = place.turn;
        let again = match inner.upstreams.balance.retry {
            // All fields are copied for that, and nobody would get them.
            Retry::Idempotent if tried.len() + 1 == inner.upstreams.members.len() => None,
            Retry::Idempotent => parcel.again(),
            Retry::Never | Retry::Unsent => None,
        };
        match inner.forwarders[turn.index].deliver(parcel, place.clone()).await {
            Ok(mut answer) => {
                inner.answered(turn, answer.status());
                if let Some(cookie) = &inner.cookie {
                    cookie.write(&asked, turn.index, &mut answer);
                }
                return Ok(answer);
            }
            Err(undelivered) => {
                tried.push(turn.index);
                (parcel, place) = inner.another(turn, undelivered, again, &asked, &tried)?;
            }
        }
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request at an upstream that has not been tried with it.
    fn place(self: &Arc<Self>, asked: &Asked, tried: &[usize]) -> Option<Arc<Place>> {
        let mut table = self.table();
        if tried.is_empty() {
            table.budget.earn();
        }
        let wanted = Wanted { sticky: asked.sticky, key: asked.key, tried };
        let turn = table.choosing.begin(Instant::now(), wanted)?;
        table.tallies[turn.index].requests += 1;
        Some(Arc::new(Place { turn, inner: Arc::clone(self) }))
    }

    /// What is to be sent next, and where, after a failure; or that failure.
    fn another(
        self: &Arc<Self>,
        failed: Turn,
        undelivered: Undelivered,
        again: Option<Parcel>,
        asked: &Asked,
        tried: &[usize],
    ) -> Result<(Parcel, Arc<Place>), Failure> {
        let Undelivered { failure, untouched } = undelivered;
        if !is_upstreams(failure.code) {
            return Err(failure);
        }
        if !is_our_want(&failure) {
            self.failed(failed, &failure.to_string());
        }
        let untouched = untouched.filter(|_| self.upstreams.balance.retry != Retry::Never);
        // One that took too long to answer may be at work on it still.
        let again = again.filter(|_| failure.code != Code::FirstByteTimeout);
        let Some(parcel) = untouched.map(|parcel| *parcel).or(again) else { return Err(failure) };
        if !self.table().budget.has_try() {
            return Err(failure);
        }
        let Some(place) = self.place(asked, tried) else { return Err(failure) };
        // Should another request have been faster, the place is nobody's again.
        if !self.table().budget.spend() {
            return Err(failure);
        }
        tracing::debug!(application = %self.application, %failure, "tried with another upstream");
        Ok((parcel, place))
    }

    /// An answer has begun.
    fn answered(&self, turn: Turn, status: StatusCode) {
        let passive = self.upstreams.balance.passive.as_ref();
        let is_failure =
            |passive: &Passive| passive.statuses.iter().any(|range| range.contains(&status.as_u16()));
        if passive.is_some_and(is_failure) {
            return self.failed(turn, &format!("it answered {status}"));
        }
        // Of all others it was known that it is up.
        let is_trial = turn.trial.is_some();
        if is_trial && self.table().choosing.health(turn.index).succeeded(Instant::now(), turn.trial) {
            tracing::info!(application = %self.application, upstream = %self.upstreams.members[turn.index], "upstream is back");
        }
    }

    fn failed(&self, turn: Turn, detail: &str) {
        let out = {
            let mut table = self.table();
            let tally = &mut table.tallies[turn.index];
            tally.failures += 1;
            tally.last = Some(Failed::now(detail));
            table.choosing.health(turn.index).failed(Instant::now(), turn.trial)
        };
        if let Some(out) = out {
            tracing::warn!(application = %self.application, upstream = %self.upstreams.members[turn.index], ?out, detail, "upstream fails requests; it gets none for a while");
        }
    }

    /// Why there is no upstream, and when there may be one.
    fn none(&self) -> Failure {
        let now = Instant::now();
        let table = self.table();
        let probed = self.upstreams.balance.probe.as_ref().map_or(A_WHILE, |probe| probe.interval);
        let again = table.choosing.conditions(now).map(|(condition, _)| match condition {
            Condition::Up | Condition::Trying => A_WHILE,
            Condition::Out(until) => until.saturating_duration_since(now),
            Condition::Down => probed,
        });
        let again = again.min().unwrap_or(A_WHILE).max(A_WHILE);
        Failure::new(Code::NoUpstream)
            .detail(format!("none of the {} upstreams of {} is up", table.tallies.len(), self.application))
            .retry_after(again)
    }
}

impl Table {
    fn new(upstreams: &Upstreams) -> Self {
        let ids: Vec<u64> = upstreams
            .members
            .iter()
            .map(|upstream| asked::number(upstream.place.to_string().as_bytes()))
            .collect();
        Self {
            // Without any randomness chance begins the same way everywhere, and is as good from then on.
            choosing: Choosing::new(upstreams, &ids, getrandom::u64().unwrap_or(1)),
            budget: Budget::new(upstreams.balance.retry_budget),
            tallies: vec![Tally::default(); upstreams.members.len()],
        }
    }
}

impl Failed {
    fn now(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), at: SystemTime::now() }
    }
}

/// A request's place at an upstream, until the answer has ended or nobody wants it any more. It is also held until it is
/// known how the request went: a trial is one until then.
struct Place {
    turn: Turn,
    inner: Arc<Inner>,
}

impl Company for Place {
    fn was_cut(&self) {
        // It has answered, so that it was no trial any more.
        let turn = Turn { trial: None, ..self.turn };
        self.inner.failed(turn, "it cut an answer short");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.table().choosing.end(self.turn);
    }
}

fn target(upstreams: &Upstreams, index: usize, slot: &Slot, limits: Limits, protocol: Protocol) -> Target {
    Target {
        endpoint: upstreams.members[index].place.clone(),
        secured: secured(upstreams, index, slot),
        // It is told who the client is, as instances are, but it is not paired with us.
        peer: Peer::Foreign { token: None },
        limits,
        protocol,
    }
}

/// How connections to an upstream are secured, if they are.
fn secured(upstreams: &Upstreams, index: usize, slot: &Slot) -> Option<Secured> {
    let upstream = &upstreams.members[index];
    let host = upstream.place.host().filter(|_| upstream.scheme == Scheme::Https)?;
    // A dot at its end is for who looks it up.
    let host = host.strip_suffix('.').unwrap_or(&host);
    slot.secured(upstreams.outward.server_name.as_deref().unwrap_or(host))
}

/// Whether a failure is the upstream's, and not the client's or the request's.
fn is_upstreams(code: Code) -> bool {
    use Code::{BadGateway, ConnectFailed, FirstByteTimeout, InstanceLost, TlsFailed};
    matches!(code, ConnectFailed | TlsFailed | InstanceLost | BadGateway | FirstByteTimeout)
}

/// Whether a connection could not be made for want of descriptors, ports or memory here: the upstream may be well.
fn is_our_want(failure: &Failure) -> bool {
    let first = failure.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static));
    std::iter::successors(first, |error| error.source()).any(|error| {
        let errno = error.downcast_ref::<std::io::Error>().and_then(rustix::io::Errno::from_io_error);
        errno.is_some_and(|errno| OUR_WANTS.contains(&errno))
    })
}

const OUR_WANTS: [rustix::io::Errno; 5] = {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOMEM, Errno::NOBUFS]
};

/// When to try again where nobody knows better.
const A_WHILE: Duration = Duration::from_secs(1);
