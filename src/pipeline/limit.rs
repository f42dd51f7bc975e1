//! Those who are counted together make no more requests, and no more at a time, than they may.
//!
//! Nobody waits: who comes too early is told when to come again, 429. A request runs until its answer is complete, or
//! until it is cancelled; an upgraded connection, until the upgrade.
//!
//! A token bucket of our own, and not a crate's: the time and those that run are counted under one key, which has to be
//! forgotten as one.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
    time::Instant,
};

use http::Request;

use super::{
    check::refuse,
    concurrency::held,
    counters::{Counters, Known, Running, TooMuch},
    kept::Kept,
};
use crate::{
    Body, Failure, authority,
    facts::{End, Facts},
    failure::Code,
    front::{Enforcement, Key, Limit},
    stage::{Answering, Serve, Stage},
};

/// Limits what `inner` gets of each.
#[derive(Clone, Debug)]
pub(super) struct Limited {
    limits: Arc<[(Limit, Arc<Counters>)]>,
    inner: Stage,
}

impl Limited {
    /// By all of `limits`, whose counts are those of `place`.
    pub(super) fn new(limits: &[Limit], place: &str, kept: &Kept, inner: Stage) -> Self {
        let mut counted: Vec<(Limit, Arc<Counters>)> = Vec::new();
        for limit in limits {
            // The same one twice would count everything twice.
            if !counted.iter().any(|(other, _)| other == limit) {
                counted.push((limit.clone(), kept.at(place, limit, Counters::default)));
            }
        }
        Self { limits: counted.into(), inner }
    }

    fn count(&self, request: &Request<Body>) -> Result<Vec<Running>, Failure> {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now = START.elapsed();
        let known = |(limit, counters): &(Limit, Arc<Counters>)| known(limit, counters, request);
        // First all are asked, so that a request which one of them refuses takes nothing from those whom it shares the
        // others with. One alone is asked as it counts. Between asking and counting another one may come: at worst it
        // takes from somebody what a request has taken that was refused a moment later.
        if let [_, _, ..] = *self.limits {
            for one in &*self.limits {
                let (limit, counters) = one;
                if limit.enforcement == Enforcement::Refuse {
                    counters.ask(limit, known(one), now).map_err(|too_much| failure(limit, too_much))?;
                }
            }
        }
        let mut running = Vec::new();
        for one in &*self.limits {
            let (limit, counters) = one;
            match counters.count(limit, known(one), now) {
                Ok(counted) => running.extend(counted),
                Err(too_much) => refuse(failure(limit, too_much), limit.enforcement, request)?,
            }
        }
        Ok(running)
    }
}

impl Serve for Limited {
    fn serve(&self, request: Request<Body>) -> Answering {
        match self.count(&request) {
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
            Ok(running) if running.is_empty() => self.inner.serve(request),
            Ok(running) => {
                let answering = self.inner.serve(request);
                Box::pin(async move { Ok(held(answering.await?, running)) })
            }
        }
    }
}

/// How those are known who make a request, where it is counted by `limit`.
fn known(limit: &Limit, counters: &Counters, request: &Request<Body>) -> Known {
    match &limit.key {
        Key::Client => counters.know(&client(request)),
        Key::Field(name) => counters.know(&request.headers().get(name).map(http::HeaderValue::as_bytes)),
        Key::Authority => {
            let name = authority::undotted(authority::name(authority::of(request)));
            counters.know(&name.to_ascii_lowercase())
        }
    }
}

/// What the client has for itself; `None` for those on a Unix socket.
fn client(request: &Request<Body>) -> Option<IpAddr> {
    request.extensions().get::<Facts>().map_or(End::Unknown, Facts::client).network()
}

fn failure(limit: &Limit, too_much: TooMuch) -> Failure {
    match (too_much, limit.rate, limit.concurrent) {
        (TooMuch::Early(by), Some(rate), _) => Failure::new(Code::RateLimited)
            .detail(format!("{} in {:?}", rate.requests, rate.per))
            .retry_after(by),
        (_, _, most) => Failure::new(Code::TooManyAtOnce)
            .detail(most.map_or_else(String::new, |most| format!("{most} at a time"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_one_address_of_ipv4_and_many_of_ipv6() {
        let end = |address: &str| End::Ip((address.parse::<IpAddr>().unwrap(), 1).into());
        let network = |address: &str| end(address).network().unwrap().to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    }
}
