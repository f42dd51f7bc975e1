//! Where an application's processes come from.
//!
//! In: a launch. Out: an instance to send requests to, or why there is none. Never: lets the one who sends them know
//! whose child it is.

use std::sync::Arc;

use futures_util::future::Either;

use super::{
    End, Endpoint, Exit, Instance, Launch, NotStarted, Runner,
    lending::{Borrower, Found, Lent},
};
use crate::{Failure, failure::Code};

/// Where an application's processes come from.
#[derive(Clone, Debug)]
pub struct Instances(Source);

#[derive(Clone, Debug)]
enum Source {
    Own(Runner),
    Lent(Borrower),
}

impl Instances {
    /// This very process starts them, and they end with it.
    #[must_use]
    pub fn own(runner: Runner) -> Self {
        Self(Source::Own(runner))
    }

    /// The supervisor starts them, and they outlive this process.
    #[must_use]
    pub fn lent(borrower: Borrower) -> Self {
        Self(Source::Lent(borrower))
    }

    /// An instance that is ready for requests, and for nobody else in this process.
    ///
    /// If it is called off, what was started is on its way to its end.
    pub(crate) async fn start(
        &self,
        launch: Launch,
        called_off: impl Future<Output = ()>,
    ) -> Result<Held, NotStarted> {
        match &self.0 {
            Source::Own(runner) => {
                let started = Instance::start_unless(&launch, runner, called_off).await;
                Ok(Held(Hold::Own(started.map_err(Failure::from)?)))
            }
            Source::Lent(borrower) => tokio::select! {
                biased;
                // The supervisor hears of it, and sees to the end.
                () = called_off => Err(Code::Draining.into()),
                lent = borrower.want(launch) => Ok(Held(Hold::Lent(lent?))),
            },
        }
    }
}

/// An instance that requests may be sent to. Dropping it is letting go of it for good.
#[derive(Debug)]
pub(crate) struct Held(Hold);

#[derive(Debug)]
enum Hold {
    Own(Instance),
    Lent(Lent),
}

impl Held {
    pub(crate) fn pid(&self) -> u32 {
        match &self.0 {
            Hold::Own(instance) => instance.pid(),
            Hold::Lent(lent) => lent.pid(),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        match &self.0 {
            Hold::Own(instance) => instance.endpoint(),
            Hold::Lent(lent) => lent.endpoint(),
        }
    }

    /// The pairing token.
    pub(crate) fn token(&self) -> &Arc<str> {
        match &self.0 {
            Hold::Own(instance) => instance.token(),
            Hold::Lent(lent) => lent.token(),
        }
    }

    /// Whether it ran already, for a worker before this one.
    pub(crate) fn found(&self) -> Found {
        match &self.0 {
            Hold::Own(_) => Found::Started,
            Hold::Lent(lent) => lent.found(),
        }
    }

    /// Whether it is the supervisor's, who counts how often the application fails.
    pub(crate) fn is_lent(&self) -> bool {
        matches!(self.0, Hold::Lent(_))
    }

    /// How it ended, if it has.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match &self.0 {
            Hold::Own(instance) => instance.exit(),
            Hold::Lent(lent) => lent.exit(),
        }
    }

    /// Waits until it has ended. The future holds nothing of the instance.
    pub(crate) fn exited(&self) -> impl Future<Output = Exit> + Send + 'static + use<> {
        match &self.0 {
            Hold::Own(instance) => Either::Left(instance.exited()),
            Hold::Lent(lent) => Either::Right(lent.exited()),
        }
    }

    /// The end of what it printed.
    pub(crate) fn output(&self) -> Arc<str> {
        match &self.0 {
            Hold::Own(instance) => instance.output_tail(),
            Hold::Lent(lent) => lent.output(),
        }
    }

    /// Tells a runner of ours that its end is near; not one that goes on for another worker.
    pub(crate) fn drain_notice(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        match &self.0 {
            Hold::Own(instance) => Either::Left(instance.drain_notice()),
            Hold::Lent(lent) => Either::Right(lent.drain_notice()),
        }
    }

    /// Requests of the host's own went well: now it has started.
    pub(crate) fn fit(&self) {
        match &self.0 {
            Hold::Own(_) => {}
            Hold::Lent(lent) => lent.fit(),
        }
    }

    /// Requests of the host's own failed: so its start did.
    pub(crate) async fn unfit(&self, failure: Failure) -> NotStarted {
        match &self.0 {
            Hold::Own(_) => failure.into(),
            Hold::Lent(lent) => lent.unfit(&failure).await,
        }
    }

    /// Lets go of it. If it is to end, it is asked to stop, and killed when it does not in time.
    pub(crate) async fn stop(self) -> End {
        match self.0 {
            Hold::Own(instance) => instance.stop().await,
            Hold::Lent(lent) => lent.stop().await,
        }
    }
}
