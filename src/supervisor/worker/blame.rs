//! Which application ended a worker, and at which request.
//!
//! In: what the worker's flight recorder says, and how it ended. Out: one application, or those it may have been. Never:
//! asks the system anything, or takes one for guilty because it was there when somebody else killed the worker.

use super::super::Exit;
use crate::{
    facts::RequestId,
    recorder::{Application, Doing, Inside, Note, Recording},
};

/// What is known of the end of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame {
    /// Who did it.
    pub culprit: Option<Culprit>,
    /// If that is not known: who was at it. Names of applications, each once.
    pub suspects: Vec<String>,
    /// The address that could not be reached, where the end was about one.
    pub address: Option<u64>,
    /// Where the thread was.
    pub instruction: Option<u64>,
}

/// An application that ended a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// Its name.
    pub application: String,
    /// Which loaded copy of that worker.
    pub generation: u32,
    /// How it is known.
    pub evidence: Evidence,
    /// What it was doing, if that is known.
    pub request: Option<Request>,
    /// Whether it was being started.
    pub starting: bool,
}

/// A request that ended a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// Its method; empty if it is not known.
    pub method: String,
    /// And its path.
    pub path: String,
}

/// How one knows who ended a worker, from the surest to the weakest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The thread that crashed was inside the application.
    Thread,
    /// The thread that crashed executed the application's code.
    Code,
    /// The thread that crashed had been called by the application's code.
    Stack,
    /// No other thread was inside any application.
    OnlyOneInside,
    /// No other application was loaded.
    OnlyOneLoaded,
}

impl Evidence {
    /// For the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Thread => "the thread that crashed was inside of it",
            Self::Code => "the thread that crashed executed its code",
            Self::Stack => "the thread that crashed was called by its code",
            Self::OnlyOneInside => "no other application was executing",
            Self::OnlyOneLoaded => "no other application was loaded",
        }
    }
}

impl Blame {
    /// Judges by what a worker has recorded, and by how it ended.
    #[must_use]
    pub fn of(recording: &Recording, exit: Exit) -> Self {
        let case = Case { recording, note: note(recording, exit) };
        let culprit = case.culprit(exit);
        let suspects = if culprit.is_none() && !case.is_our_own_end() { case.suspects() } else { Vec::new() };
        let signal = case.note.filter(|note| note.signal.is_some());
        Self {
            culprit,
            suspects,
            address: signal.map(|note| note.address),
            instruction: signal.map(|note| note.instruction).filter(|instruction| *instruction != 0),
        }
    }
}

/// The note, if it is about this end: `exit` runs code of applications, and that may crash.
fn note(recording: &Recording, exit: Exit) -> Option<&Note> {
    recording.note.as_ref().filter(|note| match exit {
        Exit::Code(_) => note.signal.is_none(),
        Exit::Signal(_) => note.signal.is_some(),
        Exit::OutOfMemory | Exit::Lost => false,
    })
}

struct Case<'a> {
    recording: &'a Recording,
    note: Option<&'a Note>,
}

impl Case<'_> {
    fn culprit(&self, exit: Exit) -> Option<Culprit> {
        if self.is_our_own_end() {
            return None;
        }
        let noted = self.note.and_then(|note| {
            let at = |inside: &&Inside| inside.thread == note.thread;
            let inside = self.recording.inside.iter().find(at);
            inside.and_then(|inside| self.inside(inside, Evidence::Thread)).or_else(|| self.by_code(note))
        });
        noted.or_else(|| self.only_one_inside()).or_else(|| self.only_one_loaded(exit))
    }

    /// The first thread runs no code of an application; when it calls `exit`, the worker has ended by itself.
    fn is_our_own_end(&self) -> bool {
        self.note.is_some_and(|note| note.signal.is_none() && note.first_thread)
    }

    /// For a thread that is the application's own.
    fn by_code(&self, note: &Note) -> Option<Culprit> {
        let owner = |address: &u64| self.recording.applications.iter().find(|it| it.code.contains(address));
        let executed = owner(&note.instruction).map(|application| (application, Evidence::Code));
        // What looks like an address within its code, the nearest to the top first, is where a call will return to.
        let called = || note.stack.iter().find_map(owner).map(|application| (application, Evidence::Stack));
        executed.or_else(called).map(|(application, evidence)| culprit(application, evidence, None))
    }

    fn only_one_inside(&self) -> Option<Culprit> {
        match &self.recording.inside[..] {
            [inside] => self.inside(inside, Evidence::OnlyOneInside),
            _ => None,
        }
    }

    fn only_one_loaded(&self, exit: Exit) -> Option<Culprit> {
        // Whoever sent that need not have meant the application.
        if matches!(exit, Exit::Signal(SIGKILL) | Exit::OutOfMemory | Exit::Lost) {
            return None;
        }
        let mut loaded = self.loaded();
        let last = loaded.next_back()?;
        let alone = loaded.all(|other| other.name == last.name) && self.recording.inside.is_empty();
        alone.then(|| culprit(last, Evidence::OnlyOneLoaded, None))
    }

    /// All but those that could not be loaded.
    fn loaded(&self) -> impl DoubleEndedIterator<Item = &Application> {
        self.recording.applications.iter().filter(|application| !application.name.is_empty())
    }

    fn inside(&self, inside: &Inside, evidence: Evidence) -> Option<Culprit> {
        let application = self.recording.applications.get(inside.application)?;
        let request =
            inside.request.map(|id| Request { id, method: inside.method.clone(), path: inside.path.clone() });
        // What is not done for a request is a start: one that ends is told to, and no crash.
        let starting = request.is_none() && inside.doing == Doing::Waiting;
        Some(Culprit { starting, ..culprit(application, evidence, request) })
    }

    fn suspects(&self) -> Vec<String> {
        let inside = self.recording.inside.iter();
        let mut names: Vec<_> = inside
            .filter_map(|inside| self.recording.applications.get(inside.application))
            .map(|application| application.name.clone())
            .collect();
        if names.is_empty() {
            names = self.loaded().map(|application| application.name.clone()).collect();
        }
        names.sort();
        names.dedup();
        names
    }
}

fn culprit(application: &Application, evidence: Evidence, request: Option<Request>) -> Culprit {
    let name = application.name.clone();
    Culprit { application: name, generation: application.generation, evidence, request, starting: false }
}

const SIGKILL: i32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    const SIGSEGV: Exit = Exit::Signal(11);

    fn application(name: &str, code: u64) -> Application {
        Application { name: name.to_owned(), generation: 1, code: code..code + 0x1000 }
    }

    fn inside(thread: u32, application: usize) -> Inside {
        let (method, path) = ("GET".to_owned(), format!("/{thread}"));
        let request = Some(RequestId(thread.into()));
        Inside { thread, application, doing: Doing::Serving, request, method, path }
    }

    fn signal(thread: u32, instruction: u64, stack: &[u64]) -> Option<Note> {
        let stack = stack.to_vec();
        Some(Note { signal: Some(11), thread, first_thread: false, address: 8, instruction, stack })
    }

    /// Two applications, of which `a` has its code at 0x1000 and `b` at 0x8000.
    fn recording(inside: Vec<Inside>, note: Option<Note>) -> Recording {
        Recording { applications: vec![application("a", 0x1000), application("b", 0x8000)], inside, note }
    }

    fn who(recording: &Recording, exit: Exit) -> Option<(String, Evidence, Option<String>)> {
        let culprit = Blame::of(recording, exit).culprit?;
        Some((culprit.application, culprit.evidence, culprit.request.map(|request| request.path)))
    }

    #[test]
    fn the_thread_that_crashed_was_inside_whatever_others_did() {
        let busy = vec![inside(1, 0), inside(2, 1), inside(3, 0)];
        let told = who(&recording(busy, signal(2, 0x1001, &[])), SIGSEGV);
        assert_eq!(told, Some(("b".to_owned(), Evidence::Thread, Some("/2".to_owned()))));
    }

    #[test]
    fn a_thread_of_the_applications_own_is_known_by_its_code_or_by_who_called_it() {
        let busy = || vec![inside(1, 0), inside(2, 0)];
        let told = who(&recording(busy(), signal(9, 0x8010, &[])), SIGSEGV);
        assert_eq!(told, Some(("b".to_owned(), Evidence::Code, None)));
        let told = who(&recording(busy(), signal(9, 0xffff_0000, &[7, 0x8020, 0x1020])), SIGSEGV);
        assert_eq!(told, Some(("b".to_owned(), Evidence::Stack, None)));
    }

    #[test]
    fn without_a_note_it_was_whoever_was_alone() {
        let told = who(&recording(vec![inside(1, 1)], None), SIGSEGV);
        assert_eq!(told, Some(("b".to_owned(), Evidence::OnlyOneInside, Some("/1".to_owned()))));
        let only = Recording { applications: vec![application("a", 0)], ..Recording::default() };
        assert_eq!(who(&only, SIGSEGV), Some(("a".to_owned(), Evidence::OnlyOneLoaded, None)));
    }

    #[test]
    fn what_could_not_be_loaded_is_not_suspected() {
        let applications = vec![application("a", 0), application("", 0)];
        let only = Recording { applications, ..Recording::default() };
        assert_eq!(who(&only, SIGSEGV), Some(("a".to_owned(), Evidence::OnlyOneLoaded, None)));
        assert_eq!(Blame::of(&only, Exit::Signal(SIGKILL)).suspects, ["a"]);
    }

    #[test]
    fn several_that_it_may_have_been_are_suspects() {
        let blame = Blame::of(&recording(vec![inside(1, 1), inside(2, 0), inside(3, 1)], None), SIGSEGV);
        assert_eq!((blame.culprit, blame.suspects), (None, vec!["a".to_owned(), "b".to_owned()]));
        let blame = Blame::of(&recording(Vec::new(), None), SIGSEGV);
        assert_eq!((blame.culprit, blame.suspects), (None, vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn who_is_idle_when_the_worker_is_killed_is_not_to_blame() {
        let only = Recording { applications: vec![application("a", 0)], ..Recording::default() };
        assert_eq!(who(&only, Exit::Signal(SIGKILL)), None);
        let told = who(&recording(vec![inside(1, 1)], None), Exit::Signal(SIGKILL));
        assert_eq!(told.unwrap().1, Evidence::OnlyOneInside, "a system without memory kills who asks for it");
    }

    #[test]
    fn an_exit_is_the_one_of_the_thread_that_called_it() {
        let called = |thread, first_thread| {
            let note = signal(thread, 0, &[]).unwrap();
            Some(Note { signal: None, first_thread, ..note })
        };
        let busy = || vec![inside(1, 0), inside(2, 1)];
        let told = who(&recording(busy(), called(2, false)), Exit::Code(0));
        assert_eq!(told, Some(("b".to_owned(), Evidence::Thread, Some("/2".to_owned()))));
        // The worker itself: nobody is to blame, not even one that was alone.
        let ours = Blame::of(&recording(vec![inside(1, 0)], called(9, true)), Exit::Code(5));
        assert_eq!(ours, Blame::default());
    }

    #[test]
    fn what_was_overwritten_is_nobodys() {
        let told = who(&recording(vec![inside(1, 700)], signal(1, 0, &[])), SIGSEGV);
        assert_eq!(told, None);
    }
}
