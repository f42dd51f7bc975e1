//! Has the certificates ordered that sites want from an authority: by the worker that serves.
//!
//! In: what is served. Out: a task that keeps the certificates in their folder, from where the supervisor takes them up
//! like any others; and what authorities are shown meanwhile. Never: two tasks for the same; or an end of one while
//! what is served changes, unless it is about certificates.

use std::sync::Arc;

#[cfg(feature = "acme")]
use cohost::admin::When;
use cohost::{
    admin::NotIssued,
    config::{Acme, Config},
    listener::tls::Challenges,
};

/// The ordering of certificates. Dropping it ends that.
#[derive(Default)]
pub(crate) struct Ordering {
    #[cfg(feature = "acme")]
    under_way: Option<under_way::Task>,
}

impl Ordering {
    /// Has those ordered that `config` wants. `asked` is when somebody last asked to try at once, in seconds since 1970.
    #[cfg(feature = "acme")]
    pub(crate) fn follow(&mut self, config: &Config, asked: u64) {
        let wanted = under_way::Wanted::of(config, asked);
        if self.under_way.as_ref().map(under_way::Task::wanted) != wanted.as_ref() {
            // The one before lets go of the folder first.
            self.under_way = None;
            self.under_way = wanted.map(under_way::Task::begin);
        }
    }

    #[cfg(not(feature = "acme"))]
    pub(crate) fn follow(&mut self, _: &Config, _: u64) {}

    /// Ends it: another worker goes on.
    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }
}

/// What authorities are shown that look whether names of `config` are ours.
#[cfg(feature = "acme")]
pub(crate) fn challenges(config: &Config) -> Option<Arc<dyn Challenges>> {
    let acme = config.acme.as_ref()?;
    Some(Arc::new(cohost::acme::Answers::new(acme, under_way::names(config))))
}

#[cfg(not(feature = "acme"))]
pub(crate) fn challenges(_: &Config) -> Option<Arc<dyn Challenges>> {
    None
}

/// Why there is no certificate for `name`, or none that is newer. Blocks.
#[cfg(feature = "acme")]
pub(crate) fn failed(acme: &Acme, name: &str) -> Option<NotIssued> {
    let store = cohost::acme::Store::new(acme);
    let of = |record: cohost::acme::Record| {
        let cohost::acme::Failed { why, at, .. } = record.failed?;
        Some(NotIssued { detail: why, at: When(at), retry_at: When(record.not_before) })
    };
    // What is wrong with the authority is in the way of the name, too.
    let all = [store.record(name), store.authority()].into_iter().filter_map(of);
    all.max_by_key(|failed| failed.at)
}

#[cfg(not(feature = "acme"))]
pub(crate) fn failed(_: &Acme, _: &str) -> Option<NotIssued> {
    None
}

#[cfg(feature = "acme")]
mod under_way {
    use std::sync::Arc;

    use cohost::{
        acme,
        config::{Acme, Config},
    };
    use tokio::task::AbortHandle;

    /// What is wanted.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Wanted {
        acme: Acme,
        names: Vec<Arc<str>>,
        asked: acme::Asked,
    }

    impl Wanted {
        pub(super) fn of(config: &Config, asked: u64) -> Option<Self> {
            Some(Self { acme: config.acme.clone()?, names: names(config), asked: acme::Asked::at(asked) })
        }
    }

    pub(super) struct Task {
        wanted: Wanted,
        task: AbortHandle,
    }

    impl Task {
        pub(super) fn begin(wanted: Wanted) -> Self {
            let Wanted { acme, names, asked } = wanted.clone();
            let task = tokio::spawn(acme::keep(acme, names, asked)).abort_handle();
            Self { wanted, task }
        }

        pub(super) fn wanted(&self) -> &Wanted {
            &self.wanted
        }
    }

    impl Drop for Task {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    /// The names that certificates are ordered for, each once.
    pub(super) fn names(config: &Config) -> Vec<Arc<str>> {
        let certificates =
            config.sites.iter().filter_map(|site| site.tls.as_ref()).flat_map(|tls| &tls.certificates);
        let mut names: Vec<_> =
            certificates.filter_map(|certificate| certificate.ordered_for.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}
