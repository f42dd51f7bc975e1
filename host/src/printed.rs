//! Where what applications print goes, as the configuration says; and whose it is that a worker prints.

use std::{sync::Arc, time::Duration};

use cohost::{
    HostingModel,
    config::Config,
    output::{self, Outputs},
    supervisor::worker::Part,
};

/// From now on it goes where `config` says.
pub(crate) fn keep(config: &Config) {
    let own = config.log.outputs.iter().map(|(name, output)| (Arc::clone(name), output.clone()));
    output::keep(Outputs { default: config.log.output.clone(), applications: own.collect() });
}

/// Waits a moment for all of it to be written.
pub(crate) fn finish() {
    output::finish(LAST_MOMENT);
}

/// The only application in a worker, if there is one: what it prints is that one's.
pub(crate) fn only(config: &Config, part: &Part) -> Option<Arc<str>> {
    let applications = config.sites.iter().flat_map(|site| &site.applications);
    let mut inside = applications.filter(|application| application.hosting_model == HostingModel::InProcess);
    match (part, inside.next(), inside.next()) {
        (Part::Everything, Some(only), None) => Some(Arc::clone(&only.name)),
        _ => None,
    }
}

/// A disk that does not answer must not hold the end of the host.
const LAST_MOMENT: Duration = Duration::from_secs(2);
