//! One upstream: probes, failures, and the way back.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{
    budget::{Budget, RESERVE},
    health::{Change, Condition, Health, Trial},
};
use crate::front::{Balance, Passive, Probe};

fn balance() -> Balance {
    Balance {
        probe: Some(Probe::new("/health")),
        passive: Some(Passive { max_fails: 3, ..Passive::default() }),
        slow_start: Some(Duration::from_secs(10)),
        ..Balance::default()
    }
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// One that has failed as often as it may.
fn out(now: Instant) -> Health {
    let mut health = Health::new(&balance());
    assert_eq!([health.failed(now, None), health.failed(now, None)], [None, None]);
    assert_eq!(health.failed(now, None), Some(seconds(5)));
    health
}

#[test]
fn what_somebody_else_has_found_out_holds_until_it_is_found_out_here() {
    let now = Instant::now();
    let fresh = || Health::new(&balance());
    let mut down = fresh();
    down.leave_alone(None, now);
    assert_eq!(down.condition(now), Condition::Down);
    assert_eq!([down.probed(true, now), down.probed(true, now)], [None, Some(Change::Up)]);
    let mut left = fresh();
    left.leave_alone(Some(seconds(3)), now);
    assert_eq!(left.condition(now), Condition::Out(now + seconds(3)));
    let later = now + seconds(3);
    let trial = left.begin(later, Trial(1));
    assert!(left.succeeded(later, trial));
    // What is known here is newer, and who is never asked would stay down.
    let mut known = fresh();
    known.probed(true, now);
    known.leave_alone(Some(seconds(3)), now);
    let mut unasked = Health::new(&Balance { probe: None, passive: None, ..balance() });
    unasked.leave_alone(None, now);
    unasked.leave_alone(Some(seconds(3)), now);
    assert_eq!([known.condition(now), unasked.condition(now)], [Condition::Up; 2]);
}

#[test]
fn the_first_probe_decides_and_after_that_it_takes_several() {
    let now = Instant::now();
    let mut health = Health::new(&balance());
    assert_eq!(health.condition(now), Condition::Up);
    assert_eq!(health.probed(false, now), Some(Change::Down));
    assert_eq!([health.probed(true, now), health.probed(false, now), health.probed(true, now)], [None; 3]);
    assert_eq!(health.condition(now), Condition::Down);
    assert_eq!(health.probed(true, now), Some(Change::Up));
    assert_eq!([health.probed(false, now), health.probed(false, now), health.probed(true, now)], [None; 3]);
    assert_eq!([health.probed(false, now), health.probed(false, now)], [None; 2]);
    assert_eq!(health.probed(false, now), Some(Change::Down));
}

#[test]
fn failures_count_within_the_window_only() {
    let now = Instant::now();
    let mut health = Health::new(&balance());
    for second in [0, 6, 12, 18, 24] {
        assert_eq!(health.failed(now + seconds(second), None), None, "{second}");
    }
    assert_eq!(health.failed(now + seconds(25), None), Some(seconds(5)));
}

#[test]
fn who_is_to_be_out_for_longer_than_time_lasts_is_out() {
    let now = Instant::now();
    let ever = Passive { max_fails: 1, out: Duration::MAX, longest_out: Duration::MAX, ..Passive::default() };
    let mut health = Health::new(&Balance { passive: Some(ever), ..Balance::default() });
    assert_eq!(health.failed(now, None), Some(Duration::MAX));
    assert!(matches!(health.condition(now + seconds(1_000_000)), Condition::Out(_)));
}

#[test]
fn one_request_at_a_time_finds_out_whether_it_has_recovered() {
    let now = Instant::now();
    let mut health = out(now);
    assert_eq!(health.condition(now), Condition::Out(now + seconds(5)));
    assert!(!health.has_room(now + seconds(4)));
    let later = now + seconds(5);
    assert_eq!(health.condition(later), Condition::Trying);
    let trial = health.begin(later, Trial(1));
    assert!(trial.is_some() && !health.has_room(later));
    // Nobody waited for its answer.
    health.end(Trial(1));
    assert!(health.has_room(later));
    let trial = health.begin(later, Trial(2));
    // Those from before do not count.
    assert!(!health.succeeded(later, None) && health.failed(later, None).is_none());
    assert!(health.succeeded(later, trial));
    assert_eq!(health.condition(later), Condition::Up);
}

#[test]
fn who_fails_again_soon_is_out_for_longer_and_longer_up_to_a_limit() {
    let mut now = Instant::now();
    let mut health = out(now);
    let mut outs = Vec::new();
    for number in 0..8 {
        now += seconds(300);
        let trial = health.begin(now, Trial(number));
        outs.push(health.failed(now, trial).unwrap().as_secs());
    }
    assert_eq!(outs, [10, 20, 40, 80, 160, 300, 300, 300]);

    now += seconds(300);
    let trial = health.begin(now, Trial(9));
    assert!(health.succeeded(now, trial));
    // It was well for longer than it was out.
    now += seconds(301);
    assert_eq!([health.failed(now, None), health.failed(now, None)], [None, None]);
    assert_eq!(health.failed(now, None), Some(seconds(5)));
}

#[test]
fn one_that_has_come_back_starts_slowly() {
    let now = Instant::now();
    let mut health = out(now);
    let back = now + seconds(5);
    assert_eq!(Health::new(&balance()).share(now), 1000);
    let trial = health.begin(back, Trial(1));
    assert!(health.succeeded(back, trial));
    let shares = [0, 1, 5, 9, 10, 1000].map(|second| health.share(back + seconds(second)));
    assert_eq!(shares, [100, 100, 500, 900, 1000, 1000]);
}

proptest! {
    /// Whatever happens, it comes back when all goes well, and no number leads out of bounds.
    #[test]
    fn nothing_keeps_an_upstream_out_for_ever(steps in proptest::collection::vec((0..5_u8, 0..100_u64), 0..200)) {
        let mut now = Instant::now();
        let mut health = Health::new(&balance());
        let mut trial = None;
        for (number, (step, pause)) in steps.into_iter().enumerate() {
            now += seconds(pause);
            match step {
                0 => drop(health.failed(now, trial.take())),
                1 => drop(health.succeeded(now, trial.take())),
                2 if health.has_room(now) => trial = health.begin(now, Trial(number as u64)),
                3 => drop(health.probed(false, now)),
                _ => drop(health.probed(true, now)),
            }
            prop_assert!((100..=1000).contains(&health.share(now)));
        }
        if let Some(Trial(number)) = trial {
            health.end(Trial(number));
        }
        now += seconds(300);
        health.probed(true, now);
        health.probed(true, now);
        prop_assert!(health.has_room(now));
        if let trial @ Some(_) = health.begin(now, Trial(1000)) {
            prop_assert!(health.succeeded(now, trial));
        }
        prop_assert_eq!(health.condition(now), Condition::Up);
    }

    /// At most the share that was asked for, and a few.
    #[test]
    fn second_tries_stay_within_their_share(percent in 0..=100_u8, wanted in proptest::collection::vec(any::<bool>(), 0..2000)) {
        let mut budget = Budget::new(percent);
        let mut tries = 0;
        for (number, wants) in wanted.into_iter().enumerate() {
            budget.earn();
            tries += u64::from(wants && budget.spend());
            let share = (number as u64 + 1) * u64::from(percent) / 100;
            prop_assert!(tries <= share + u64::from(RESERVE), "{tries} of {number}");
        }
        prop_assert!(percent > 0 || tries == 0);
    }
}
