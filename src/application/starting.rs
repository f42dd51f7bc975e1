//! One start of an application, from the first who wants it to what requests find.
//!
//! In: an application of which nothing runs. Out: a dispatcher in its place; or why there is none, and who counts that.
//! Never: lets a client's request in before the host's own were answered.

use std::{sync::Arc, time::Instant};

use super::{
    current::{Dispatcher, Shared, State},
    start::{self, Backing},
    warmup::warm_up,
};
use crate::{
    Failure,
    failure::Code,
    supervisor::{Count, NotStarted},
};

impl Shared {
    /// Starts the application and tells those who wait, whatever comes of it.
    pub(super) async fn start(self: Arc<Self>) {
        let name = Arc::clone(&self.definition.name);
        tracing::debug!(application = %name, "application starting");
        let began = Instant::now();
        // In a task of its own, so that a panic in it is a failed start and not a start without end.
        let starting = tokio::spawn({
            let shared = Arc::clone(&self);
            async move { shared.start_in_turn().await }
        });
        let started =
            starting.await.unwrap_or_else(|panic| Err(Failure::new(Code::StartFailed).source(panic).into()));
        match started {
            Ok((dispatcher, backing)) => self.started(dispatcher, backing, began),
            Err(_) if self.is_called_off() => self.life().ended(),
            Err(NotStarted { failure, count }) => {
                self.note(&failure);
                match count {
                    Count::Here => self.life().start_failed(Instant::now()),
                    Count::There(until) => self.life().start_refused(until),
                }
                let (code, detail) = (failure.code.as_str(), &*failure.detail);
                tracing::error!(application = %name, failure = code, detail, "application did not start");
            }
        }
        self.changed.send_modify(|changes| *changes += 1);
    }

    async fn start_in_turn(&self) -> Result<(Dispatcher, Backing), NotStarted> {
        let turn = async {
            self.wait_for_predecessor().await?;
            self.wait_for_port().await;
            Ok::<_, Failure>(())
        };
        self.unless_called_off(turn).await?;
        self.start_and_warm_up().await
    }

    async fn start_and_warm_up(&self) -> Result<(Dispatcher, Backing), NotStarted> {
        let options = &self.definition.options;
        let deadline = tokio::time::Instant::now() + options.startup_timeout;
        let (dispatcher, backing) = start::start(&self.definition, self.called_off()).await?;
        let warm = self.unless_called_off(warm_up(&self.definition, &dispatcher, deadline)).await;
        let Err(failure) = warm else {
            if !options.warmup.is_empty() {
                backing.warm();
            }
            return Ok((dispatcher, backing));
        };
        let failure = Failure { output: Some(backing.output()), ..failure };
        let not_started = match self.is_called_off() {
            true => failure.into(),
            false => backing.not_warm(failure).await,
        };
        // Otherwise it would wait for us.
        drop(dispatcher);
        backing.stop(options.shutdown_timeout).await;
        Err(not_started)
    }

    fn started(self: &Arc<Self>, dispatcher: Dispatcher, backing: Backing, began: Instant) {
        if backing.ran_already() {
            let (application, pid) = (&*self.definition.name, backing.pid());
            tracing::info!(application, pid, "application goes on in the instance that runs already");
        } else {
            self.tell_start(&backing, began);
        }
        self.watch(&backing);
        // First the state: whoever hears from the life that it is ready must find it so.
        *self.backing() = Some(backing);
        self.state.store(Arc::new(State::Running(dispatcher)));
        // If it was stopped meanwhile, whoever did that waits for this moment.
        self.life().started();
        // Not before it is in its place: it may be taken away at once.
        self.watch_idle();
    }

    fn tell_start(&self, backing: &Backing, began: Instant) {
        tracing::info!(
            application = %self.definition.name,
            hosting_model = %self.definition.hosting_model,
            generation = backing.generation(),
            pid = backing.pid(),
            took_ms = began.elapsed().as_millis() as u64,
            "application started"
        );
    }
}
