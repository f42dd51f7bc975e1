//! What the path on the command line names.

use std::path::{Path, PathBuf};

use crate::exit::{Exit, Refused};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A configuration file.
    Configuration(PathBuf),
    /// A crate's manifest, or a workspace's.
    Manifest(PathBuf),
    /// A library, or whatever else the file is: `preflight` tells what.
    Library(PathBuf),
}

/// Finds out what `path` names. In a directory, a configuration comes before a crate.
pub(crate) fn named(path: &Path) -> Result<Named, Refused> {
    if path.is_dir() {
        let configuration = path.join(CONFIGURATION);
        let manifest = path.join(MANIFEST);
        return if configuration.is_file() {
            Ok(Named::Configuration(tidy(&configuration)))
        } else if manifest.is_file() {
            Ok(Named::Manifest(tidy(&manifest)))
        } else if path.join(WEB_CONFIG).is_file() {
            Err(Exit::Failed.because(format!(
                "{0} has a {WEB_CONFIG} and no {CONFIGURATION}; make one of it with \
                 `cohost import {0}/{WEB_CONFIG} -o {0}/{CONFIGURATION}`",
                path.display()
            )))
        } else {
            Err(Exit::Failed.because(format!(
                "{} has neither {CONFIGURATION} nor {MANIFEST}; name a crate, a library or a configuration",
                path.display()
            )))
        };
    }
    if !path.exists() {
        return Err(Exit::Failed.because(format!("{} does not exist", path.display())));
    }
    Ok(if path.file_name().is_some_and(|name| name == MANIFEST) {
        Named::Manifest(path.to_owned())
    } else if path.extension().is_some_and(|extension| extension == "toml") {
        Named::Configuration(path.to_owned())
    } else {
        Named::Library(path.to_owned())
    })
}

/// `path` without a `./` in front, which would stand in every message.
fn tidy(path: &Path) -> PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_owned()
}

/// What an application is called that is made of this library: `shop` for `libshop.so`.
///
/// Only of characters that a name in the configuration may have.
pub(crate) fn name_of(library: &Path) -> String {
    let stem = library.file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.strip_prefix("lib").filter(|rest| !rest.is_empty()).unwrap_or(&stem);
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let name: String = stem.chars().map(|character| if fits(character) { character } else { '-' }).collect();
    if name.is_empty() { "application".to_owned() } else { name }
}

const CONFIGURATION: &str = "cohost.toml";
/// What IIS reads.
pub(crate) const WEB_CONFIG: &str = "web.config";
const MANIFEST: &str = "Cargo.toml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_its_configuration_or_else_its_crate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let refused = named(path).unwrap_err();
        assert!(refused.message.ends_with("name a crate, a library or a configuration"), "{refused}");
        std::fs::write(path.join("Cargo.toml"), "").unwrap();
        assert_eq!(named(path), Ok(Named::Manifest(path.join("Cargo.toml"))));
        std::fs::write(path.join("cohost.toml"), "").unwrap();
        assert_eq!(named(path), Ok(Named::Configuration(path.join("cohost.toml"))));
        assert_eq!(named(&path.join("Cargo.toml")), Ok(Named::Manifest(path.join("Cargo.toml"))));
    }

    #[test]
    fn any_other_file_is_taken_for_a_library() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libshop.so");
        assert_eq!(named(&library).unwrap_err().message, format!("{} does not exist", library.display()));
        std::fs::write(&library, "").unwrap();
        assert_eq!(named(&library), Ok(Named::Library(library)));
    }

    #[test]
    fn an_application_is_called_after_its_library() {
        assert_eq!(name_of(Path::new("target/libsample_app.so")), "sample_app");
        assert_eq!(name_of(Path::new("lib.so")), "lib");
        assert_eq!(name_of(Path::new("my shop.so")), "my-shop");
    }
}
