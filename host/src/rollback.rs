//! The generation of an application that was before this one, and the way back to it.
//!
//! In: what lies at an application's path, and what somebody wants. Out: which copy of its library runs, and as of which
//! text it is described. Never: takes up again what was gone back from, until somebody asks for that or there is something
//! else.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::standing::{Standing, path_as_bytes, path_of_bytes};

/// A generation that does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Former {
    /// The copy of its library.
    #[serde(serialize_with = "path_as_bytes", deserialize_with = "path_of_bytes")]
    pub(crate) library: Option<PathBuf>,
    /// The text that described it, if that differs from what describes it now.
    pub(crate) written: Option<String>,
}

impl Standing {
    /// A copy of what lies at the path of its library, which somebody has looked at.
    pub(crate) fn found(&mut self, pin: PathBuf) {
        let gone_back_from = self.instead_of.as_ref().and_then(|former| former.library.as_ref());
        if self.library.as_ref() != Some(&pin) && gone_back_from != Some(&pin) {
            self.library = Some(pin);
            self.go_forward();
        }
    }

    /// It is again as it is written, and its library what lies at its path.
    pub(crate) fn go_forward(&mut self) {
        (self.instead_of, self.written) = (None, None);
    }

    /// Goes back to the generation before; `text` is what is written now.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn roll_back(&mut self, text: Option<&str>) -> Result<(), &'static str> {
        let former = self.previous.take().ok_or(NONE)?;
        self.instead_of = Some(Former { library: self.library.take(), written: self.written.clone() });
        self.library = former.library;
        if former.written.is_some() {
            self.written = former.written.filter(|written| Some(&**written) != text);
        }
        Ok(())
    }

    /// The copies that it has, or may have again.
    pub(crate) fn pins(&self) -> impl Iterator<Item = &Path> {
        let formers = self.previous.iter().chain(&self.instead_of);
        self.library.iter().chain(formers.filter_map(|former| former.library.as_ref())).map(PathBuf::as_path)
    }
}

const NONE: &str = "there is no generation before this one, since the host was started";

#[cfg(test)]
mod tests {
    use super::*;

    fn running(library: &str) -> Standing {
        Standing { library: Some(library.into()), ..Standing::default() }
    }

    #[test]
    fn what_was_gone_back_from_is_not_taken_up_again_but_something_else_is() {
        let mut standing = running("/b");
        standing.previous = Some(Former { library: Some("/a".into()), written: Some("old".to_owned()) });
        standing.roll_back(Some("new")).unwrap();
        let rolled_back = standing.clone();
        assert_eq!(
            (standing.library.as_deref(), standing.written.as_deref()),
            (Some(Path::new("/a")), Some("old"))
        );
        standing.found("/b".into());
        assert_eq!(standing, rolled_back);
        standing.found("/c".into());
        assert_eq!(standing, running("/c"));
    }

    #[test]
    fn there_is_a_way_back_again_and_none_to_nowhere() {
        let mut standing = running("/b");
        assert_eq!(standing.roll_back(None), Err(NONE));
        assert_eq!(standing, running("/b"));
        standing.previous = Some(Former { library: Some("/a".into()), written: Some("old".to_owned()) });
        standing.roll_back(Some("new")).unwrap();
        // As the next edition will remember it.
        standing.previous = Some(Former { library: Some("/b".into()), written: Some("new".to_owned()) });
        standing.roll_back(Some("new")).unwrap();
        assert_eq!((standing.library.as_deref(), standing.written), (Some(Path::new("/b")), None));
    }
}
