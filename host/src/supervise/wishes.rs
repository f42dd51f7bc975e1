//! Wishes that wait for their turn.
//!
//! In: wishes, as they come; and those that were begun and are not done. Out: whose turn it is, in the order in which they
//! came. One whose trial goes on lets others pass until that is over, and keeps its place. Never: looks at what is wished.

use std::{collections::VecDeque, mem};

use cohost::admin::{Problem, Reply};

use crate::wish::Wish;

/// A wish, and who waits for it.
pub(super) struct Wanted {
    pub(super) wish: Wish,
    pub(super) reply: Option<Reply>,
    company: Company,
    place: Place,
}

/// With whom it becomes an edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    Others,
    /// With nobody: together they were refused.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    InTurn,
    /// Its trial goes on.
    Held,
}

/// Whether something is being tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trials {
    GoOn,
    AreOver,
}

/// Oldest first.
#[derive(Default)]
pub(super) struct Wishes(VecDeque<Wanted>);

impl Wishes {
    pub(super) fn add(&mut self, wish: Wish, reply: Option<Reply>) {
        match (self.0.back_mut(), wish) {
            (Some(Wanted { wish: Wish::Look(paths), place: Place::InTurn, .. }), Wish::Look(more)) => {
                paths.extend(more);
            }
            (_, wish) => {
                let (company, place) = (Company::Others, Place::InTurn);
                self.0.push_back(Wanted { wish, reply, company, place });
            }
        }
    }

    /// Those whose turn it is, to become one edition.
    pub(super) fn take(&mut self, trials: Trials) -> Vec<Wanted> {
        let in_turn = |wanted: &Wanted| wanted.place == Place::InTurn;
        let pass = trials == Trials::GoOn && self.0.iter().any(in_turn);
        let (all, mut taken) = (mem::take(&mut self.0), Vec::new());
        let mut open = true;
        for wanted in all {
            let passed = pass && !in_turn(&wanted);
            let alone = wanted.company == Company::None;
            if !passed && open && (!alone || taken.is_empty()) {
                open = !alone;
                taken.push(wanted);
            } else {
                open &= passed;
                self.0.push_back(wanted);
            }
        }
        taken
    }

    /// What was taken is wished as before.
    pub(super) fn again(&mut self, wanted: Vec<Wanted>) {
        wanted.into_iter().rev().for_each(|wanted| self.0.push_front(wanted));
    }

    /// What was taken was refused: who of them is to blame?
    pub(super) fn each_alone(&mut self, wanted: Vec<Wanted>) {
        self.again(wanted.into_iter().map(|it| Wanted { company: Company::None, ..it }).collect());
    }

    /// What was taken waits for its trial.
    pub(super) fn hold(&mut self, wanted: Vec<Wanted>) {
        let before = self.0.iter().take_while(|wanted| wanted.place == Place::Held).count();
        let after = self.0.split_off(before);
        self.0.extend(wanted.into_iter().map(|it| Wanted { place: Place::Held, ..it }));
        self.0.extend(after);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them may want what is being tried.
    pub(super) fn waits_for_a_trial(&self) -> bool {
        self.0.iter().any(|wanted| wanted.place == Place::Held)
    }

    pub(super) fn refuse(&mut self, why: impl Fn() -> Problem) {
        self.0.drain(..).filter_map(|wanted| wanted.reply).for_each(|reply| reply.refuse(why()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(names: &[&str]) -> Wishes {
        let mut wishes = Wishes::default();
        names.iter().for_each(|name| wishes.add(Wish::Online((*name).to_owned()), None));
        wishes
    }

    fn names(wanted: &[Wanted]) -> Vec<&str> {
        wanted
            .iter()
            .map(|wanted| if let Wish::Online(name) = &wanted.wish { &**name } else { "?" })
            .collect()
    }

    #[test]
    fn what_waits_comes_together_and_one_by_one_once_it_was_refused() {
        let mut wishes = wishes(&["a", "b"]);
        let taken = wishes.take(Trials::AreOver);
        assert_eq!(names(&taken), ["a", "b"]);
        wishes.add(Wish::Online("c".to_owned()), None);
        wishes.each_alone(taken);
        for next in ["a", "b", "c"] {
            assert_eq!(names(&wishes.take(Trials::AreOver)), [next]);
        }
        assert!(wishes.is_empty() && wishes.take(Trials::AreOver).is_empty());
    }

    #[test]
    fn files_that_change_are_looked_at_together() {
        let mut wishes = Wishes::default();
        for path in ["/a", "/b"] {
            wishes.add(Wish::Look([path.into()].into()), None);
        }
        assert_eq!(wishes.take(Trials::AreOver).len(), 1);
    }

    #[test]
    fn who_waits_for_a_trial_lets_others_pass_until_it_is_over_and_keeps_the_place() {
        let mut waiting = wishes(&["slow"]);
        let slow = waiting.take(Trials::AreOver);
        waiting.add(Wish::Online("quick".to_owned()), None);
        waiting.hold(slow);
        let quick = waiting.take(Trials::GoOn);
        assert_eq!(names(&quick), ["quick"]);
        assert!(waiting.waits_for_a_trial());
        // It has a trial, too.
        waiting.hold(quick);
        waiting.add(Wish::Online("last".to_owned()), None);
        assert_eq!(names(&waiting.take(Trials::GoOn)), ["last"]);
        waiting.add(Wish::Online("later".to_owned()), None);
        assert_eq!(names(&waiting.take(Trials::AreOver)), ["slow", "quick", "later"]);
        assert!(waiting.is_empty() && !waiting.waits_for_a_trial());
    }

    #[test]
    fn who_waits_for_a_trial_has_a_turn_while_nobody_else_waits() {
        let mut waiting = wishes(&["slow"]);
        let slow = waiting.take(Trials::AreOver);
        waiting.hold(slow);
        assert_eq!(names(&waiting.take(Trials::GoOn)), ["slow"]);
    }
}
