//! Builds a crate, and finds the library that came of it.
//!
//! Cargo's own words go to stderr as they come, warnings and errors included; which crate makes the library, and where
//! it is then, cargo says in messages meant for programs. Never guesses at names in `target`.

use std::{
    io::{BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cargo_metadata::{CrateType, Message, MetadataCommand, Package};

use crate::exit::{Exit, Refused};

/// How to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Release,
    Debug,
}

/// A library that was built, and the crate that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Built {
    pub(crate) library: PathBuf,
    /// The crate's directory.
    pub(crate) folder: PathBuf,
}

/// Builds the crate of `manifest`; of a workspace, the one member that is an application library.
pub(crate) fn build(manifest: &Path, profile: Profile) -> Result<Built, Refused> {
    let Member { id, folder } = the_one(libraries(manifest)?, manifest)?;
    let mut command = cargo(manifest, &id, profile);
    let mut cargo = command.spawn().map_err(|error| {
        Exit::Build.because(format!("cannot start cargo to build {}: {error}", manifest.display()))
    })?;
    let built = cargo.stdout.take().map_or(Ok(None), |messages| library(messages, &folder));
    let status =
        cargo.wait().map_err(|error| Exit::Build.because(format!("cannot wait for cargo: {error}")))?;
    if !status.success() {
        return Err(Exit::Build.because(format!("{} could not be built ({status})", manifest.display())));
    }
    let library =
        built.map_err(|error| Exit::Build.because(format!("cannot read what cargo says: {error}")))?;
    match library {
        Some(library) => Ok(Built { library, folder }),
        None => Err(Exit::Build.because(format!("cargo does not say where the library of {id} is"))),
    }
}

/// A crate that makes an application library.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    /// By which cargo knows the package: there may be others of its name.
    id: String,
    folder: PathBuf,
}

impl Member {
    fn of(package: &Package) -> Self {
        let folder = package.manifest_path.parent().map(PathBuf::from).unwrap_or_default();
        Self { id: package.id.repr.clone(), folder }
    }
}

/// Those among the crates that `cargo build` builds here.
fn libraries(manifest: &Path) -> Result<Vec<Member>, Refused> {
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec();
    let metadata = metadata.map_err(|error| match error {
        // Cargo's own words, as it would have said them.
        cargo_metadata::Error::CargoMetadata { stderr } => Exit::Build.because(stderr.trim().to_owned()),
        error => Exit::Build.because(format!("cannot ask cargo about {}: {error}", manifest.display())),
    })?;
    let named = manifest.canonicalize().ok();
    let is_named = |package: &&Package| package.manifest_path.canonicalize().ok() == named;
    let is_root =
        named.as_deref().and_then(Path::parent) == metadata.workspace_root.canonicalize().ok().as_deref();
    let packages = match metadata.workspace_packages().into_iter().find(is_named) {
        Some(member) if !is_root => vec![member],
        _ => metadata.workspace_default_packages(),
    };
    let is_library = |package: &&Package| {
        let mut targets = package.targets.iter().filter(|target| !target.is_example());
        targets.any(|target| target.crate_types.contains(&CrateType::CDyLib))
    };
    Ok(packages.into_iter().filter(is_library).map(Member::of).collect())
}

/// The crate of the manifest itself; in a workspace, the only one there is.
fn the_one(mut members: Vec<Member>, manifest: &Path) -> Result<Member, Refused> {
    let own = manifest.canonicalize().ok().and_then(|manifest| manifest.parent().map(Path::to_owned));
    let is_own = |member: &Member| own.is_some() && member.folder.canonicalize().ok() == own;
    if let Some(at) = members.iter().position(is_own) {
        return Ok(members.swap_remove(at));
    }
    match members.len() {
        1 => Ok(members.swap_remove(0)),
        0 => Err(Exit::Build.because(format!(
            "{} makes no application library; add to it\n\n    [lib]\n    crate-type = [\"cdylib\", \"rlib\"]\n",
            manifest.display()
        ))),
        _ => {
            let folders: Vec<_> = members.iter().map(|member| member.folder.display().to_string()).collect();
            Err(Exit::Usage.because(format!("several crates make an application library; name one of them: {}", folders.join(", "))))
        }
    }
}

fn cargo(manifest: &Path, package: &str, profile: Profile) -> Command {
    // Cargo tells programs that it runs where it is; the one in PATH may be another.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    match profile {
        // Not `build`: a crate that is also an `rlib`, for its tests, would get no link-time optimisation.
        Profile::Release => command.args(["rustc", "--release", "--crate-type", "cdylib"]),
        // Here `build`, which shares what it builds with `cargo test`.
        Profile::Debug => command.arg("build"),
    };
    command.args([
        "--lib",
        "--message-format=json-render-diagnostics",
        "--package",
        package,
        "--manifest-path",
    ]);
    command.arg(manifest).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The application library of the crate in `folder`, among `messages`.
fn library(messages: impl Read, folder: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut library = None;
    for message in Message::parse_stream(BufReader::new(messages)) {
        let Message::CompilerArtifact(artifact) = message? else { continue };
        let is_ours = artifact.manifest_path.parent().is_some_and(|parent| parent == folder);
        if !is_ours || !artifact.target.crate_types.contains(&CrateType::CDyLib) {
            continue;
        }
        let is_library = |file: &&cargo_metadata::camino::Utf8PathBuf| {
            file.extension() == Some(std::env::consts::DLL_EXTENSION)
        };
        library = artifact.filenames.iter().find(is_library).map(|file| file.clone().into()).or(library);
    }
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(folder: &str) -> Member {
        Member { id: "x".to_owned(), folder: folder.into() }
    }

    #[test]
    fn a_crate_has_to_make_exactly_one_library() {
        let manifest = Path::new("/nowhere/Cargo.toml");
        assert_eq!(the_one(vec![member("/nowhere/a")], manifest), Ok(member("/nowhere/a")));
        assert!(
            the_one(Vec::new(), manifest)
                .unwrap_err()
                .message
                .contains("crate-type = [\"cdylib\", \"rlib\"]")
        );
        let several = the_one(vec![member("/nowhere/a"), member("/nowhere/b")], manifest).unwrap_err();
        assert_eq!(
            several.message,
            "several crates make an application library; name one of them: /nowhere/a, /nowhere/b"
        );
    }

    #[test]
    fn the_crates_own_library_comes_before_those_of_other_members() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        std::fs::write(&manifest, "").unwrap();
        let own = member(folder.path().to_str().unwrap());
        assert_eq!(the_one(vec![member("/nowhere/a"), own.clone()], &manifest), Ok(own));
    }
}
