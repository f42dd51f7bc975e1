//! Files that are sent as they are.

use std::path::PathBuf;

/// Files below a folder, by the paths of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Files {
    /// The folder. It may be a link, and lead elsewhere by the next request.
    pub root: PathBuf,
    /// What is sent for a directory: the first of these that is in it.
    pub default_documents: Vec<String>,
}

impl Files {
    /// The files in this folder, with the defaults for everything else.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let default_documents = ["index.html", "index.htm"].map(str::to_owned).to_vec();
        Self { root: root.into(), default_documents }
    }
}
