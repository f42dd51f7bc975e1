//! What was said about files: once, for as long as it is the same.

use std::{collections::BTreeMap, path::PathBuf};

use cohost::{admin::Problem, config::Config};

use crate::{
    certificates::{self, Unusable},
    next::Trouble,
};

/// What was said, by the file that it was about.
#[derive(Default)]
pub(super) struct Said(BTreeMap<PathBuf, String>);

impl Said {
    /// Says what could not be had.
    pub(super) fn troubles(&mut self, troubles: &[Trouble]) {
        for Trouble { application, library, code, content, why } in troubles {
            if self.is_new(library, content) {
                let library = library.display();
                tracing::error!(application, %library, failure = code, why, "library cannot be used; nothing changes");
            }
        }
    }

    /// The same for certificates. What was said of one that was mended is forgotten.
    pub(super) fn unusable(&mut self, unusable: &[Unusable], config: &Config) {
        for file in certificates::all(config) {
            let found = unusable.iter().find(|it| it.certificate == file);
            match found {
                Some(found) if self.is_new(&found.certificate, &found.why) => found.say(),
                Some(_) => {}
                None => drop(self.0.remove(&file)),
            }
        }
    }

    /// Says what is wrong with the configuration; also again, if somebody asked for it.
    pub(super) fn refused(&mut self, is_asked: bool, file: Option<PathBuf>, problem: &Problem) {
        let text = if problem.faults.is_empty() { problem.detail.clone() } else { problem.faults.join("\n") };
        if self.is_new(&file.unwrap_or_default(), &text) || is_asked {
            for fault in text.lines() {
                tracing::error!(fault, "configuration refused; the one in force stays");
            }
        }
    }

    fn is_new(&mut self, file: &std::path::Path, text: &str) -> bool {
        self.0.insert(file.to_owned(), text.to_owned()).as_deref() != Some(text)
    }
}
