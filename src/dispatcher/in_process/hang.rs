//! A thread that an application does not give back.
//!
//! In: what the watchdog saw. Out: a line in the log, with the functions that the thread is in; and a call to whoever
//! wants to do something about it. Never: ends the thread, which the system does not allow.

use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    facts::RequestId,
    recorder::Inside,
    sys::stack::{self, Stack},
};

/// A thread that an application does not give back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hang {
    /// The application's name.
    pub application: Arc<str>,
    /// Which loaded copy of it.
    pub generation: u32,
    /// For which request; `None` for what is done for none.
    pub request: Option<RequestId>,
    /// The request's method; empty if it is not known.
    pub method: String,
    /// And its path.
    pub path: String,
    /// For how long, so far.
    pub time: Duration,
}

type Told = Box<dyn Fn(&Hang) + Send + Sync>;

static TOLD: OnceLock<Told> = OnceLock::new();

/// Has `told` called for each thread that an application keeps for longer than its `hang_timeout`; once for the process,
/// later calls do nothing. The log says so in any case.
///
/// It is called on a thread that looks after all others, and should not keep it.
pub fn when_one_hangs(told: impl Fn(&Hang) + Send + Sync + 'static) {
    let _ = TOLD.set(Box::new(told));
}

/// Tells of a thread. Nothing, if it is gone: it ended in the application, and nobody waits for it. Nor if it is not there
/// any more once it has answered: then the application has given it back, and what it answered is about somebody else.
pub(super) fn report(
    application: Arc<str>,
    generation: u32,
    inside: &Inside,
    time: Duration,
    is_there: &dyn Fn() -> bool,
) {
    let stack = match stack::of(inside.thread) {
        Stack::Functions(functions) => functions,
        Stack::Gone => return,
        Stack::Silent => in_the_system(inside.thread),
    };
    if !is_there() {
        return;
    }
    let hang = Hang {
        application,
        generation,
        request: inside.request,
        method: inside.method.clone(),
        path: inside.path.clone(),
        time,
    };
    tracing::error!(
        application = %hang.application,
        generation,
        method = Some(&*hang.method).filter(|method| !method.is_empty()),
        path = Some(&*hang.path).filter(|path| !path.is_empty()),
        request_id = hang.request.map(tracing::field::display),
        held_ms = time.as_millis() as u64,
        thread = inside.thread,
        stack,
        "application hangs: it has not given back a thread that serves connections"
    );
    if let Some(told) = TOLD.get() {
        told(&hang);
    }
}

/// What the system says of a thread that does not answer.
fn in_the_system(thread: u32) -> String {
    let mut text = "it does not answer; the system says".to_owned();
    for what in ["wchan", "syscall"] {
        if let Ok(said) = std::fs::read_to_string(format!("/proc/self/task/{thread}/{what}")) {
            let _ = write!(text, " {what}: {}", said.trim());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::recorder::Doing;

    #[test]
    fn a_thread_that_was_given_back_meanwhile_is_no_hang() {
        static HEARD: Mutex<Vec<Arc<str>>> = Mutex::new(Vec::new());
        when_one_hangs(|hang| HEARD.lock().unwrap().push(Arc::clone(&hang.application)));
        let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let (method, path) = ("GET".to_owned(), "/".to_owned());
        let inside = Inside {
            thread,
            application: 0,
            doing: Doing::Serving,
            request: Some(RequestId(1)),
            method,
            path,
        };
        report("back".into(), 1, &inside, Duration::from_secs(90), &|| false);
        report("held".into(), 1, &inside, Duration::from_secs(90), &|| true);
        assert_eq!(*HEARD.lock().unwrap(), ["held".into()]);
    }
}
