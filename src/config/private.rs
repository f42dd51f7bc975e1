//! Paths that the host has for itself: where files are served, these are not among them.

use std::path::{Path, PathBuf};

use super::{Application, Artifact, Config};
use crate::front::Files;

/// Tells all files that are served which paths below their folder are not for sending: the configuration, which is `file`,
/// private keys, libraries and programs, what applications print, and all that belongs to an account of ACME.
pub(super) fn keep(config: &mut Config, file: &Path) {
    let outputs = config.log.outputs.values().chain([&config.log.output]);
    let outputs = outputs.map(|output| output.folder.clone());
    let code = applications(config).filter_map(|application| code(&application.artifact));
    let certificates =
        config.sites.iter().filter_map(|site| site.tls.as_ref()).flat_map(|tls| &tls.certificates);
    let keys = certificates.map(|certificate| certificate.key.clone());
    let acme = config.acme.iter().map(|acme| acme.folder.clone());
    let private: Vec<PathBuf> =
        outputs.chain(code).chain(keys).chain(acme).chain([file.to_owned()]).collect();
    for site in &mut config.sites {
        let of_applications =
            site.applications.iter_mut().flat_map(|Application { artifact, front, .. }| {
                let alone = match artifact {
                    Artifact::Files(files) => Some(files),
                    _ => None,
                };
                alone.into_iter().chain(&mut front.files)
            });
        of_applications.chain(&mut site.front.files).for_each(|files| hide(files, &private));
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

fn hide(files: &mut Files, private: &[PathBuf]) {
    let below = private.iter().filter_map(|path| path.strip_prefix(&files.root).ok());
    files.private = below.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned).collect();
}
