//! What a site or an application wants of the pipeline: tables that may stand in both, one kind a file.

mod auth;
mod compression;
mod cors;
mod files;
mod filter;
mod headers;
mod https;
mod ip;
mod limit;
mod rewrite;

use super::{keys::Keys, values::boolean, written::Section};
use crate::front::{Enforcement, Front};

/// What `section`, a site's or an application's, wants.
pub(super) fn read(section: &Section<'_>) -> Front {
    let maps = rewrite::maps(section);
    Front {
        rewrite: rewrite::read(section, &maps),
        outbound: rewrite::outbound(section, &maps),
        headers: headers::read(section),
        compression: compression::read(section),
        ip: ip::read(section),
        https: https::read(section),
        limits: limit::read(section),
        cors: cors::read(section),
        filter: filter::read(section),
        auth: auth::read(section),
        files: files::read(section),
        ..Front::default()
    }
}

/// The same of a site, which has more to say.
pub(super) fn of_site(section: &Section<'_>) -> Front {
    Front { canonical_host: https::canonical_host(section), ..read(section) }
}

/// The table `key` of `section`, if there is one; what is no table is noted.
pub(super) fn table<'a>(
    section: &Section<'a>,
    key: &'static str,
    keys: &'static Keys,
) -> Option<Section<'a>> {
    section.section(key, keys)
}

/// Whether what the rules of `section` refuse is refused.
fn enforcement(section: &Section<'_>) -> Enforcement {
    match section.read("log_only", boolean) {
        Some(true) => Enforcement::Log,
        _ => Enforcement::Refuse,
    }
}
