//! Where an application's processes come from.
//!
//! In: a launch. Out: an instance to send requests to, or why there is none. Never: lets the one who sends them know
//! whose child it is.

use std::sync::Arc;

use super::{End, Endpoint, Exit, Instance, Launch, Runner};
use crate::Failure;

/// Where an application's processes come from.
#[derive(Clone, Debug)]
pub struct Instances(Source);

#[derive(Clone, Debug)]
enum Source {
    Own(Runner),
}

impl Instances {
    /// This very process starts them, and they end with it.
    #[must_use]
    pub fn own(runner: Runner) -> Self {
        Self(Source::Own(runner))
    }

    /// An instance that is ready for requests, and for nobody else in this process.
    pub(crate) async fn start(&self, launch: Launch) -> Result<Held, Failure> {
        match &self.0 {
            Source::Own(runner) => {
                Ok(Held(Hold::Own(Instance::start(&launch, runner).await.map_err(Failure::from)?)))
            }
        }
    }
}

/// An instance that requests may be sent to. Dropping it is letting go of it for good.
#[derive(Debug)]
pub(crate) struct Held(Hold);

#[derive(Debug)]
enum Hold {
    Own(Instance),
}

impl Held {
    pub(crate) fn pid(&self) -> u32 {
        match &self.0 {
            Hold::Own(instance) => instance.pid(),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        match &self.0 {
            Hold::Own(instance) => instance.endpoint(),
        }
    }

    /// The pairing token.
    pub(crate) fn token(&self) -> &Arc<str> {
        match &self.0 {
            Hold::Own(instance) => instance.token(),
        }
    }

    /// How it ended, if it has.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match &self.0 {
            Hold::Own(instance) => instance.exit(),
        }
    }

    /// Waits until it has ended. The future holds nothing of the instance.
    pub(crate) fn exited(&self) -> impl Future<Output = Exit> + Send + 'static + use<> {
        match &self.0 {
            Hold::Own(instance) => instance.exited(),
        }
    }

    /// The end of what it printed.
    pub(crate) fn output(&self) -> Arc<str> {
        match &self.0 {
            Hold::Own(instance) => instance.output_tail(),
        }
    }

    /// Tells a runner of ours that its end is near.
    pub(crate) fn drain_notice(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        match &self.0 {
            Hold::Own(instance) => instance.drain_notice(),
        }
    }

    /// Lets go of it: asks it to stop, and has it killed when it does not in time.
    pub(crate) async fn stop(self) -> End {
        match &self.0 {
            Hold::Own(instance) => instance.stop().await,
        }
    }
}
