//! What runs in the worker that is to be replaced is started in the next one, before that takes over.
//!
//! In: a worker that was started beside one that serves. Out: an order to start what runs there. Never: has the
//! replacement wait longer than for what is preloaded, or fail: what does not start there will be tried by its next
//! request.

use cohost::{
    admin::{Application, State},
    supervisor::worker::{Generation, Order, Process, Warm},
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
            let applications = running(told).await;
            say(&Order::Warm(Warm { applications, limit }));
        });
    }
}

/// Nothing, if it does not answer, or is of a build that says it otherwise.
async fn running(mut told: UnboundedReceiver<Told>) -> Vec<String> {
    let Ok(Some((_, applications))) = timeout(LIMIT, told.recv()).await else { return Vec::new() };
    let all: Vec<Application> = serde_json::from_value(applications).unwrap_or_default();
    all.into_iter().filter(|it| it.state == State::Running).map(|it| it.name).collect()
}
