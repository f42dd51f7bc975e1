//! Asks upstreams how they are, again and again.
//!
//! In: what to ask for, and how often. Out: good and bad answers, for `health`. Never: goes on when the balancer is gone,
//! reads an answer's body, or takes a place that a request could have.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use http::{HeaderValue, Request, header};
use tokio::task::AbortHandle;

use super::{Failed, Inner, health::Change, is_our_want, target};
use crate::{
    Body, Failure,
    dispatcher::out_of_process::{Forwarder, Limits},
    front::{Endpoint, Place, Probe},
};

/// One task for each upstream, to be ended with the balancer or before.
pub(super) fn begin(inner: &Arc<Inner>) -> Vec<AbortHandle> {
    let Some(probe) = &inner.upstreams.balance.probe else { return Vec::new() };
    let asking = |index| tokio::spawn(ask(Arc::downgrade(inner), index, probe.clone())).abort_handle();
    (0..inner.upstreams.members.len()).map(asking).collect()
}

async fn ask(inner: Weak<Inner>, index: usize, probe: Probe) {
    let Some((forwarder, place)) = inner.upgrade().map(|inner| {
        let limits = Limits { connect: probe.timeout, first_byte: probe.timeout, idle: None };
        let target = target(&inner.upstreams, index, &inner.slot, limits, inner.protocol);
        (Forwarder::new(target), inner.upstreams.members[index].place.clone())
    }) else {
        return;
    };
    loop {
        let answer = asked(&forwarder, &place, &probe).await;
        let Some(inner) = inner.upgrade() else { return };
        match answer {
            Ok(answer) => inner.probed(index, answer),
            Err(failure) => {
                tracing::warn!(application = %inner.application, upstream = %place, %failure, "upstream cannot be asked how it is");
            }
        }
        drop(inner);
        tokio::time::sleep(probe.interval).await;
    }
}

/// What is wrong with it, if so; or why that cannot be found out, through no fault of its own.
async fn asked(forwarder: &Forwarder, place: &Place, probe: &Probe) -> Result<Result<(), String>, Failure> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = match probe.path.parse() {
        Ok(path) => path,
        Err(error) => return Ok(Err(format!("{} is no path: {error}", probe.path))),
    };
    let fields = request.headers_mut();
    fields
        .insert(header::USER_AGENT, HeaderValue::from_static(concat!("cohost/", env!("CARGO_PKG_VERSION"))));
    // A socket has no name.
    let host = match place {
        Place::At(Endpoint::Unix(_)) => "localhost".to_owned(),
        place => place.to_string(),
    };
    if let Ok(host) = HeaderValue::try_from(host) {
        fields.insert(header::HOST, host);
    }
    // The forwarder has a limit for each step, and this is for all of them.
    let answer = tokio::time::timeout(probe.timeout, forwarder.forward(request)).await;
    let status = match answer {
        Ok(Ok(answer)) => answer.status(),
        Ok(Err(failure)) if is_our_want(&failure) => return Err(failure),
        Ok(Err(failure)) => return Ok(Err(failure.to_string())),
        Err(_) => return Ok(Err(format!("no answer within {:?}", probe.timeout))),
    };
    let is_well = probe.expected.iter().any(|range| range.contains(&status.as_u16()));
    Ok(if is_well { Ok(()) } else { Err(format!("it answered {status}")) })
}

impl Inner {
    fn probed(&self, index: usize, answer: Result<(), String>) {
        let upstream = &self.upstreams.members[index];
        let change = {
            let mut table = self.table();
            if let Err(why) = &answer {
                table.tallies[index].last = Some(Failed::now(why));
            }
            table.choosing.probed(index, answer.is_ok(), Instant::now())
        };
        let why = answer.err().unwrap_or_default();
        match change {
            Some(Change::Down) => {
                tracing::warn!(application = %self.application, %upstream, why, "upstream is down");
            }
            Some(Change::Up) => {
                tracing::info!(application = %self.application, %upstream, "upstream is up");
            }
            None => {}
        }
    }
}
