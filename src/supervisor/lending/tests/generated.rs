//! Anything, in any order: nothing may be left without somebody who ends it.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Move {
    Come,
    Leave(usize),
    Go(usize),
    Want(usize, usize),
    Release(usize, bool),
    Try(usize, bool),
    CallOff(usize, bool),
    Start(usize, bool),
    End(usize),
    Wait(u64),
    Stop,
}

fn a_move() -> impl Strategy<Value = Move> {
    let any = any::<usize>;
    prop_oneof![
        2 => Just(Move::Come),
        1 => any().prop_map(Move::Leave),
        2 => any().prop_map(Move::Go),
        6 => (any(), any()).prop_map(|(worker, launch)| Move::Want(worker, launch)),
        3 => (any(), proptest::bool::ANY).prop_map(|(loan, good)| Move::Release(loan, good)),
        2 => (any(), proptest::bool::ANY).prop_map(|(loan, well)| Move::Try(loan, well)),
        1 => (any(), proptest::bool::ANY).prop_map(|(loan, good)| Move::CallOff(loan, good)),
        6 => (any(), proptest::bool::weighted(0.8)).prop_map(|(number, well)| Move::Start(number, well)),
        3 => any().prop_map(Move::End),
        3 => (0_u64..100_000).prop_map(Move::Wait),
        1 => Just(Move::Stop),
    ]
}

fn nth<T: Copy>(mut all: impl Iterator<Item = T> + Clone, n: usize) -> Option<T> {
    let count = all.clone().count();
    (count > 0).then(|| all.nth(n % count)).flatten()
}

impl World {
    fn make(&mut self, it: Move, last: &mut u64) {
        let parting = |good| if good { Parting::ForGood } else { Parting::Leaving };
        let launches =
            [launch("a"), impatient("a"), launch("b"), on_port("c", 1), on_port("d", 1), impatient("e")];
        match it {
            Move::Come => {
                *last += 1;
                self.come(*last);
            }
            Move::Leave(n) => {
                if let Some(worker) = nth(self.workers.iter().copied(), n) {
                    self.leave(worker.0);
                }
            }
            Move::Go(n) => {
                if let Some(worker) = nth(self.workers.iter().copied(), n) {
                    self.go(worker.0);
                }
            }
            Move::Want(n, which) => {
                if let Some(worker) = nth(self.workers.iter().copied(), n) {
                    self.want(worker.0, &launches[which % launches.len()]);
                }
            }
            Move::Release(n, good) => {
                if let Some(loan) = nth(self.lent.keys().copied(), n) {
                    self.release(loan, parting(good));
                }
            }
            Move::Try(n, well) => {
                if let Some(loan) = nth(self.lent.keys().copied(), n) {
                    self.tried(loan, if well { Fitness::Fit } else { Fitness::Unfit });
                }
            }
            Move::CallOff(n, good) => {
                if let Some(loan) = nth(self.open.keys().copied(), n) {
                    self.release(loan, parting(good));
                }
            }
            Move::Start(n, well) => {
                if let Some(number) = nth(self.starting.keys().copied(), n) {
                    if well {
                        self.started(number)
                    } else {
                        self.not_started(number)
                    };
                }
            }
            Move::End(n) => {
                if let Some(number) = nth(self.running.keys().copied(), n) {
                    self.ended(number);
                }
            }
            Move::Wait(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.tell(Event::Tick);
            }
            Move::Stop => drop(self.tell(Event::Stop)),
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_left_without_somebody_who_ends_it(moves in proptest::collection::vec(a_move(), 0..80)) {
        let (mut world, mut last) = (World::new(), 0);
        for it in moves {
            world.make(it, &mut last);
        }
        // All workers go, and whatever was begun comes to its end.
        for worker in world.workers.clone() {
            world.go(worker.0);
        }
        for _ in 0..100 {
            for number in world.starting.keys().copied().collect::<Vec<_>>() {
                world.started(number);
            }
            for number in world.ending.clone() {
                world.ended(number);
            }
            if let Some(due) = world.ledger.due() {
                world.now = world.now.max(due);
                world.tell(Event::Tick);
            }
        }
        prop_assert!(world.ledger.is_empty() && world.running.is_empty(), "{:?}", world.running);
        prop_assert!(world.open.is_empty());
    }
}
