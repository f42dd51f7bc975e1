//! Paths that the host has for itself: where files are served, these are not among them.

use std::path::{Path, PathBuf};

use super::{Application, Artifact, Config};
use crate::front::{Basic, Files, Front, Users};

/// Tells all files that are served what is not for sending: the configuration, which is `file`, private keys, files of
/// passwords, libraries and programs, what applications print, and all that belongs to an account of ACME.
pub(super) fn keep(config: &mut Config, file: &Path) {
    let outputs = config.log.outputs.values().chain([&config.log.output]);
    let outputs = outputs.map(|output| output.folder.clone());
    let code = applications(config).filter_map(|application| code(&application.artifact));
    let certificates =
        config.sites.iter().filter_map(|site| site.tls.as_ref()).flat_map(|tls| &tls.certificates);
    let keys = certificates.map(|certificate| certificate.key.clone());
    let acme = config.acme.iter().map(|acme| acme.folder.clone());
    let fronts = config.sites.iter().map(|site| &site.front);
    let fronts = fronts.chain(applications(config).map(|application| &application.front));
    let users = fronts.filter_map(users);
    // All of them for all files, wherever those are: what a path leads to is seen when it is asked for.
    let mut private: Vec<PathBuf> =
        outputs.chain(code).chain(keys).chain(users).chain(acme).chain([file.to_owned()]).collect();
    private.sort_unstable();
    private.dedup();
    for site in &mut config.sites {
        let of_applications =
            site.applications.iter_mut().flat_map(|Application { artifact, front, .. }| {
                let alone = match artifact {
                    Artifact::Files(files) => Some(files),
                    _ => None,
                };
                alone.into_iter().chain(&mut front.files)
            });
        let all = of_applications.chain(&mut site.front.files);
        all.for_each(|files: &mut Files| files.private.clone_from(&private));
    }
}

fn applications(config: &Config) -> impl Iterator<Item = &Application> {
    config.sites.iter().flat_map(|site| &site.applications)
}

fn code(artifact: &Artifact) -> Option<PathBuf> {
    match artifact {
        Artifact::Library(path) => Some(path.clone()),
        Artifact::Command(words) => words.first().map(PathBuf::from).filter(|program| program.is_absolute()),
        Artifact::Files(_) | Artifact::Upstreams(_) => None,
    }
}

/// The file of those who may come in, with the hashes of their passwords.
fn users(front: &Front) -> Option<PathBuf> {
    match front.auth.as_ref()?.basic.as_ref()? {
        Basic { users: Users::File(path), .. } => Some(path.clone()),
        Basic { users: Users::These(_), .. } => None,
    }
}
