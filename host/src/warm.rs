//! What a worker starts before it is ready because it runs in the one before it, and which upstreams it leaves alone
//! because that does.
//!
//! In: what the supervisor says of that. Out: those applications, started or on their way. Never: longer than the
//! supervisor says, nor those that cannot run twice.

use cohost::{
    Application,
    dispatcher::upstreams::Balancer,
    supervisor::worker::{Unwell, Warm},
};
use tokio::{sync::oneshot::Receiver, time::timeout};

use crate::hosting;

/// Starts those of `applications` that are told to run elsewhere; none, if nobody is going to tell.
///
/// What comes of each is logged where it happens; requests will try again.
pub(crate) async fn start(told: Receiver<Warm>, applications: Vec<Application>, balancers: Vec<Balancer>) {
    let Ok(Warm { applications: running, limit, unwell }) = told.await else { return };
    for Unwell { application, place, out } in unwell {
        for balancer in balancers.iter().filter(|balancer| balancer.application() == application) {
            balancer.leave_alone(&place, out);
        }
    }
    let runs = |application: &Application| running.iter().any(|name| **name == **application.name());
    let those = applications.into_iter().filter(runs).collect();
    // In a task of its own, which goes on when the time is over.
    let _late = timeout(limit, tokio::spawn(hosting::start(those))).await;
}
