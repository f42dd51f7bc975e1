//! The applications that are not the same in the next edition, and when the new ones start.

use cohost::{
    application::{Application, Successor},
    options::ProcessListen,
    stage::Stage,
};

use crate::{hosting::Hosting, standing::Described};

/// An application that changes, comes or goes.
pub(crate) struct Replaced {
    pub(crate) old: Option<Application>,
    pub(crate) new: Option<Application>,
    /// Who answers requests that still come to the old one.
    pub(crate) successor: Successor,
    start: Start,
}

/// When the new one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Before the old one is touched: if it does not, nothing changes.
    First,
    /// Once the old one has ended, for it has the port.
    Later,
    /// With its first request.
    WhenAsked,
}

impl Hosting {
    /// What of this is not the same in `old`, which it is to take the place of.
    pub(crate) fn in_place_of(&self, old: &Self) -> Vec<Replaced> {
        let coming = self.all().filter_map(|(new, described)| match old.find(described.name()) {
            Some((_, was)) if was == described => None,
            before => Some(Replaced::new(new, described, before)),
        });
        let gone = old.all().filter(|(_, was)| self.find(was.name()).is_none()).map(|(old, _)| {
            let instead = self.mounted_as(old.name()).map(Stage::new);
            let successor = instead.map_or(Successor::Nobody, Successor::Stage);
            Replaced { old: Some(old.clone()), new: None, successor, start: Start::WhenAsked }
        });
        coming.chain(gone).collect()
    }
}

impl Replaced {
    fn new(new: &Application, described: &Described, old: Option<(&Application, &Described)>) -> Self {
        let runs = old.is_some_and(|(old, _)| old.is_running());
        let port = |described: &Described| match described.application.process.listen {
            ProcessListen::Port(port) => Some(port),
            _ => None,
        };
        let in_the_way =
            runs && old.and_then(|(_, was)| port(was)).is_some_and(|it| port(described) == Some(it));
        let start = match (runs || described.application.options.preload, in_the_way) {
            (true, true) => Start::Later,
            (true, false) => Start::First,
            (false, _) => Start::WhenAsked,
        };
        if let Some((old, _)) = old
            && in_the_way
        {
            new.start_after(old);
        }
        Self { old: old.map(|(old, _)| old.clone()), new: Some(new.clone()), successor: new.into(), start }
    }

    pub(crate) fn to_start_first(&self) -> Option<Application> {
        self.new.clone().filter(|_| self.start == Start::First)
    }

    pub(crate) fn to_start_later(&self) -> Option<Application> {
        self.new.clone().filter(|_| self.start == Start::Later)
    }
}
