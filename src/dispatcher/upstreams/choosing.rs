//! Which upstream gets a request.
//!
//! In: what is known of the request, how others went, the time. Out: the upstream. Never: one that is down or out, looks
//! at a clock, or throws dice that cannot be thrown again.

use std::time::Instant;

use super::health::{Change, Condition, Health, Trial};
use crate::front::{Balance, Policy, Upstreams};

/// All upstreams of an application.
#[derive(Debug)]
pub(super) struct Choosing {
    policy: Policy,
    members: Vec<Member>,
    dice: Dice,
    begun: u64,
    /// Room for a choice: nobody allocates while others wait for theirs.
    able: Vec<usize>,
}

#[derive(Debug)]
struct Member {
    health: Health,
    weight: u32,
    /// What it is called among hashes.
    id: u64,
    outstanding: u32,
    /// How far it is behind of what it should have had: it is due when it is the furthest.
    due: i64,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted<'a> {
    /// The one that has served the client before.
    pub(super) sticky: Option<usize>,
    /// What it has in common with others.
    pub(super) key: Option<u64>,
    /// Those that have failed this very request.
    pub(super) tried: &'a [usize],
}

/// A request's place at an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) index: usize,
    pub(super) trial: Option<Trial>,
}

impl Choosing {
    /// `ids` are what the upstreams are called among hashes, one for each; `seed` is for the dice.
    pub(super) fn new(upstreams: &Upstreams, ids: &[u64], seed: u64) -> Self {
        let Balance { policy, .. } = &upstreams.balance;
        let member = |(upstream, id): (&crate::front::Upstream, &u64)| Member {
            health: Health::new(&upstreams.balance),
            weight: upstream.weight.get().into(),
            id: *id,
            outstanding: 0,
            due: 0,
        };
        let members = upstreams.members.iter().zip(ids).map(member).collect();
        Self { policy: policy.clone(), members, dice: Dice(seed | 1), begun: 0, able: Vec::new() }
    }

    /// An upstream for a request, which has it until [`end`](Self::end). `None`: there is none to be had now.
    pub(super) fn begin(&mut self, now: Instant, wanted: Wanted<'_>) -> Option<Turn> {
        let mut able = std::mem::take(&mut self.able);
        let may = |index: &usize| !wanted.tried.contains(index) && self.members[*index].health.has_room(now);
        let index = match wanted.sticky.filter(|sticky| *sticky < self.members.len()).filter(may) {
            Some(sticky) => Some(sticky),
            None => {
                able.clear();
                able.extend((0..self.members.len()).filter(may));
                self.pick(now, &mut able, wanted.key)
            }
        };
        self.able = able;
        let index = index?;
        self.begun += 1;
        let member = &mut self.members[index];
        member.outstanding += 1;
        Some(Turn { index, trial: member.health.begin(now, Trial(self.begun)) })
    }

    /// The request is over, and the upstream has nothing more to do with it.
    pub(super) fn end(&mut self, turn: Turn) {
        let member = &mut self.members[turn.index];
        member.outstanding = member.outstanding.saturating_sub(1);
        if let Some(trial) = turn.trial {
            member.health.end(trial);
        }
    }

    pub(super) fn health(&mut self, index: usize) -> &mut Health {
        &mut self.members[index].health
    }

    pub(super) fn probed(&mut self, index: usize, is_well: bool, now: Instant) -> Option<Change> {
        self.members[index].health.probed(is_well, now)
    }

    /// How each of them is, and how many requests it has.
    pub(super) fn conditions(&self, now: Instant) -> impl Iterator<Item = (Condition, u32)> {
        self.members.iter().map(move |member| (member.health.condition(now), member.outstanding))
    }

    fn pick(&mut self, now: Instant, able: &mut Vec<usize>, key: Option<u64>) -> Option<usize> {
        match (&self.policy, key) {
            (Policy::Hash(_), Some(key)) => self.by_hash(able, key),
            (Policy::RandomTwo, _) => self.of_two(now, able),
            // A request that lacks what they are told apart by is as good anywhere.
            (Policy::RoundRobin | Policy::Hash(_), _) => self.in_turn(now, able),
            (Policy::LeastOutstanding, _) => {
                self.retain_least(now, able);
                self.in_turn(now, able)
            }
        }
    }

    /// Who is furthest behind its share. Over time each has as many as its weight says, and they are well mixed.
    fn in_turn(&mut self, now: Instant, able: &[usize]) -> Option<usize> {
        let mut whole = 0;
        for index in able {
            let share = self.share(now, *index);
            whole += share;
            self.members[*index].due += share;
        }
        let next = able.iter().copied().max_by_key(|index| (self.members[*index].due, usize::MAX - index))?;
        let due = &mut self.members[next].due;
        // Whom others were chosen over for another reason need not make up for all of it.
        *due = (*due - whole).max(-MOST_DUE);
        for index in able {
            let due = &mut self.members[*index].due;
            *due = (*due).min(MOST_DUE);
        }
        Some(next)
    }

    /// Leaves those that have the fewest requests for their weight.
    fn retain_least(&self, now: Instant, able: &mut Vec<usize>) {
        let loads = able.iter().map(|index| self.load(now, *index));
        if let Some(least) = loads.min_by(Load::cmp_to) {
            able.retain(|index| self.load(now, *index).cmp_to(&least).is_eq());
        }
    }

    fn of_two(&mut self, now: Instant, able: &mut Vec<usize>) -> Option<usize> {
        let one = self.by_chance(now, able)?;
        able.retain(|index| *index != one);
        let Some(other) = self.by_chance(now, able) else { return Some(one) };
        let is_less = self.load(now, other).cmp_to(&self.load(now, one)).is_lt();
        Some(if is_less { other } else { one })
    }

    /// One of them, the heavier the likelier.
    fn by_chance(&mut self, now: Instant, able: &[usize]) -> Option<usize> {
        let whole: u64 = able.iter().map(|index| self.share(now, *index).unsigned_abs()).sum();
        let mut left = self.dice.next() % whole.max(1);
        able.iter().copied().find(|index| {
            let share = self.share(now, *index).unsigned_abs();
            let is_it = left < share;
            left = left.saturating_sub(share);
            is_it
        })
    }

    /// Each draws a number that hangs only on the key and itself, and the highest has it: who comes or goes changes
    /// nothing between the others. A slow start would, so there is none here.
    fn by_hash(&self, able: &[usize], key: u64) -> Option<usize> {
        let drawn = |index: usize| {
            let Member { id, weight, .. } = &self.members[index];
            // Between 0 and 1, and neither.
            let fraction = ((mixed(key ^ *id) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            -f64::from(*weight) / fraction.ln()
        };
        able.iter().copied().max_by(|one, other| drawn(*one).total_cmp(&drawn(*other)))
    }

    fn share(&self, now: Instant, index: usize) -> i64 {
        let member = &self.members[index];
        i64::from(member.weight) * i64::from(member.health.share(now))
    }

    fn load(&self, now: Instant, index: usize) -> Load {
        Load {
            outstanding: self.members[index].outstanding.into(),
            share: self.share(now, index).unsigned_abs(),
        }
    }
}

/// Requests for a weight, compared without dividing.
struct Load {
    outstanding: u128,
    share: u64,
}

impl Load {
    fn cmp_to(&self, other: &Self) -> std::cmp::Ordering {
        (self.outstanding * u128::from(other.share)).cmp(&(other.outstanding * u128::from(self.share)))
    }
}

/// xorshift64*: chance need not be a secret here.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Spreads what is close together, as splitmix64 does.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Some rounds of the largest weight.
const MOST_DUE: i64 = 1000 * 65_535 * 1000;
