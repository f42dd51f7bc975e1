//! What the log says of a worker that crashed: one line, with everything that is known.

use cohost::supervisor::{
    Exit,
    worker::{Blame, Generation},
};

/// What a worker did when it crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum While {
    Serving,
    Ending,
}

/// Says who ended a worker, and at which request.
pub(crate) fn report(worker: Generation, pid: u32, exit: Exit, blame: &Blame, at: While) {
    let what = match at {
        While::Serving => "worker crashed, and with it the requests that it had; the next one takes over",
        While::Ending => "worker crashed while it ended, and with it the requests that it still had",
    };
    let culprit = blame.culprit.as_ref();
    let request = culprit.and_then(|culprit| culprit.request.as_ref());
    let known = |text: &'static str| culprit.is_none().then_some(text);
    tracing::error!(
        worker = worker.0,
        pid,
        %exit,
        application = culprit.map(|culprit| &*culprit.application),
        generation = culprit.map(|culprit| culprit.generation),
        method = request.map(|request| &*request.method).filter(|method| !method.is_empty()),
        path = request.map(|request| &*request.path).filter(|path| !path.is_empty()),
        request_id = request.map(|request| tracing::field::display(request.id)),
        evidence = culprit.map(|culprit| culprit.evidence.as_str()),
        suspects = (!blame.suspects.is_empty()).then(|| blame.suspects.join(", ")),
        unattributed = known("which application it was is not known"),
        perhaps = perhaps(exit),
        address = blame.address.map(|address| format!("{address:#x}")),
        instruction = blame.instruction.map(|address| format!("{address:#x}")),
        "{what}"
    );
}

/// What an end means that no code brings about by mistake.
fn perhaps(exit: Exit) -> Option<&'static str> {
    match exit {
        Exit::Signal(SIGKILL) => {
            Some("killed by the system for want of memory (its log says so), or by hand")
        }
        Exit::Code(_) => Some("the application called exit"),
        _ => None,
    }
}

const SIGKILL: i32 = 9;
