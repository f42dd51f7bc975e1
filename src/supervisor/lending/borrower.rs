//! The worker's side: wants instances of the supervisor, and lets go of them.
//!
//! In: launches; what the supervisor says. Out: instances to send requests to, until they end or are let go of. Never:
//! keeps a wish that nobody waits for, or an instance that nobody has.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::{oneshot, watch};

use super::{
    super::{
        Count, End, Endpoint, Exit, Launch, NotStarted,
        instance::drain_notice,
        worker::{Order, Report},
    },
    message::{Ask, Ended, Found, Lending, NotLent, Parting, Release, Tried, Want},
};
use crate::failure::{Code, Failure};

/// Borrows instances of the supervisor.
#[derive(Clone)]
pub struct Borrower(Arc<Desk>);

struct Desk {
    say: Box<dyn Fn(&Report) + Send + Sync>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    asked: HashMap<Ask, oneshot::Sender<Result<Lent, NotStarted>>>,
    lent: HashMap<Ask, watch::Sender<Option<Fate>>>,
    /// The worker ends: what it has is for whoever comes next.
    leaving: bool,
}

/// What became of an instance.
#[derive(Clone, Debug)]
enum Fate {
    Ended(Ended),
    /// It goes on for somebody else.
    Kept,
}

impl Borrower {
    /// Tells the supervisor by `say`, and is to be told by [`heard`](Self::heard).
    #[must_use]
    pub fn new(say: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Desk { say: Box::new(say), open: Mutex::default() }))
    }

    /// The supervisor said this; gives back what is for others, too.
    pub fn heard(&self, order: Order) -> Option<Order> {
        match order {
            Order::Lent(lending) => self.lent(lending),
            Order::NotLent(told) => {
                let asked = self.0.open().asked.remove(&told.ask);
                // Nobody waits for it any more.
                let _gone = asked.map(|asked| asked.send(Err(told.into())));
            }
            Order::Ended(ended) => self.0.settle(ended.ask, Fate::Ended(ended)),
            Order::Kept(kept) => self.0.settle(kept.ask, Fate::Kept),
            Order::Drain | Order::Hurry => {
                self.0.open().leaving = true;
                return Some(order);
            }
            other => return Some(other),
        }
        None
    }

    fn lent(&self, lending: Lending) {
        let (sender, fate) = watch::channel(None);
        let lent = Lent { lending, fate, desk: Arc::clone(&self.0), parted: false };
        let asked = {
            let mut open = self.0.open();
            open.lent.insert(lent.lending.ask, sender);
            open.asked.remove(&lent.lending.ask)
        };
        // If nobody waits for it any more, it is dropped here, and so given back.
        match asked {
            Some(asked) => drop(asked.send(Ok(lent))),
            None => drop(lent),
        }
    }

    /// An instance of this launch, one that this worker does not have yet.
    ///
    /// Takes as long as the supervisor does, which has limits of its own. Dropping the future takes the wish back.
    pub(in super::super) async fn want(&self, launch: Launch) -> Result<Lent, NotStarted> {
        let (sender, answer) = oneshot::channel();
        let ask = {
            let mut open = self.0.open();
            open.last += 1;
            let ask = Ask(open.last);
            open.asked.insert(ask, sender);
            ask
        };
        (self.0.say)(&Report::Want(Box::new(Want { ask, launch })));
        let wish = Wish { desk: &self.0, ask };
        let answer = answer.await;
        mem::forget(wish);
        // The sender is only dropped with the worker.
        answer.unwrap_or_else(|_| Err(Code::Draining.into()))
    }
}

impl From<NotLent> for NotStarted {
    fn from(told: NotLent) -> Self {
        let until = told.retry_after.map(|after| Instant::now() + after);
        let count = if told.counted { Count::There(until.zip(told.why)) } else { Count::Here };
        Self { failure: told.into(), count }
    }
}

impl Desk {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, ask: Ask, fate: Fate) {
        let lent = self.open().lent.remove(&ask);
        let _nobody_waits = lent.map(|lent| lent.send_replace(Some(fate)));
    }

    fn release(&self, ask: Ask) -> Parting {
        let parting = if self.open().leaving { Parting::Leaving } else { Parting::ForGood };
        (self.say)(&Report::Release(Release { ask, parting }));
        parting
    }
}

/// A wish that is not answered yet.
struct Wish<'a> {
    desk: &'a Desk,
    ask: Ask,
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        // If it was answered meanwhile, the answer has been dropped, and that gives it back.
        if self.desk.open().asked.remove(&self.ask).is_some() {
            self.desk.release(self.ask);
        }
    }
}

/// An instance that the supervisor has lent. Dropping it gives it back.
pub(in super::super) struct Lent {
    lending: Lending,
    fate: watch::Receiver<Option<Fate>>,
    desk: Arc<Desk>,
    parted: bool,
}

impl Lent {
    pub(in super::super) fn pid(&self) -> u32 {
        self.lending.pid
    }

    pub(in super::super) fn endpoint(&self) -> &Endpoint {
        &self.lending.endpoint
    }

    pub(in super::super) fn token(&self) -> &Arc<str> {
        &self.lending.token
    }

    pub(in super::super) fn found(&self) -> Found {
        self.lending.found
    }

    /// How it ended, if it has.
    pub(in super::super) fn exit(&self) -> Option<Exit> {
        match &*self.fate.borrow() {
            Some(Fate::Ended(ended)) => Some(ended.exit),
            Some(Fate::Kept) | None => None,
        }
    }

    /// Waits until it has ended, or somebody else has it.
    pub(in super::super) fn exited(&self) -> impl Future<Output = Exit> + Send + 'static + use<> {
        let fate = self.fate.clone();
        async move { end(fate).await.exit }
    }

    /// What it printed last, if it has ended.
    pub(in super::super) fn output(&self) -> Arc<str> {
        match &*self.fate.borrow() {
            Some(Fate::Ended(ended)) => ended.output.as_str().into(),
            Some(Fate::Kept) | None => "".into(),
        }
    }

    /// Tells a runner of ours that its end is near, unless it is the worker that ends.
    pub(in super::super) fn drain_notice(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let notice = (!self.desk.open().leaving).then(|| drain_notice(self.endpoint(), self.token()));
        async move {
            if let Some(notice) = notice {
                notice.await;
            }
        }
    }

    /// Requests of our own went well.
    pub(in super::super) fn fit(&self) {
        (self.desk.say)(&Report::Tried(Tried { ask: self.lending.ask, failed: None }));
    }

    /// Requests of our own failed, which the supervisor counts. What it says to that.
    pub(in super::super) async fn unfit(&self, failure: &Failure) -> NotStarted {
        let (ask, (sender, answer)) = (self.lending.ask, oneshot::channel());
        self.desk.open().asked.insert(ask, sender);
        let failed = Some(NotLent::new(ask, failure));
        (self.desk.say)(&Report::Tried(Tried { ask, failed }));
        match answer.await {
            Ok(Err(told)) => told,
            // It has nothing else to say to that; and the sender is only dropped with the worker.
            Ok(Ok(_)) | Err(_) => Code::Draining.into(),
        }
    }

    /// Gives it back. If it is to stop, waits for that.
    pub(in super::super) async fn stop(mut self) -> End {
        self.parted = true;
        match self.desk.release(self.lending.ask) {
            Parting::ForGood => end(self.fate.clone()).await,
            Parting::Leaving => End { exit: Exit::Lost, forced: false },
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let open = self.desk.open().lent.remove(&self.lending.ask).is_some();
        if open && !self.parted {
            self.desk.release(self.lending.ask);
        }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("lending", &self.lending).finish_non_exhaustive()
    }
}

impl fmt::Debug for Borrower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrower").finish_non_exhaustive()
    }
}

async fn end(mut fate: watch::Receiver<Option<Fate>>) -> End {
    match fate.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(Fate::Ended(ended))) => End { exit: ended.exit, forced: ended.forced },
        // Nobody here will know how it ends.
        Ok(Some(Fate::Kept) | None) | Err(_) => End { exit: Exit::Lost, forced: false },
    }
}
