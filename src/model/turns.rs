//! Whose turn it is when tasks of several priorities wait: a free slot goes to the first of them, and a later one that was passed
//! over often enough has a turn before it.
//!
//! The rule, for the classes that wait in their order, ranks counted from 0: a turn goes to rank 0, unless a class of rank `r` has
//! been passed over [`PASSED_FOR_EACH`] × `r` times since its last turn; of several such the one that is owed most has it. So the
//! second of two has one turn in nine, the third of three one in seventeen; all nine ranks below the first have 35 % together at
//! most, and each has a turn after [`PASSED_FOR_EACH`] × `r` + `n` others, where `n` classes wait. A class with which nobody
//! competes keeps strict order: as long as fewer than [`PASSED_FOR_EACH`] tasks are taken before it, it waits for all of them.
//!
//! Turns are counted, not seconds: a host knows what it has passed over, and needs no clock and no other host to be fair.

use std::collections::BTreeMap;

/// How often a class is passed over for each class that waits before it. Smaller, and urgent tasks would wait for others all the
/// time; larger, and the last of ten would wait for hundreds.
pub const PASSED_FOR_EACH: u64 = 8;

/// How often each waiting class was passed over since its last turn.
#[derive(Clone, Debug)]
pub struct Turns<K> {
    passed: BTreeMap<K, u64>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { passed: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Turns<K> {
    /// Gives out `free` slots among the classes that wait, first ones first, and to none more than wait of it; how many each gets,
    /// in the same order.
    pub fn share(&mut self, waiting: &[(K, usize)], free: usize) -> Vec<usize> {
        let mut shares = vec![0; waiting.len()];
        self.passed.retain(|class, _| waiting.iter().any(|(waits, _)| waits == class));
        let mut left: Vec<_> = waiting.iter().zip(&mut shares).filter(|((_, count), _)| *count > 0).collect();
        for _ in 0..free {
            let classes = left.iter().map(|((class, _), _)| class);
            let Some(rank) = self.next(classes) else { break };
            if let Some(((_, count), share)) = left.get_mut(rank) {
                **share += 1;
                if **share == *count {
                    left.remove(rank);
                }
            }
        }
        shares
    }

    /// Takes back turns in which nothing was there to be taken: nobody was passed over by them.
    pub fn take_back(&mut self, turns: usize) {
        for passed in self.passed.values_mut() {
            *passed = passed.saturating_sub(turns as u64);
        }
    }

    /// The rank of the class whose turn it is.
    fn next<'a>(&mut self, waiting: impl DoubleEndedIterator<Item = &'a K> + ExactSizeIterator + Clone) -> Option<usize>
    where
        K: 'a,
    {
        let owed = |(rank, class): (usize, &K)| {
            let passed = self.passed.get(class).copied().unwrap_or(0);
            passed.checked_sub(PASSED_FOR_EACH.saturating_mul(rank as u64)).map(|owed| (owed, rank))
        };
        // The last maximum would win: of those that are owed the same, the first has its turn.
        let due = waiting.clone().enumerate().skip(1).filter_map(owed).rev().max_by_key(|(owed, _)| *owed);
        let next = due.map_or(0, |(_, rank)| rank);
        let count = waiting.len();
        for (rank, class) in waiting.enumerate() {
            if rank == next {
                self.passed.remove(class);
            } else if rank > 0 {
                let passed = self.passed.entry(class.clone()).or_default();
                *passed = passed.saturating_add(1);
            }
        }
        (next < count).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The turns in their order, of classes that always wait.
    fn order(waiting: &[u8], count: usize) -> Vec<u8> {
        let mut turns = Turns::default();
        let next = |_| turns.share(&many(waiting), 1).iter().position(|n| *n == 1).map(|at| waiting[at]);
        (0..count).filter_map(next).collect()
    }

    /// Classes of which more wait than there are slots.
    fn many<K: Clone>(waiting: &[K]) -> Vec<(K, usize)> {
        waiting.iter().map(|class| (class.clone(), usize::MAX)).collect()
    }

    #[test]
    fn a_few_tasks_keep_strict_order() {
        let mut turns = Turns::default();
        let mut left = [(9_u8, 3), (5, 2), (0, 2)];
        let mut order = Vec::new();
        loop {
            let waiting: Vec<u8> = left.iter().filter(|(_, count)| *count > 0).map(|(class, _)| *class).collect();
            let Some(place) = turns.share(&many(&waiting), 1).iter().position(|share| *share == 1) else { break };
            order.push(waiting[place]);
            left.iter_mut().find(|(class, _)| *class == waiting[place]).unwrap().1 -= 1;
        }
        assert_eq!(order, [9, 9, 9, 5, 5, 0, 0]);
    }

    #[test]
    fn a_flood_lets_others_through_by_their_rank() {
        let turns = order(&[9, 0], 27);
        let zeros: Vec<usize> = turns.iter().enumerate().filter(|(_, class)| **class == 0).map(|(at, _)| at).collect();
        assert_eq!(zeros, [8, 17, 26], "one in nine");
        let turns = order(&[9, 5, 0], 10_000);
        let count = |class| turns.iter().filter(|turn| **turn == class).count();
        assert_eq!((count(9), count(5), count(0)), (8_333, 1_111, 556));
        let all: Vec<u8> = (0..10).rev().collect();
        let turns = order(&all, 100_000);
        let count = |class| turns.iter().filter(|turn| **turn == class).count();
        assert!(count(9) > 65_000, "{}", count(9));
        for (first, second) in all.iter().zip(all.iter().skip(1)) {
            assert!(count(*first) > count(*second) && count(*second) > 1_000, "{first} {second}");
        }
    }

    #[test]
    fn slots_are_given_out_as_turns_are() {
        for (waiting, free, shares) in [
            (&[][..], 5, &[][..]),
            (&[5], 5, &[5]),
            (&[9, 5], 0, &[0, 0]),
            (&[9, 5], 8, &[8, 0]),
            (&[9, 5], 18, &[16, 2]),
            (&[9, 5, 0], 18, &[15, 2, 1]),
        ] {
            assert_eq!(Turns::default().share(&many(waiting), free), shares, "{waiting:?} {free}");
        }
    }

    #[test]
    fn none_gets_more_slots_than_wait_of_it() {
        for (waiting, free, shares) in [
            (&[(9, 2), (5, 3), (0, 1)][..], 9, &[2, 3, 1][..]),
            (&[(9, 2), (5, 3), (0, 1)], 4, &[2, 2, 0]),
            (&[(9, 0), (5, 1)], 3, &[0, 1]),
            (&[(9, 12), (0, 1)], 11, &[10, 1]),
            (&[(9, 12), (0, 1)], 20, &[12, 1]),
        ] {
            assert_eq!(Turns::default().share(waiting, free), shares, "{waiting:?} {free}");
        }
    }

    #[test]
    fn what_waits_no_more_is_owed_nothing() {
        let mut turns = Turns::default();
        turns.share(&many(&[9, 0]), 8);
        turns.share(&many(&[9]), 1);
        assert_eq!(turns.share(&many(&[9, 0]), 8), [8, 0]);
    }

    #[test]
    fn turns_that_found_nothing_do_not_count() {
        let mut turns = Turns::default();
        turns.share(&many(&[9, 0]), 7);
        turns.take_back(5);
        assert_eq!(turns.share(&many(&[9, 0]), 7), [6, 1]);
    }

    proptest! {
        /// However many of the others come, and whenever the rest of the classes come and go.
        #[test]
        fn whoever_waits_has_a_turn_within_a_bound(
            flood in proptest::collection::vec(proptest::collection::btree_set(1_u8..10, 0..9), 1..400),
        ) {
            let mut turns = Turns::default();
            let bound = usize::try_from(PASSED_FOR_EACH).unwrap() * 9 + 10;
            let mut passed = 0;
            for others in flood {
                let waiting: Vec<u8> = others.into_iter().rev().chain([0]).collect();
                let shares = turns.share(&many(&waiting), 1);
                prop_assert_eq!(shares.iter().sum::<usize>(), 1);
                passed = if shares.last() == Some(&1) { 0 } else { passed + 1 };
                prop_assert!(passed <= bound, "{} passed", passed);
            }
        }

        #[test]
        fn no_slot_is_kept_from_who_waits(counts in proptest::collection::vec(0_usize..40, 1..11), free in 0_usize..300) {
            let waiting: Vec<(usize, usize)> = counts.iter().copied().enumerate().collect();
            let shares = Turns::default().share(&waiting, free);
            prop_assert_eq!(shares.iter().sum::<usize>(), free.min(counts.iter().sum()));
            prop_assert!(shares.iter().zip(&counts).all(|(share, count)| share <= count), "{:?}", shares);
        }

        #[test]
        fn every_slot_is_given_to_somebody_who_waits(count in 1_usize..11, free in 0_usize..300) {
            let waiting: Vec<usize> = (0..count).collect();
            let shares = Turns::default().share(&many(&waiting), free);
            prop_assert_eq!(shares.iter().sum::<usize>(), free);
            prop_assert!(shares.iter().all(|share| *share <= shares[0]), "{:?}", shares);
        }
    }
}
