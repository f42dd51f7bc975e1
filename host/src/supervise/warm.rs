//! What runs in the worker that is to be replaced is started in the next one, before that takes over; and the next one gets
//! to know which upstreams are not well.
//!
//! In: a worker that was started beside one that serves. Out: an order to start what runs there, with what is known
//! there. Never: has the replacement wait longer than for what is preloaded, or fail: what does not start there will be
//! tried by its next request.

use std::time::SystemTime;

use cohost::{
    admin::{Application, State, Upstream, UpstreamState},
    supervisor::worker::{Generation, Order, Process, Unwell, Warm},
};
use tokio::{sync::mpsc::UnboundedReceiver, time::timeout};

use super::{
    Supervisor,
    survey::{LIMIT, Told},
    terms::{MARGIN, terms},
};

impl Supervisor {
    /// Has a worker that starts learn what runs in `old`, which serves.
    pub(super) fn warm(&mut self, next: &Process, old: Generation) {
        let (id, told) = self.surveys.begin();
        if let Some(worker) = self.workers.get(&old)
            && self.surveys.asks(old)
        {
            worker.process.order(&Order::Ask { id });
        }
        let config = &self.editions[&self.plan.edition()].1;
        // Less than the plan would wait for it.
        let limit = terms(config).start_limit.saturating_sub(MARGIN / 3);
        let say = next.voice();
        tokio::spawn(async move {
            let all = told_by(told).await;
            let unwell = all.iter().flat_map(unwell).collect();
            let running = all.into_iter().filter(|it| it.state == State::Running).map(|it| it.name);
            say(&Order::Warm(Warm { applications: running.collect(), limit, unwell }));
        });
    }
}

/// Nothing, if it does not answer, or is of a build that says it otherwise.
async fn told_by(mut told: UnboundedReceiver<Told>) -> Vec<Application> {
    let Ok(Some((_, applications))) = timeout(LIMIT, told.recv()).await else { return Vec::new() };
    serde_json::from_value(applications).unwrap_or_default()
}

/// The upstreams of an application that get no requests.
fn unwell(application: &Application) -> Vec<Unwell> {
    let unwell = |upstream: &Upstream| {
        let left = |upstream: &Upstream| {
            let until = upstream.retry_at.as_ref().map(|at| at.0.duration_since(SystemTime::now()));
            until.and_then(Result::ok).unwrap_or_default()
        };
        let out = match upstream.state {
            UpstreamState::Out | UpstreamState::Trying => Some(left(upstream)),
            UpstreamState::Down => None,
            _ => return None,
        };
        Some(Unwell { application: application.name.clone(), place: upstream.place.clone(), out })
    };
    application.upstreams.iter().filter_map(unwell).collect()
}
