//! A generation whose library is being loaded: what the loader runs of it is its own doing already.
//!
//! In: the file, and whose it is. Out: a [`Loaded`] library, which the recorder knows by the application's name and by
//! where its code is. Never: uses up a number for a library that could not be loaded.

use std::{
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{generation::NO_REQUEST, library::Library, preflight::LoadError, threads};
use crate::recorder::Registered;

/// A library that will be a generation.
#[derive(Debug)]
pub struct Loaded {
    pub(super) library: Library,
    pub(super) mark: Mark,
}

/// Which generation it will be, and how threads note that they are inside of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) number: u32,
    pub(super) watch: Registered,
}

/// How many generations this process has made. All of them are still there.
#[must_use]
pub fn made() -> usize {
    marks().made()
}

/// The same, for whoever waits for more of them.
#[must_use]
pub fn making() -> watch::Receiver<usize> {
    MAKING.subscribe()
}

static MAKING: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

struct Marks {
    /// The highest number of a generation.
    used: u32,
    /// Of libraries that could not be loaded. One that is tried again and again shall not fill the recorder.
    left: Vec<Mark>,
}

static MARKS: Mutex<Marks> = Mutex::new(Marks::NONE);

fn marks() -> std::sync::MutexGuard<'static, Marks> {
    MARKS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loaded {
    /// Opens the library at `path`, with the bytes of `pinned`.
    ///
    /// Blocks: constructors of the library run, whatever they do. If one of them ends the process, the recorder says
    /// that it was `application`.
    ///
    /// # Errors
    /// Returns what is wrong with the file, or what the system's loader says.
    pub fn open(
        application: &Arc<str>,
        (path, pinned): (&Path, &Path),
        hang_timeout: Option<Duration>,
    ) -> Result<Self, LoadError> {
        let mark = Mark::new(application, hang_timeout);
        let inside = threads::enter_aside(mark.watch, &NO_REQUEST);
        let opened = Library::open_for(application, (path, pinned));
        drop(inside);
        match opened {
            Ok(library) => Ok(mark.of(library)),
            Err(error) => {
                marks().leave(mark);
                Err(error)
            }
        }
    }

    /// One that was there before.
    pub(super) fn already(library: Library, application: &Arc<str>, hang_timeout: Option<Duration>) -> Self {
        Mark::new(application, hang_timeout).of(library)
    }
}

impl Mark {
    pub(super) fn new(application: &Arc<str>, hang_timeout: Option<Duration>) -> Self {
        marks().take(application, hang_timeout)
    }

    fn of(self, library: Library) -> Loaded {
        if let Some(code) = library.code() {
            self.watch.lies_at(code);
        }
        MAKING.send_replace(made());
        Loaded { library, mark: self }
    }
}

impl Marks {
    const NONE: Self = Self { used: 0, left: Vec::new() };

    fn made(&self) -> usize {
        self.used as usize - self.left.len()
    }

    fn take(&mut self, application: &Arc<str>, hang_timeout: Option<Duration>) -> Mark {
        if let Some(left) = self.left.pop() {
            left.watch.rename(Arc::clone(application), hang_timeout);
            return left;
        }
        self.used += 1;
        let number = self.used;
        Mark { number, watch: Registered::new(Arc::clone(application), number, hang_timeout) }
    }

    fn leave(&mut self, mark: Mark) {
        mark.watch.rename(Arc::from(""), None);
        self.left.push(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_cannot_be_loaded_uses_up_no_number() {
        let mut marks = Marks::NONE;
        let first = marks.take(&"a".into(), None);
        marks.leave(first);
        assert_eq!(marks.made(), 0);
        let numbers: Vec<_> = ["b", "c"].map(|name| marks.take(&name.into(), None).number).into();
        assert_eq!((numbers, marks.made()), (vec![first.number, first.number + 1], 2));
    }
}
