//! The operator's door of this host: opened where the command line says, or not at all.
//!
//! In: a runtime directory. Out: what operators want, call by call. Never: keeps the host from serving because it could
//! not be opened, unless somebody named the directory.

use cohost::admin::{self, Call, Directory};
use tokio::{
    sync::{
        mpsc::{Receiver, channel},
        oneshot,
    },
    task::JoinHandle,
};

use crate::{
    exit::{Exit, Refused},
    runtime_dir::RuntimeDir,
};

/// The door; or none, where nobody ever calls.
pub(crate) struct Door {
    open: Option<Open>,
}

struct Open {
    calls: Receiver<Call>,
    /// Dropped to close it.
    closing: oneshot::Sender<std::convert::Infallible>,
    serving: JoinHandle<()>,
}

impl Door {
    /// Opens it in `directory`. Where nobody has named that, there may be none.
    pub(crate) fn open(directory: &RuntimeDir) -> Result<Self, Refused> {
        // Who named none may not even know that there could be a door. Two of them must not hinder each other.
        if !directory.is_named() {
            return Ok(Self::if_possible(directory));
        }
        let open = admitted(directory)
            .map_err(|reason| Exit::Failed.because(format!("no place for the operator's door: {reason}")))?;
        Ok(Self::serve(open))
    }

    /// Opens it in `directory`, or goes without.
    pub(crate) fn if_possible(directory: &RuntimeDir) -> Self {
        match admitted(directory) {
            Ok(door) => Self::serve(door),
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "no door for operators: `cohost status` and its like will not find this host; name a \
                     directory with --runtime-dir"
                );
                Self { open: None }
            }
        }
    }

    fn serve(door: admin::Door) -> Self {
        tracing::debug!(directory = %door.directory().display(), "the door for operators is open");
        // As many as fit into the door; whoever calls waits for the answer anyway.
        let (sender, calls) = channel(64);
        let (closing, closed) = oneshot::channel();
        let serving = tokio::spawn(door.serve(sender, async { drop(closed.await) }));
        Self { open: Some(Open { calls, closing, serving }) }
    }

    /// Waits for the next call. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Call {
        match &mut self.open {
            Some(open) => match open.calls.recv().await {
                Some(call) => call,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Closes it, after answers that are on their way.
    pub(crate) async fn close(&mut self) {
        let Some(Open { calls, closing, serving }) = self.open.take() else { return };
        // Whoever still waits hears that the host is ending.
        drop((calls, closing));
        let _panicked = serving.await;
    }
}

/// The door in `directory`, or what is in the way.
fn admitted(directory: &RuntimeDir) -> Result<admin::Door, String> {
    let directory = Directory::take(&directory.path()).map_err(|error| error.to_string())?;
    admin::Door::open(directory).map_err(|error| error.to_string())
}
