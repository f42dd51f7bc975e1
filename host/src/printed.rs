//! Where what applications print goes, as the configuration says; and whose it is that a worker prints.

use std::{sync::Arc, time::Duration};

use cohost::{
    HostingModel,
    config::{self, Config},
    output::{self, Outputs},
    supervisor::worker::Part,
};

use crate::edition::Edition;

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
pub(crate) fn only((edition, config): &(Edition, Config), part: &Part) -> Option<Arc<str>> {
    let mut inside = inside(edition, config);
    match (part, inside.next(), inside.next()) {
        (Part::Everything, Some(only), None) => Some(Arc::clone(&only.name)),
        _ => None,
    }
}

/// The applications that a worker has in process, wherever they are written to run. Also those that are offline, which may
/// not have ended yet.
pub(crate) fn inside<'a>(
    edition: &'a Edition,
    config: &'a Config,
) -> impl Iterator<Item = &'a config::Application> {
    let applications = config.sites.iter().flat_map(|site| &site.applications);
    applications.filter(|it| edition.described(it).application.hosting_model == HostingModel::InProcess)
}

/// A disk that does not answer must not hold the end of the host.
const LAST_MOMENT: Duration = Duration::from_secs(2);
