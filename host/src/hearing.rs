//! The one thread of a supervisor that signals come to.
//!
//! In: whether signals are heard now, or kept. Out: while they are kept, the system has them: for this program, when it
//! hears again, or for the one that takes its place in the same process. Never: lets another thread have one, since what
//! was caught and not obeyed is gone with the program.
//!
//! Threads inherit what is blocked from the one that starts them, so this has to begin before there is a second one.
//! Processes do, too: workers and guards hear signals again as soon as they run.

use std::sync::{
    OnceLock,
    mpsc::{Receiver, Sender, channel},
};

use nix::sys::signal::{SigSet, Signal};

use crate::exit::{Exit, Refused};

/// Has signals come to a thread of their own. It hears what this thread heard before: nothing, if the program before
/// this one has kept what came last.
pub(crate) fn begin() -> Result<(), Refused> {
    let cannot = |why: String| Exit::Failed.because(format!("cannot wait for signals: {why}"));
    let before = SigSet::thread_get_mask().map_err(|error| cannot(error.to_string()))?;
    ours().thread_block().map_err(|error| cannot(error.to_string()))?;
    let (sender, orders) = channel();
    std::thread::Builder::new()
        .name("cohost-signals".to_owned())
        .spawn(move || {
            let _cannot_fail = before.thread_set_mask();
            obey(&orders);
        })
        .map_err(|error| cannot(error.to_string()))?;
    let _only_once = THREAD.set(sender);
    Ok(())
}

/// Hears signals, those that were kept first. To be called by whoever listens to them by then.
pub(crate) fn hear() {
    order(Order::Hear);
}

/// Keeps signals that come from now on. What came before has been caught when this returns.
pub(crate) fn keep() {
    order(Order::Keep);
}

enum Order {
    Hear,
    Keep,
}

static THREAD: OnceLock<Sender<(Order, Sender<()>)>> = OnceLock::new();

fn order(order: Order) {
    let (done, is_done) = channel();
    // Without the thread there is nothing to wait for.
    let told = THREAD.get().map(|thread| thread.send((order, done)));
    if let Some(Ok(())) = told {
        let _ended = is_done.recv();
    }
}

fn obey(orders: &Receiver<(Order, Sender<()>)>) {
    for (order, done) in orders {
        let _cannot_fail = match order {
            Order::Hear => ours().thread_unblock(),
            Order::Keep => ours().thread_block(),
        };
        let _gone = done.send(());
    }
}

/// The signals that mean something to a supervisor.
fn ours() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGCHLD]
        .into_iter()
        .collect()
}
