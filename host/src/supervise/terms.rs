//! What can be told of a configuration before anything of it runs: whether it can be served, and what its workers may
//! take.

use std::time::Duration;

use cohost::{
    config::Config,
    supervisor::{
        Instances,
        worker::{Part, Standby, Terms},
    },
};

use crate::{
    edition::Edition,
    exit::Refused,
    hosting::{self, Hosting},
};

/// What can be told of a configuration without running anything of it.
pub(crate) fn check(edition: &Edition, config: &Config) -> Result<(), Refused> {
    let instances = Instances::own(hosting::runner());
    Hosting::new(edition, config.clone(), Part::Everything, &instances).map(drop)
}

/// What holds for workers of this configuration.
pub(super) fn terms(config: &Config) -> Terms {
    let applications = || config.sites.iter().flat_map(|site| &site.applications).map(|it| &it.options);
    let preloaded = applications().filter(|options| options.preload).map(|options| options.startup_timeout);
    let starting = applications().map(|options| options.startup_timeout);
    let ending = applications().map(|options| options.shutdown_timeout).max().unwrap_or_default();
    Terms {
        start_limit: preloaded.max().unwrap_or_default() + MARGIN,
        change_limit: starting.max().unwrap_or_default() + MARGIN,
        // Twice, for what has been replaced and finishes what it has.
        stop_limit: config.server.shutdown_timeout + 2 * ending + MARGIN,
        standby: if config.server.standby { Standby::Kept } else { Standby::None },
    }
}

/// Beyond what the worker itself has limits for.
pub(super) const MARGIN: Duration = Duration::from_secs(15);
