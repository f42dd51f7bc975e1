//! The plan against a world in which everything may happen in any order.

mod changes;
mod world;

use std::time::Duration;

use proptest::prelude::*;

use self::world::{SIGSEGV, World, served};
use super::{super::Exit, *};

fn starts(actions: &[Action]) -> Vec<(u64, u64, Part, Preload)> {
    let starts = actions.iter().filter_map(|action| match action {
        Action::Start { generation, edition, part, preload } => {
            Some((generation.0, edition.0, *part, *preload))
        }
        _ => None,
    });
    starts.collect()
}

#[test]
fn the_first_worker_serves_as_soon_as_it_can() {
    let mut world = World::new(Standby::None);
    assert_eq!(world.living.len(), 1);
    let actions = world.cooperate(Generation(1)).unwrap();
    assert_eq!(actions, [Action::Serve(Generation(1))], "before what is preloaded has started");
    world.calm_down();
    assert_eq!(world.living.len(), 1);
}

#[test]
fn a_standby_waits_and_takes_over_after_a_crash() {
    let mut world = served(Standby::Kept);
    assert_eq!(world.living.len(), 2);
    let actions = world.exit(Generation(1), SIGSEGV);
    assert_eq!(actions, [Action::Serve(Generation(2))]);
    world.calm_down();
    assert!(world.living[&Generation(3)].ready && !world.living[&Generation(3)].told);
}

#[test]
fn without_a_standby_the_next_is_started_at_once() {
    let mut world = served(Standby::None);
    let actions = world.exit(Generation(1), SIGSEGV);
    assert_eq!(starts(&actions), [(2, 1, Part::Everything, Preload::All)]);
}

#[test]
fn a_worker_that_never_gets_ready_makes_room_for_a_safe_one_and_is_tried_again() {
    let mut world = World::new(Standby::Kept);
    world.cooperate(Generation(1));
    let actions = world.exit(Generation(1), SIGSEGV);
    let [(2, 1, Part::Safe { retry_after, .. }, Preload::All)] = starts(&actions)[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(retry_after, Duration::from_secs(1));
    for _ in 0..3 {
        world.cooperate(Generation(2));
    }
    assert!(world.living[&Generation(2)].serving);

    world.now += retry_after;
    let actions = world.tell(Event::Tick);
    assert_eq!(starts(&actions), [(3, 1, Part::Everything, Preload::All)]);
    world.cooperate(Generation(3));
    assert!(!world.living[&Generation(3)].told, "somebody serves, so it has to be ready first");
    world.calm_down();
    assert!(!world.living.contains_key(&Generation(2)) && world.living[&Generation(3)].serving);
}

#[test]
fn workers_that_an_application_ends_are_replaced_without_a_pause_and_by_whole_ones() {
    let mut world = served(Standby::None);
    for _ in 0..30 {
        let server = world.nth(0).unwrap();
        let actions = world.fell(server);
        assert!(matches!(starts(&actions)[..], [(_, 1, Part::Everything, Preload::All)]), "{actions:?}");
        for _ in 0..3 {
            world.cooperate(world.nth(0).unwrap());
        }
    }
}

#[test]
fn a_worker_that_is_recycled_goes_on_until_a_fresh_one_serves() {
    let mut world = served(Standby::None);
    let actions = world.tell(Event::Recycle(Generation(1)));
    assert_eq!(starts(&actions), [(2, 1, Part::Everything, Preload::All)]);
    assert_eq!(world.tell(Event::Recycle(Generation(1))), []);
    assert_eq!(world.cooperate(Generation(2)).unwrap(), []);
    assert_eq!(world.cooperate(Generation(2)).unwrap(), [Action::Serve(Generation(2))]);
    assert_eq!(world.cooperate(Generation(2)).unwrap(), [Action::Drain(Generation(1))]);
    world.calm_down();

    let mut world = served(Standby::Kept);
    let actions = world.tell(Event::Recycle(Generation(1)));
    assert_eq!(actions[0], Action::Serve(Generation(2)), "the one that waits is fresh");
}

#[test]
fn too_many_crashes_within_a_minute_leave_a_safe_worker_until_it_is_over() {
    let mut world = served(Standby::None);
    for _ in 0..11 {
        let server = world.nth(0).unwrap();
        world.exit(server, SIGSEGV);
        let next = world.nth(0).unwrap();
        for _ in 0..3 {
            world.cooperate(next);
        }
    }
    assert!(world.living.values().all(|known| known.safe), "{:?}", world.living);
    world.now += Duration::from_secs(60);
    world.tell(Event::Tick);
    world.calm_down();
    assert!(world.living.values().all(|known| !known.safe && known.serving), "{:?}", world.living);
}

#[test]
fn a_replacement_serves_before_the_old_one_is_told_to_drain() {
    let mut world = served(Standby::None);
    let actions = world.replace();
    assert_eq!(starts(&actions), [(2, 2, Part::Everything, Preload::All)]);
    assert_eq!(world.cooperate(Generation(2)).unwrap(), []);
    assert_eq!(world.cooperate(Generation(2)).unwrap(), [Action::Serve(Generation(2))]);
    let actions = world.cooperate(Generation(2)).unwrap();
    assert_eq!(
        actions[..2],
        [Action::Adopt(Edition(2)), Action::Drain(Generation(1))],
        "in this order: sockets of the old one are closed before it drains"
    );
}

#[test]
fn a_replacement_that_fails_leaves_the_old_one_serving() {
    let refused = |why| Action::Refuse(Edition(2), why);
    let mut crashing = served(Standby::None);
    crashing.replace();
    assert_eq!(crashing.exit(Generation(2), SIGSEGV), [refused(Refusal::Crashed(SIGSEGV))]);

    let mut unready = served(Standby::None);
    unready.replace();
    unready.cooperate(Generation(2));
    let actions = unready.tell(Event::Ready(Generation(2), Preloaded::Failed));
    assert_eq!(actions, [refused(Refusal::PreloadFailed), Action::Drain(Generation(2))]);

    let mut slow = served(Standby::None);
    slow.replace();
    slow.now = slow.plan.due().unwrap();
    let actions = slow.tell(Event::Tick);
    assert_eq!(actions, [Action::Kill(Generation(2), Overdue::Start), refused(Refusal::TimedOut)]);

    for mut world in [crashing, unready, slow] {
        world.calm_down();
        assert_eq!(world.living.keys().copied().collect::<Vec<_>>(), [Generation(1)]);
        assert!(world.living[&Generation(1)].serving);
    }
}

#[test]
fn a_new_configuration_ends_a_crash_loop() {
    let mut world = World::new(Standby::None);
    world.cooperate(Generation(1));
    world.exit(Generation(1), SIGSEGV);
    world.replace();
    for _ in 0..10 {
        let all: Vec<_> = world.living.keys().copied().collect();
        all.into_iter().for_each(|generation| drop(world.cooperate(generation)));
    }
    let known: Vec<_> = world.living.values().collect();
    assert!(known.iter().all(|known| known.edition == 2 && !known.safe) && known[0].serving, "{known:?}");
}

#[test]
fn one_that_does_not_end_is_killed() {
    let mut world = served(Standby::None);
    world.stopped = true;
    assert_eq!(world.tell(Event::Stop), [Action::Drain(Generation(1))]);
    assert_eq!(world.tell(Event::Stop), [Action::Hurry(Generation(1))]);
    world.now += Duration::from_secs(25);
    assert_eq!(world.tell(Event::Tick), [Action::Kill(Generation(1), Overdue::Stop)]);
    assert_eq!(world.exit(Generation(1), Exit::Signal(9)), [Action::End(Outcome::Forced)]);
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Cooperate(usize),
    PreloadFails(usize),
    Exit(usize, Exit),
    Felled(usize),
    Recycle(usize),
    Hung(usize),
    Stale(u64),
    Replace,
    Change,
    Changed(usize),
    NotChanged(usize),
    Stop,
    Pass(u64),
}

fn a_move() -> impl Strategy<Value = Move> {
    let exit = prop_oneof![Just(Exit::Code(0)), Just(Exit::Code(5)), Just(SIGSEGV)];
    prop_oneof![
        12 => any::<usize>().prop_map(Move::Cooperate),
        1 => any::<usize>().prop_map(Move::PreloadFails),
        3 => (any::<usize>(), exit).prop_map(|(n, exit)| Move::Exit(n, exit)),
        2 => any::<usize>().prop_map(Move::Felled),
        2 => any::<usize>().prop_map(Move::Recycle),
        1 => any::<usize>().prop_map(Move::Hung),
        1 => (0_u64..20).prop_map(Move::Stale),
        2 => Just(Move::Replace),
        4 => Just(Move::Change),
        2 => any::<usize>().prop_map(Move::Changed),
        1 => any::<usize>().prop_map(Move::NotChanged),
        1 => Just(Move::Stop),
        4 => (0_u64..40_000).prop_map(Move::Pass),
    ]
}

fn make(world: &mut World, a_move: Move) {
    match a_move {
        Move::Cooperate(n) => {
            if let Some(generation) = world.nth(n) {
                world.cooperate(generation);
            }
        }
        Move::PreloadFails(n) => {
            let unready = world
                .nth(n)
                .filter(|generation| world.living[generation].configured && !world.living[generation].ready);
            if let Some(generation) = unready {
                world.living.get_mut(&generation).unwrap().ready = true;
                world.tell(Event::Ready(generation, Preloaded::Failed));
            }
        }
        Move::Exit(n, exit) => {
            if let Some(generation) = world.nth(n) {
                world.exit(generation, exit);
            }
        }
        Move::Felled(n) => {
            if let Some(generation) = world.nth(n) {
                world.fell(generation);
            }
        }
        Move::Recycle(n) => {
            if let Some(generation) = world.nth(n) {
                world.tell(Event::Recycle(generation));
            }
        }
        Move::Hung(n) => {
            if let Some(generation) = world.nth(n) {
                world.tell(Event::Hung(generation));
            }
        }
        Move::Stale(number) => {
            let generation = Generation(number);
            if !world.living.contains_key(&generation) {
                for event in [
                    Event::Configured(generation),
                    Event::Serving(generation),
                    Event::Changed(generation, Edition(number), 0),
                    Event::NotChanged(generation, Edition(number), 0),
                    Event::Hung(generation),
                ] {
                    assert_eq!(world.tell(event), []);
                }
            }
        }
        Move::Replace if !world.stopped => drop(world.replace()),
        Move::Change if !world.stopped => drop(world.change()),
        Move::Replace | Move::Change => {}
        Move::Changed(n) => {
            if let Some(generation) = world.nth(n).filter(|it| world.living[it].changing.is_some()) {
                world.changed(generation);
            }
        }
        Move::NotChanged(n) => {
            if let Some(generation) = world.nth(n).filter(|it| world.living[it].changing.is_some()) {
                world.not_changed(generation);
            }
        }
        Move::Stop => {
            world.stopped = true;
            world.tell(Event::Stop);
        }
        Move::Pass(milliseconds) => {
            world.now += Duration::from_millis(milliseconds);
            world.tell(Event::Tick);
        }
    }
}

proptest! {
    #[test]
    fn one_serves_in_the_end_and_everybody_else_is_gone(
        moves in proptest::collection::vec(a_move(), 0..120),
        kept in any::<bool>(),
    ) {
        let mut world = World::new(if kept { Standby::Kept } else { Standby::None });
        for a_move in moves {
            if world.ended.is_some() {
                break;
            }
            make(&mut world, a_move);
        }
        world.calm_down();
        if world.stopped {
            prop_assert!(world.ended.is_some() && world.living.is_empty());
        } else {
            prop_assert_eq!(&world.pending, &Vec::<u64>::new());
            let serving: Vec<_> = world.living.values().filter(|known| known.serving).collect();
            prop_assert!(serving.len() == 1 && !serving[0].safe, "{:?}", world.living);
            prop_assert_eq!(serving[0].edition, world.in_force);
            let waiting = usize::from(kept || world.in_force > 1);
            prop_assert_eq!(world.living.len(), 1 + waiting, "{:?}", world.living);
        }
    }
}
