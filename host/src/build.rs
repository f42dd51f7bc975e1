//! Builds a crate, and finds the library that came of it.
//!
//! Cargo's own words go to stderr as they come, warnings and errors included; where the library is, cargo says in a
//! message meant for programs. Never guesses at names in `target`.

use std::{
    io::{BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cargo_metadata::{CrateType, Message};

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
    let mut command = cargo(manifest, profile);
    let mut cargo = command.spawn().map_err(|error| {
        Exit::Build.because(format!("cannot start cargo to build {}: {error}", manifest.display()))
    })?;
    let built = match cargo.stdout.take() {
        Some(messages) => libraries(messages),
        None => Ok(Vec::new()),
    };
    let status =
        cargo.wait().map_err(|error| Exit::Build.because(format!("cannot wait for cargo: {error}")))?;
    if !status.success() {
        return Err(Exit::Build.because(format!("{} could not be built ({status})", manifest.display())));
    }
    let built =
        built.map_err(|error| Exit::Build.because(format!("cannot read what cargo says: {error}")))?;
    the_one(built, manifest)
}

fn cargo(manifest: &Path, profile: Profile) -> Command {
    // Cargo tells programs that it runs where it is; the one in PATH may be another.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--lib", "--message-format=json-render-diagnostics", "--manifest-path"])
        .arg(manifest);
    if profile == Profile::Release {
        command.arg("--release");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The application libraries among `messages`, dependencies' ones too.
fn libraries(messages: impl Read) -> std::io::Result<Vec<Built>> {
    let mut built = Vec::new();
    for message in Message::parse_stream(BufReader::new(messages)) {
        let Message::CompilerArtifact(artifact) = message? else { continue };
        if !artifact.target.crate_types.contains(&CrateType::CDyLib) {
            continue;
        }
        let is_library = |file: &&cargo_metadata::camino::Utf8PathBuf| {
            file.extension() == Some(std::env::consts::DLL_EXTENSION)
        };
        let folder = artifact.manifest_path.parent().map(PathBuf::from).unwrap_or_default();
        let library = artifact.filenames.iter().find(is_library).map(|file| file.clone().into());
        built.extend(library.map(|library| Built { library, folder }));
    }
    Ok(built)
}

/// The crate's own library; without one, the only one there is.
fn the_one(mut built: Vec<Built>, manifest: &Path) -> Result<Built, Refused> {
    let own = manifest.canonicalize().ok().and_then(|manifest| manifest.parent().map(Path::to_owned));
    let is_own = |built: &Built| own.is_some() && built.folder.canonicalize().ok() == own;
    if let Some(at) = built.iter().position(is_own) {
        return Ok(built.swap_remove(at));
    }
    match built.len() {
        1 => Ok(built.swap_remove(0)),
        0 => Err(Exit::Build.because(format!(
            "{} makes no application library; add to it\n\n    [lib]\n    crate-type = [\"cdylib\", \"rlib\"]\n",
            manifest.display()
        ))),
        _ => {
            let folders: Vec<_> = built.iter().map(|built| built.folder.display().to_string()).collect();
            Err(Exit::Usage.because(format!("several crates make an application library; name one of them: {}", folders.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(folder: &str) -> Built {
        Built { library: PathBuf::from(folder).join("libx.so"), folder: folder.into() }
    }

    #[test]
    fn a_crate_has_to_make_exactly_one_library() {
        let manifest = Path::new("/nowhere/Cargo.toml");
        assert_eq!(the_one(vec![built("/nowhere/a")], manifest), Ok(built("/nowhere/a")));
        assert!(
            the_one(Vec::new(), manifest)
                .unwrap_err()
                .message
                .contains("crate-type = [\"cdylib\", \"rlib\"]")
        );
        let several = the_one(vec![built("/nowhere/a"), built("/nowhere/b")], manifest).unwrap_err();
        assert_eq!(
            several.message,
            "several crates make an application library; name one of them: /nowhere/a, /nowhere/b"
        );
    }

    #[test]
    fn the_crates_own_library_comes_before_its_dependencies() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        std::fs::write(&manifest, "").unwrap();
        let own = built(folder.path().to_str().unwrap());
        assert_eq!(the_one(vec![built("/nowhere/a"), own.clone()], &manifest), Ok(own));
    }
}
