//! Changes that a worker makes while it serves.

use super::{
    super::*,
    starts,
    world::{SIGSEGV, World, served},
};

#[test]
fn a_worker_that_serves_changes_in_place() {
    let mut world = served(Standby::Kept);
    let actions = world.change();
    assert_eq!(actions, [Action::Change(Generation(1), Edition(2))]);
    let actions = world.changed(Generation(1));
    // The one that waits has the old edition.
    assert_eq!(actions[..2], [Action::Adopt(Edition(2)), Action::Drain(Generation(2))]);
    assert_eq!(starts(&actions), [(3, 2, Part::Everything, Preload::InProcess)]);
    world.calm_down();
    assert!(world.living[&Generation(1)].serving);
}

#[test]
fn a_change_that_fails_is_refused_once_and_the_worker_goes_on() {
    let mut world = served(Standby::None);
    world.change();
    let actions = world.not_changed(Generation(1));
    assert_eq!(actions, [Action::Refuse(Edition(2), Refusal::NotChanged)]);
    assert_eq!(world.plan.due(), None);
    assert!(world.living[&Generation(1)].serving && world.in_force == 1);
}

#[test]
fn a_crash_during_a_change_refuses_it_and_the_edition_in_force_goes_on() {
    let mut world = served(Standby::Kept);
    world.change();
    let actions = world.exit(Generation(1), SIGSEGV);
    let refused = Action::Refuse(Edition(2), Refusal::Crashed(SIGSEGV));
    assert_eq!(actions[..2], [refused, Action::Serve(Generation(2))]);
    world.calm_down();
    assert_eq!(world.in_force, 1);
}

#[test]
fn changes_come_one_after_the_other_and_only_the_last_of_those_that_wait() {
    let mut world = served(Standby::None);
    world.change();
    let give_up = Action::GiveUp(Generation(1));
    assert_eq!(world.change(), [give_up]);
    assert_eq!(world.change(), [Action::Refuse(Edition(3), Refusal::Superseded), give_up]);
    let actions = world.changed(Generation(1));
    assert_eq!(actions, [Action::Adopt(Edition(2)), Action::Change(Generation(1), Edition(4))]);
    assert_eq!(world.changed(Generation(1))[0], Action::Adopt(Edition(4)));
}

#[test]
fn a_change_that_was_given_up_makes_room_for_a_newer_one() {
    let mut world = served(Standby::None);
    world.change();
    world.change();
    let actions = world.not_changed(Generation(1));
    let refused = Action::Refuse(Edition(2), Refusal::Superseded);
    assert_eq!(actions, [refused, Action::Change(Generation(1), Edition(3))]);
}

#[test]
fn a_worker_that_is_late_with_a_change_serves_until_another_one_does() {
    let mut world = served(Standby::None);
    world.change();
    world.now = world.plan.due().unwrap();
    let actions = world.tell(Event::Tick);
    assert_eq!(actions[0], Action::Refuse(Edition(2), Refusal::TimedOut));
    assert_eq!(starts(&actions), [(2, 1, Part::Everything, Preload::All)]);
    // What it says after all comes too late to count.
    assert_eq!(world.changed(Generation(1)), []);
    world.calm_down();
    assert!(world.living[&Generation(2)].serving && !world.living.contains_key(&Generation(1)));
}

#[test]
fn where_no_worker_serves_everything_a_change_is_a_replacement() {
    let mut starting = World::new(Standby::None);
    assert_eq!(starts(&starting.change()), [(2, 2, Part::Everything, Preload::All)]);

    let mut full = served(Standby::None);
    full.living.get_mut(&Generation(1)).unwrap().left = 15;
    full.change();
    full.changed(Generation(1));
    // Number 2 waits for a crash.
    assert_eq!(starts(&full.change()), [(3, 3, Part::Everything, Preload::All)]);
    full.calm_down();
    assert!(full.living[&Generation(3)].serving);
}
