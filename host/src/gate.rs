//! Which applications of this worker get no requests for a while, because they have ended others before.
//!
//! In: what the supervisor says. Out: a failure for each request, until the time is over, or until the supervisor allows
//! it; then the application is tried, by the next request, in this same worker. Never: more than a look at one word for
//! an application that is open.
//!
//! Gates are by name, and for the whole process, as the supervisor's word is: whatever generation of an application comes
//! to stand there, the gate is the same.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use cohost::{
    Failure,
    failure::Code,
    supervisor::{life::Why, worker::Refuse},
};

static GATES: Mutex<BTreeMap<String, Gate>> = Mutex::new(BTreeMap::new());

/// In front of an application.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    closed: AtomicBool,
    why: Mutex<Option<Closed>>,
}

/// Why an application gets no requests.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) code: Code,
    pub(crate) detail: String,
    pub(crate) since: SystemTime,
    pub(crate) until: Instant,
    /// And then on, until it is allowed.
    pub(crate) held: bool,
}

/// The gate of the application of that name.
pub(crate) fn of(application: &str) -> Gate {
    let mut gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
    gates.entry(application.to_owned()).or_default().clone()
}

/// Closes the gate of an application that has ended workers.
pub(crate) fn close(refuse: &Refuse, now: Instant) {
    let code = match refuse.why {
        Why::FailFast => Code::FailFast,
        Why::BackingOff => Code::WorkerCrashed,
    };
    let until = now + refuse.retry_after;
    of(&refuse.application).close(Closed {
        code,
        detail: refuse.detail.clone(),
        since: SystemTime::now(),
        until,
        held: refuse.held,
    });
}

impl Gate {
    /// Why no request may pass now.
    pub(crate) fn closed(&self, now: Instant) -> Option<Closed> {
        if !self.0.closed.load(Ordering::Relaxed) {
            return None;
        }
        let why = self.0.why.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = why.as_ref().filter(|closed| closed.held || closed.until > now).cloned();
        if closed.is_none() {
            // While nobody can give another reason.
            self.open();
        }
        closed
    }

    /// The answer to a request that may not pass.
    pub(crate) fn refusal(&self) -> Option<Failure> {
        if !self.0.closed.load(Ordering::Relaxed) {
            return None;
        }
        let now = Instant::now();
        self.closed(now).map(|closed| closed.failure(now))
    }

    fn close(&self, why: Closed) {
        let mut reason = self.0.why.lock().unwrap_or_else(PoisonError::into_inner);
        *reason = Some(why);
        self.0.closed.store(true, Ordering::Relaxed);
    }

    /// Lets requests pass again.
    pub(crate) fn open(&self) {
        self.0.closed.store(false, Ordering::Relaxed);
    }
}

impl Closed {
    pub(crate) fn failure(&self, now: Instant) -> Failure {
        // Rounded up: whoever comes back in time is not to be refused again.
        let left = self.until.saturating_duration_since(now) + Duration::from_millis(999);
        let after = Duration::from_secs(left.as_secs().max(1));
        Failure::new(self.code).detail(&*self.detail).retry_after(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_when_its_time_is_over() {
        let now = Instant::now();
        let refuse = Refuse {
            application: "gate-test".to_owned(),
            why: Why::FailFast,
            detail: "it crashed".to_owned(),
            retry_after: Duration::from_secs(3),
            held: false,
        };
        let gate = of("gate-test");
        assert!(gate.closed(now).is_none());
        close(&refuse, now);
        let failure = gate.closed(now + Duration::from_secs(1)).expect("it is closed").failure(now);
        assert_eq!((failure.code, &*failure.detail), (Code::FailFast, "it crashed"));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));
        assert!(gate.closed(now + Duration::from_secs(3)).is_none());
        assert!(gate.closed(now).is_none(), "it stays open");
    }

    #[test]
    fn an_order_that_comes_as_another_one_is_over_counts() {
        let now = Instant::now();
        let refuse = |retry_after| Refuse {
            application: "gate-race-test".to_owned(),
            why: Why::FailFast,
            detail: "it crashed".to_owned(),
            retry_after,
            held: false,
        };
        let (gate, over) = (of("gate-race-test"), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = gate.closed(now);
                }
            });
            for _ in 0..2000 {
                close(&refuse(Duration::ZERO), now);
                close(&refuse(Duration::from_secs(3)), now);
                let closed = gate.closed(now).is_some();
                over.store(!closed, Ordering::Relaxed);
                assert!(closed);
            }
            over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_gate_that_is_held_opens_when_it_is_allowed() {
        let now = Instant::now();
        let refuse = Refuse {
            application: "gate-held-test".to_owned(),
            why: Why::BackingOff,
            detail: "it crashed".to_owned(),
            retry_after: Duration::from_secs(3),
            held: true,
        };
        close(&refuse, now);
        let (gate, later) = (of("gate-held-test"), now + Duration::from_secs(9));
        let failure = gate.closed(later).expect("nobody has allowed it").failure(later);
        assert_eq!(failure.retry_after, Some(Duration::from_secs(1)));
        gate.open();
        assert!(gate.closed(later).is_none());
    }
}
