//! Applications that fail: for how long they are left alone, and by whom.

use super::*;

#[test]
fn who_crashes_too_often_is_left_alone_whichever_worker_wants_it() {
    let mut world = World::new();
    let shop = impatient("shop");
    for worker in 1..=2 {
        let (_, number) = world.served(worker, &shop);
        world.ended(number);
        world.go(worker);
    }
    world.come(3);
    let until = world.now + MINUTE;
    let (loan, actions) = world.want(3, &shop);
    assert_eq!(actions, [Action::Refuse(loan, Arc::clone(&shop), (until, Why::FailFast))]);
    // Another application, or another launch of this one, has done nothing.
    assert!(matches!(world.want(3, &impatient("other")).1[..], [Action::Start(..)]));
    assert!(matches!(world.want(3, &launch("shop")).1[..], [Action::Start(..)]));
    world.now = until;
    assert!(matches!(world.want(3, &shop).1[..], [Action::Start(..)]));
}

#[test]
fn an_end_that_was_asked_for_and_a_start_that_was_called_off_count_nothing() {
    let mut world = World::new();
    let shop = impatient("shop");
    world.come(9);
    for worker in 1..=5 {
        let (loan, number) = world.served(worker, &shop);
        world.release(loan, Parting::ForGood);
        world.ended(number);
        let (loan, actions) = world.want(9, &shop);
        let [Action::Start(number, _)] = actions[..] else { panic!("{actions:?}") };
        world.release(loan, Parting::ForGood);
        world.not_started(number);
    }
    assert!(matches!(world.want(9, &shop).1[..], [Action::Start(..)]));
}

#[test]
fn a_start_is_tried_again_later_and_later() {
    let mut world = World::new();
    let shop = launch("shop");
    for (worker, wait) in [1, 2, 4, 8].into_iter().enumerate() {
        let worker = worker as u64;
        world.come(worker);
        let (loan, actions) = world.want(worker, &shop);
        let [Action::Start(number, _)] = actions[..] else { panic!("{actions:?}") };
        let pause = (world.now + Duration::from_secs(wait), Why::BackingOff);
        assert_eq!(world.not_started(number), [Action::Fail(loan, Some(pause))]);
        let (loan, actions) = world.want(worker, &shop);
        assert_eq!(actions, [Action::Refuse(loan, Arc::clone(&shop), pause)]);
        world.go(worker);
        world.now = pause.0;
    }
}

/// One that its workers try with requests of their own.
fn tried(name: &str) -> Arc<Launch> {
    Arc::new(Launch { tried: true, ..(*launch(name)).clone() })
}

#[test]
fn one_that_is_ready_and_of_no_use_is_tried_again_later_and_later_whichever_worker_wants_it() {
    let mut world = World::new();
    let shop = tried("shop");
    for (worker, wait) in [1, 2, 4, 8].into_iter().enumerate() {
        let (loan, number) = world.served(worker as u64, &shop);
        let pause = (world.now + Duration::from_secs(wait), Why::BackingOff);
        assert_eq!(world.tried(loan, Fitness::Unfit), [Action::Fail(loan, Some(pause))]);
        assert_eq!(world.release(loan, Parting::ForGood), [Action::Stop(number)]);
        world.ended(number);
        world.go(worker as u64);
        world.now = pause.0;
    }
    // One good start, and the next pause is a short one.
    let (loan, number) = world.served(9, &shop);
    assert_eq!(world.tried(loan, Fitness::Fit), []);
    world.release(loan, Parting::ForGood);
    world.ended(number);
    let (loan, actions) = world.want(9, &shop);
    let [Action::Start(number, _)] = actions[..] else { panic!("{actions:?}") };
    let pause = Some((world.now + Duration::from_secs(1), Why::BackingOff));
    assert_eq!(world.not_started(number), [Action::Fail(loan, pause)]);
}

#[test]
fn a_worker_hears_of_a_trial_also_if_the_instance_has_ended_meanwhile() {
    let mut world = World::new();
    let (loan, number) = world.served(1, &tried("shop"));
    world.ended(number);
    assert_eq!(world.tried(loan, Fitness::Unfit), [Action::Fail(loan, None)]);
}
