//! Several upstreams: who gets the next request.

use std::{
    collections::BTreeMap,
    num::NonZeroU16,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::super::{
    choosing::{Choosing, Turn, Wanted},
    health::Condition,
};
use crate::{
    endpoint::Endpoint,
    facts::Scheme,
    front::{Balance, HashKey, Passive, Policy, Probe, Upstream, Upstreams},
};

fn choosing(policy: Policy, weights: &[u16]) -> Choosing {
    let upstream = |(number, weight): (usize, &u16)| Upstream {
        place: Endpoint::Tcp(([127, 0, 0, 1], number as u16 + 1).into()).into(),
        scheme: Scheme::Http,
        weight: NonZeroU16::new(*weight).unwrap(),
    };
    let members = weights.iter().enumerate().map(upstream).collect();
    let balance = Balance {
        policy,
        probe: Some(Probe::new("/")),
        passive: Some(Passive { max_fails: 1, ..Passive::default() }),
        ..Balance::default()
    };
    let ids: Vec<u64> = (0..weights.len() as u64).map(|number| number * 0x1234_5678_9abc_def1).collect();
    Choosing::new(&Upstreams { members, balance, outward: Box::default() }, &ids, 42)
}

fn policies() -> [Policy; 4] {
    [Policy::LeastOutstanding, Policy::RoundRobin, Policy::RandomTwo, Policy::Hash(HashKey::Path)]
}

fn keyed(key: u64) -> Wanted<'static> {
    Wanted { key: Some(key), ..Wanted::default() }
}

/// Who gets so many requests, each of which is over before the next comes.
fn counts(choosing: &mut Choosing, requests: u64, now: Instant) -> Vec<u64> {
    let mut counts = vec![0; choosing.conditions(now).count()];
    for request in 0..requests {
        let turn = choosing.begin(now, keyed(request)).unwrap();
        counts[turn.index] += 1;
        choosing.end(turn);
    }
    counts
}

#[test]
fn each_in_turn_mixes_the_weights_well() {
    let mut choosing = choosing(Policy::RoundRobin, &[5, 1, 1]);
    let now = Instant::now();
    let order: Vec<usize> = (0..7).map(|_| choosing.begin(now, Wanted::default()).unwrap().index).collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn the_one_with_the_fewest_requests_for_its_weight_gets_the_next() {
    let mut choosing = choosing(Policy::LeastOutstanding, &[3, 1]);
    let now = Instant::now();
    let turns: Vec<Turn> = (0..8).map(|_| choosing.begin(now, Wanted::default()).unwrap()).collect();
    assert_eq!(turns.iter().filter(|turn| turn.index == 0).count(), 6);
    let slow = turns.iter().position(|turn| turn.index == 1).unwrap();
    for (number, turn) in turns.iter().enumerate() {
        if number != slow {
            choosing.end(*turn);
        }
    }
    // It still has one, and the other none.
    assert_eq!(choosing.begin(now, Wanted::default()).unwrap().index, 0);
}

#[test]
fn a_cookie_is_followed_as_long_as_its_upstream_is_there() {
    for policy in policies() {
        let mut choosing = choosing(policy, &[1, 100]);
        let now = Instant::now();
        let sticky = |tried| Wanted { sticky: Some(0), key: Some(7), tried };
        for _ in 0..10 {
            assert_eq!(choosing.begin(now, sticky(&[])).unwrap().index, 0);
        }
        assert_eq!(choosing.begin(now, sticky(&[0])).unwrap().index, 1);
        choosing.probed(0, false, now);
        assert_eq!(choosing.begin(now, sticky(&[])).unwrap().index, 1);
        assert_eq!(choosing.begin(now, Wanted { sticky: Some(99), ..Wanted::default() }).unwrap().index, 1);
    }
}

#[test]
fn who_goes_takes_along_only_the_keys_that_he_had() {
    let now = Instant::now();
    let mut choosing = choosing(Policy::Hash(HashKey::Path), &[1, 2, 1, 4]);
    let all = |choosing: &mut Choosing| {
        let of = |key| (key, choosing.begin(now, keyed(key)).unwrap().index);
        (0..2000).map(of).collect::<BTreeMap<u64, usize>>()
    };
    let before = all(&mut choosing);
    assert_eq!(before, all(&mut choosing));
    choosing.probed(1, false, now);
    let after = all(&mut choosing);
    assert!(before.iter().all(|(key, index)| *index == 1 || after[key] == *index));
    assert!(after.values().all(|index| *index != 1));
}

#[test]
fn there_is_none_where_all_are_down_or_tried() {
    for policy in policies() {
        let mut choosing = choosing(policy, &[1, 1]);
        let now = Instant::now();
        assert_eq!(choosing.begin(now, Wanted { tried: &[0, 1], ..keyed(1) }), None);
        choosing.probed(0, false, now);
        choosing.health(1).failed(now, None);
        assert_eq!(choosing.begin(now, keyed(1)), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever counts long enough finds the weights.
    #[test]
    fn weights_are_kept_in_the_long_run(weights in proptest::collection::vec(1..20_u16, 1..6)) {
        let whole: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        for policy in policies() {
            let rounds = 100;
            let counts = counts(&mut choosing(policy.clone(), &weights), whole * rounds, Instant::now());
            for (weight, count) in weights.iter().zip(&counts) {
                let fair = u64::from(*weight) * rounds;
                let off = match policy {
                    Policy::RoundRobin | Policy::LeastOutstanding => 0,
                    // Chance: some standard deviations.
                    _ => 6 * ((fair as f64).sqrt() as u64 + 1),
                };
                // Of two that were picked by chance, the first has it; which is what chance says.
                prop_assert!(count.abs_diff(fair) <= off, "{policy:?} {weights:?} {counts:?}");
            }
        }
    }

    /// A request goes only to who may have one; and there is one to be had if anybody is up.
    #[test]
    fn nobody_who_is_down_gets_a_request_while_another_is_up(
        weights in proptest::collection::vec(1..1000_u16, 1..5),
        steps in proptest::collection::vec((0..6_u8, 0..5_usize, 0..4_u64), 0..300),
    ) {
        for policy in policies() {
            let mut choosing = choosing(policy, &weights);
            let mut now = Instant::now();
            let mut turns: Vec<Turn> = Vec::new();
            for (step, index, pause) in &steps {
                now += Duration::from_secs(*pause);
                let index = index % weights.len();
                match step {
                    0 => drop(choosing.probed(index, false, now)),
                    1 => drop(choosing.probed(index, true, now)),
                    2 if !turns.is_empty() => {
                        let turn = turns.swap_remove(index % turns.len());
                        choosing.health(turn.index).failed(now, turn.trial);
                        choosing.end(turn);
                    }
                    3 if !turns.is_empty() => {
                        let turn = turns.swap_remove(index % turns.len());
                        choosing.health(turn.index).succeeded(now, turn.trial);
                        choosing.end(turn);
                    }
                    _ => {
                        let before: Vec<Condition> =
                            choosing.conditions(now).map(|(condition, _)| condition).collect();
                        let sticky = Some(index).filter(|_| *step == 4);
                        let turn = choosing.begin(now, Wanted { sticky, key: Some(*pause), tried: &[] });
                        match turn {
                            Some(turn) => {
                                prop_assert!(matches!(before[turn.index], Condition::Up | Condition::Trying));
                                prop_assert_eq!(turn.trial.is_some(), before[turn.index] == Condition::Trying);
                                turns.push(turn);
                            }
                            None => prop_assert!(!before.contains(&Condition::Up)),
                        }
                    }
                }
                let outstanding: u32 = choosing.conditions(now).map(|(_, outstanding)| outstanding).sum();
                prop_assert_eq!(outstanding as usize, turns.len());
            }
        }
    }
}
