//! Describes an application.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Application, current::Shared};
#[cfg(feature = "server")]
use crate::forwarded::Trust;
#[cfg(feature = "out-of-process")]
use crate::supervisor::{Instances, Runner};
use crate::{HostingModel, Options, facts::empty_base, http::ErrorPage, options::ProcessOptions};

/// What an application is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Artifact {
    /// An application library, for either hosting model.
    Library(PathBuf),
    /// A program and its arguments, which listens on a port or socket it is told. Always out of process.
    Command(Vec<OsString>),
}

/// An application as it was described; complete.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) name: Arc<str>,
    pub(super) path_base: Arc<str>,
    pub(super) artifact: Artifact,
    /// A copy of the library to open in its place.
    pub(super) pinned: Option<PathBuf>,
    pub(super) hosting_model: HostingModel,
    pub(super) content_root: PathBuf,
    pub(super) settings: serde_json::Value,
    pub(super) options: Options,
    pub(super) process: ProcessOptions,
    #[cfg(feature = "out-of-process")]
    pub(super) generation: u64,
    #[cfg(feature = "out-of-process")]
    pub(super) inherited: Vec<(OsString, OsString)>,
    #[cfg(feature = "out-of-process")]
    pub(super) instances: Instances,
    #[cfg(feature = "server")]
    pub(super) trusted: Trust,
}

/// Describes an application.
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<Arc<str>>,
    path_base: Option<Arc<str>>,
    artifact: Option<Artifact>,
    pinned: Option<PathBuf>,
    hosting_model: Option<HostingModel>,
    content_root: Option<PathBuf>,
    settings: serde_json::Value,
    options: Options,
    process: ProcessOptions,
    error_page: ErrorPage,
    #[cfg(feature = "out-of-process")]
    generation: u64,
    #[cfg(feature = "out-of-process")]
    inherited: Vec<(OsString, OsString)>,
    #[cfg(feature = "out-of-process")]
    instances: Option<Instances>,
    #[cfg(feature = "server")]
    trusted: Trust,
}

/// An application was not described well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Neither library nor command.
    #[error("an application needs a library or a command; call `library` or `command`")]
    NoArtifact,
    /// A command has no words.
    #[error("the command is empty; its first word is the program")]
    EmptyCommand,
    /// A command cannot be loaded.
    #[error("a command runs out of process only; build a library to host it in process")]
    CommandInProcess,
    /// The path base is not one.
    #[error("path base {0:?} must be empty, or begin with a slash and not end with one")]
    PathBase(Arc<str>),
    /// This build has no processes.
    #[error("this program was built without the feature `out-of-process`")]
    NoProcesses,
    /// Settings are not an object.
    #[error("settings must be a JSON object")]
    Settings,
}

impl Builder {
    /// Its name in logs and metrics; the file's name by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// An application library.
    #[must_use]
    pub fn library(mut self, path: impl Into<PathBuf>) -> Self {
        self.artifact = Some(Artifact::Library(path.into()));
        self
    }

    /// A copy of the library, which is opened in its place and has to stay as it is. Messages name the library all the
    /// same.
    #[must_use]
    pub fn pinned(mut self, copy: impl Into<PathBuf>) -> Self {
        self.pinned = Some(copy.into());
        self
    }

    /// A program and its arguments. `{port}` and `{socket}` in them are filled in.
    #[must_use]
    pub fn command<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.artifact = Some(Artifact::Command(words.into_iter().map(Into::into).collect()));
        self
    }

    /// Where its code runs. In process by default for a library, out of process for a command.
    #[must_use]
    pub fn hosting_model(mut self, model: HostingModel) -> Self {
        self.hosting_model = Some(model);
        self
    }

    /// The path prefix it is reached under, empty at the root. It is told so; taking it off the path is the work of
    /// whoever mounts it.
    #[must_use]
    pub fn path_base(mut self, base: impl Into<Arc<str>>) -> Self {
        self.path_base = Some(base.into());
        self
    }

    /// Directory of its files, and the working directory of its processes; the current one by default.
    #[must_use]
    pub fn content_root(mut self, directory: impl Into<PathBuf>) -> Self {
        self.content_root = Some(directory.into());
        self
    }

    /// What it is told itself: an object.
    #[must_use]
    pub fn settings(mut self, settings: serde_json::Value) -> Self {
        self.settings = settings;
        self
    }

    /// Its limits.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// What it has in a process of its own.
    #[must_use]
    pub fn process(mut self, process: ProcessOptions) -> Self {
        self.process = process;
        self
    }

    /// How its failures are shown.
    #[must_use]
    pub fn error_page(mut self, page: ErrorPage) -> Self {
        self.error_page = page;
        self
    }

    /// How many there were before that are the same but for this: a process of theirs is not taken for one of its own.
    #[cfg(feature = "out-of-process")]
    #[must_use]
    pub fn generation(mut self, before: u64) -> Self {
        self.generation = before;
        self
    }

    /// The environment that its processes inherit; nothing by default. Usually `std::env::vars_os()`.
    #[cfg(feature = "out-of-process")]
    #[must_use]
    pub fn inherited_environment(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        self.inherited = variables.into_iter().collect();
        self
    }

    /// The program that runs libraries out of process; by default this very program, which must then call
    /// [`enter_if_asked`](crate::enter_if_asked) first thing in `main`.
    #[cfg(feature = "out-of-process")]
    #[must_use]
    pub fn runner(self, runner: Runner) -> Self {
        self.instances(Instances::own(runner))
    }

    /// Where its processes come from; by default this very process starts them.
    #[cfg(feature = "out-of-process")]
    #[must_use]
    pub fn instances(mut self, instances: Instances) -> Self {
        self.instances = Some(instances);
        self
    }

    /// Peers whose forwarding fields are believed; nobody by default. For programs that mount it in a router of theirs;
    /// [`server::Options`](crate::server::Options) has the same for those that let our server serve it.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn trusted(mut self, trusted: Trust) -> Self {
        self.trusted = trusted;
        self
    }

    /// The application. Nothing of it runs yet, and its file need not exist yet.
    ///
    /// # Errors
    /// Returns what contradicts itself or is missing.
    pub fn build(self) -> Result<Application, BuildError> {
        let artifact = self.artifact.ok_or(BuildError::NoArtifact)?;
        let path_base = self.path_base.unwrap_or_else(empty_base);
        if !path_base.is_empty() && (!path_base.starts_with('/') || path_base.ends_with('/')) {
            return Err(BuildError::PathBase(path_base));
        }
        if !self.settings.is_object() && !self.settings.is_null() {
            return Err(BuildError::Settings);
        }
        let hosting_model = model(&artifact, self.hosting_model)?;
        let content_root = self.content_root.unwrap_or_else(|| PathBuf::from("."));
        let definition = Definition {
            name: self.name.unwrap_or_else(|| artifact.name()),
            path_base,
            pinned: self.pinned,
            hosting_model,
            content_root: std::path::absolute(&content_root).unwrap_or(content_root),
            settings: self.settings,
            options: self.options,
            process: self.process,
            #[cfg(feature = "out-of-process")]
            generation: self.generation,
            #[cfg(feature = "out-of-process")]
            inherited: self.inherited,
            #[cfg(feature = "out-of-process")]
            instances: self
                .instances
                .unwrap_or_else(|| Instances::own(Runner::current(std::env::temp_dir()))),
            #[cfg(feature = "server")]
            trusted: self.trusted,
            artifact,
        };
        Ok(Application::new(Shared::new(definition), self.error_page))
    }
}

fn model(artifact: &Artifact, wanted: Option<HostingModel>) -> Result<HostingModel, BuildError> {
    let model = match (artifact, wanted) {
        (Artifact::Command(words), _) if words.is_empty() => return Err(BuildError::EmptyCommand),
        (Artifact::Command(_), Some(HostingModel::InProcess)) => return Err(BuildError::CommandInProcess),
        (Artifact::Command(_), _) => HostingModel::OutOfProcess,
        (Artifact::Library(_), wanted) => wanted.unwrap_or_default(),
    };
    if model == HostingModel::OutOfProcess && cfg!(not(feature = "out-of-process")) {
        return Err(BuildError::NoProcesses);
    }
    Ok(model)
}

impl Artifact {
    /// What the file is called: `shop` for `libshop.so`.
    fn name(&self) -> Arc<str> {
        let file = match self {
            Self::Library(path) => path.as_path(),
            Self::Command(words) => words.first().map_or(Path::new("command"), Path::new),
        };
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let name = stem.strip_prefix("lib").filter(|name| !name.is_empty()).unwrap_or(&stem);
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_that_contradicts_itself_is_refused() {
        let build = |builder: Builder| builder.build().map(|_| ());
        assert!(matches!(build(Application::builder()), Err(BuildError::NoArtifact)));
        assert!(matches!(build(Application::builder().command([""; 0])), Err(BuildError::EmptyCommand)));
        let in_process = Application::builder().command(["x"]).hosting_model(HostingModel::InProcess);
        assert!(matches!(build(in_process), Err(BuildError::CommandInProcess)));
        let base = Application::builder().library("x.so").path_base("shop/");
        assert!(matches!(build(base), Err(BuildError::PathBase(_))));
    }

    #[test]
    fn an_application_is_named_by_its_file() {
        let name = |path: &str| Artifact::Library(path.into()).name();
        assert_eq!(&*name("/srv/libshop.so"), "shop");
        assert_eq!(&*name("lib.so"), "lib");
        assert_eq!(&*Artifact::Command(vec!["/usr/bin/node".into()]).name(), "node");
    }
}
