//! How an application stands: what the host or an operator has decided about it beyond what is written.
//!
//! In: decisions, and the configuration. Out: each application as it is to be hosted, to compare with what it was.
//! Never: changes what is written.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use cohost::{
    HostingModel,
    config::{Application, Artifact},
    front::Front,
    options::{Confinement, Recycle},
    supervisor::Stamp,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rollback::Former;

/// What was decided about an application beyond what is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Standing {
    /// How often it was recycled: a higher number is another application to the worker.
    pub(crate) round: u64,
    /// Its library instead of the one that is written, such as a copy that was tried.
    #[serde(serialize_with = "path_as_bytes", deserialize_with = "path_of_bytes")]
    pub(crate) library: Option<PathBuf>,
    /// Where it runs instead of where it is written to.
    #[serde(serialize_with = "model_as_text", deserialize_with = "model_of_text")]
    pub(crate) hosting_model: Option<HostingModel>,
    /// It is not served at all.
    pub(crate) offline: Option<Offline>,
    /// Nor for as long as there is a file in its folder that says so.
    pub(crate) app_offline: Option<Offline>,
    /// The generation before this one.
    pub(crate) previous: Option<Former>,
    /// The generation from which it was gone back to this one.
    pub(crate) instead_of: Option<Former>,
    /// The text that describes it, if it is not what is written now.
    pub(crate) written: Option<String>,
    /// Its file as it was when somebody last looked.
    pub(crate) file: Option<Stamp>,
}

/// An application that is not served for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offline {
    /// Who wants it so.
    pub(crate) by: By,
    /// What clients see, in HTML.
    #[serde(default)]
    pub(crate) page: Option<String>,
}

/// Who has taken an application offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// Somebody with a command.
    Operator,
    /// A file in the application's folder.
    File,
}

/// An application as it is to be hosted. If it is equal to what it was, it is the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Described {
    /// As written, but for where it runs.
    pub(crate) application: Application,
    /// The copy to open in place of its library.
    pub(crate) pinned: Option<PathBuf>,
    pub(crate) round: u64,
    pub(crate) offline: Option<Offline>,
    pub(crate) file: Option<Stamp>,
}

impl Standing {
    /// What `application` comes to.
    pub(crate) fn of(&self, application: &Application) -> Described {
        let mut application = application.clone();
        // Who is replaced sooner or later than before is no other one.
        application.recycle = Recycle::default();
        // What stands before it is no part of it.
        application.front = Front::default();
        // A command has no library, and no choice where it runs.
        let is_library = matches!(application.artifact, Artifact::Library(_));
        // Nor has the worker a user and limits for one of its applications, whatever was decided before that was written.
        let possible = |model: &HostingModel| {
            is_library && (!is_confined(&application) || *model != HostingModel::InProcess)
        };
        if let Some(model) = self.hosting_model.filter(possible) {
            application.hosting_model = model;
        }
        let pinned = self.library.clone().filter(|_| is_library);
        // A copy stays as it is, whatever becomes of the file.
        let file = self.file.filter(|_| pinned.is_none());
        Described { application, pinned, round: self.round, offline: self.offline(), file }
    }

    /// Whether there is a reason not to serve it.
    pub(crate) fn is_offline(&self) -> bool {
        self.offline.is_some() || self.app_offline.is_some()
    }

    /// Why it is not served. There may be two reasons, and the page is of the one that has one.
    fn offline(&self) -> Option<Offline> {
        let mut offline = self.offline.clone().or_else(|| self.app_offline.clone())?;
        if offline.page.is_none() {
            offline.page = self.app_offline.as_ref().and_then(|file| file.page.clone());
        }
        Some(offline)
    }
}

/// Whether an application is written in the same way in two configurations, but for when it is recycled. Where somebody has
/// it run is not written.
pub(crate) fn is_written_alike(one: &Application, other: &Application) -> bool {
    let as_written = |application| Standing::default().of(application).application;
    as_written(one) == as_written(other)
}

impl Described {
    /// Its name, unlike any other's.
    pub(crate) fn name(&self) -> &str {
        &self.application.name
    }

    /// Whether it is the same code with the same configuration, wherever it runs, and however often it was recycled.
    pub(crate) fn is_of_one_generation(&self, other: &Self) -> bool {
        let mut here = other.application.clone();
        here.hosting_model = self.application.hosting_model;
        self.pinned == other.pinned && self.file == other.file && self.application == here
    }
}

/// Whether it has a user or limits of its own, which take a process.
pub(crate) fn is_confined(application: &Application) -> bool {
    application.process.confinement != Confinement::default()
}

/// The file of an application as it is now. A program without a slash is looked up elsewhere by every process.
pub(crate) fn look(application: &Application) -> Option<Stamp> {
    match &application.artifact {
        Artifact::Library(path) => Stamp::of(path),
        Artifact::Command(words) => {
            words.first().map(Path::new).filter(|it| it.is_absolute()).and_then(Stamp::of)
        }
        // Each request sees them as they are.
        Artifact::Files(_) | Artifact::Upstreams(_) => None,
    }
}

// Paths need not be text, and JSON would insist on that.
pub(crate) fn path_as_bytes<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.clone().map(PathBuf::into_os_string).serialize(serializer)
}

pub(crate) fn path_of_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(Option::<OsString>::deserialize(deserializer)?.map(PathBuf::from))
}

pub(crate) fn model_as_text<S: Serializer>(
    model: &Option<HostingModel>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    model.map(HostingModel::as_str).serialize(serializer)
}

pub(crate) fn model_of_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<HostingModel>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Application {
        Application::new("shop", Artifact::Library("/srv/libshop.so".into()))
    }

    #[test]
    fn what_was_decided_wins_over_what_is_written() {
        let standing = Standing {
            library: Some("/pins/libshop.so".into()),
            hosting_model: Some(HostingModel::OutOfProcess),
            ..Standing::default()
        };
        let described = standing.of(&shop());
        assert_eq!(described.pinned.as_deref(), Some(Path::new("/pins/libshop.so")));
        assert_eq!(described.application.hosting_model, HostingModel::OutOfProcess);
        let command = Application::new("api", Artifact::Command(vec!["node".to_owned()]));
        assert_eq!(standing.of(&command), Standing::default().of(&command));
    }

    #[test]
    fn an_application_is_another_one_after_each_decision() {
        let as_written = Standing::default().of(&shop());
        assert_eq!(as_written, Standing::default().of(&shop()));
        let offline = Some(Offline { by: By::Operator, page: None });
        for standing in [
            Standing { round: 1, ..Standing::default() },
            Standing { offline, ..Standing::default() },
            Standing { file: Stamp::of(Path::new("/")), ..Standing::default() },
        ] {
            assert_ne!(standing.of(&shop()), as_written, "{standing:?}");
        }
    }

    #[test]
    fn an_application_is_the_same_whenever_it_is_to_be_recycled() {
        let mut often = shop();
        often.recycle.requests = Some(10);
        assert_eq!(Standing::default().of(&often), Standing::default().of(&shop()));
    }

    #[test]
    fn offline_for_two_reasons_needs_both_to_go() {
        let by = |by, page: Option<&str>| Some(Offline { by, page: page.map(str::to_owned) });
        let mut standing = Standing { offline: by(By::Operator, None), ..Standing::default() };
        standing.app_offline = by(By::File, Some("<p>later"));
        assert_eq!(standing.of(&shop()).offline, by(By::Operator, Some("<p>later")));
        standing.offline = None;
        assert_eq!(standing.of(&shop()).offline, by(By::File, Some("<p>later")));
        standing.app_offline = None;
        assert_eq!(standing.of(&shop()).offline, None);
    }

    #[test]
    fn it_is_handed_over_as_it_is_and_what_a_later_build_adds_is_skipped() {
        use std::os::unix::ffi::OsStringExt as _;
        let standing = Standing {
            round: 3,
            library: Some(OsString::from_vec(vec![b'/', 0xff]).into()),
            hosting_model: Some(HostingModel::InProcess),
            offline: Some(Offline { by: By::Operator, page: None }),
            app_offline: Some(Offline { by: By::File, page: Some("<p>later".to_owned()) }),
            previous: Some(Former { library: Some("/pins/a/libshop.so".into()), written: None }),
            instead_of: Some(Former { library: None, written: Some("[[site]]".to_owned()) }),
            written: Some("[[site]]".to_owned()),
            file: Stamp::of(Path::new("/")),
        };
        let text = serde_json::to_string(&standing).unwrap();
        assert_eq!(serde_json::from_str::<Standing>(&text).unwrap(), standing);
        let later = r#"{"round":2,"mood":"good"}"#;
        assert_eq!(serde_json::from_str::<Standing>(later).unwrap().round, 2);
    }
}
