//! Whose turn it is: what one coordinator does next about the partitions, from what all of them can see.
//!
//! **Invariant:** no IO: the same view gives the same decision. **Invariant:** the shares of all live coordinators are all
//! partitions, each once, so that coordinators with the same view never want the same more of them than there are.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::CoordinatorId;
use crate::model::name::PARTITIONS;

/// What one coordinator does next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// Partitions that it takes: nobody who lives holds them.
    pub(super) take: Vec<char>,
    /// Partitions that it gives back, since they are more than its share.
    pub(super) release: Vec<char>,
}

/// What `me` does next, where `holders` says who holds each partition (those that nobody holds are left out) and `live` who
/// was heard of lately. `me` counts as live.
#[must_use]
pub(super) fn turn(
    me: &CoordinatorId,
    live: &BTreeSet<CoordinatorId>,
    holders: &BTreeMap<char, CoordinatorId>,
) -> Turn {
    let mut live = live.clone();
    live.insert(me.clone());
    let rank = live.iter().position(|one| one == me).unwrap_or(0);
    let share = share(rank, live.len());
    let mine: Vec<char> = PARTITIONS.chars().filter(|partition| holders.get(partition) == Some(me)).collect();
    if mine.len() > share {
        return Turn { take: Vec::new(), release: mine.into_iter().skip(share).collect() };
    }
    let free = |partition: &char| holders.get(partition).is_none_or(|holder| !live.contains(holder));
    // Each begins to look somewhere else, so that two that see the same free partitions seldom want the same ones.
    let first = rank * PARTITIONS.len() / live.len();
    let around = PARTITIONS.chars().cycle().skip(first).take(PARTITIONS.len());
    Turn { take: around.filter(free).take(share - mine.len()).collect(), release: Vec::new() }
}

/// The partitions of the coordinator with this rank among `live`: equal shares, the first ones get what is left over.
fn share(rank: usize, live: usize) -> usize {
    let count = PARTITIONS.len();
    count / live + usize::from(rank < count % live)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> CoordinatorId {
        name.parse().unwrap()
    }

    fn ids(names: &str) -> BTreeSet<CoordinatorId> {
        names.chars().map(|name| id(&name.to_string())).collect()
    }

    /// `text` names the holder of each partition in their order; `-` is nobody.
    fn holders(text: &str) -> BTreeMap<char, CoordinatorId> {
        let held = PARTITIONS.chars().zip(text.chars()).filter(|(_, holder)| *holder != '-');
        held.map(|(partition, holder)| (partition, id(&holder.to_string()))).collect()
    }

    #[test]
    fn each_situation_has_one_decision() {
        let all = PARTITIONS;
        for (situation, me, live, held, take, release) in [
            ("alone at the beginning", "a", "a", "", all, ""),
            ("alone with all", "a", "a", &"a".repeat(32), "", ""),
            ("a second one comes: the first gives half back", "a", "ab", &"a".repeat(32), "", "ghjkmnpqrstvwxyz"),
            ("and the second waits until it does", "b", "ab", &"a".repeat(32), "", ""),
            ("then takes it", "b", "ab", &["a".repeat(16), "-".repeat(16)].concat(), "ghjkmnpqrstvwxyz", ""),
            ("what a dead one held is free", "b", "bc", &["b".repeat(16), "a".repeat(16)].concat(), "", ""),
            (
                "to the one whose share it is",
                "c",
                "bc",
                &["b".repeat(16), "a".repeat(16)].concat(),
                "ghjkmnpqrstvwxyz",
                "",
            ),
            ("three share as equally as can be", "a", "abc", &["a".repeat(16), "b".repeat(16)].concat(), "", "bcdef"),
            (
                "the last of three has ten",
                "c",
                "abc",
                &["a".repeat(11), "b".repeat(11), "-".repeat(10)].concat(),
                "pqrstvwxyz",
                "",
            ),
        ] {
            let turn = turn(&id(me), &ids(live), &holders(held));
            let text = |partitions: &[char]| partitions.iter().collect::<String>();
            assert_eq!((text(&turn.take).as_str(), text(&turn.release).as_str()), (take, release), "{situation}");
        }
    }

    /// Coordinators that come and go, each acting on what it sees: in the end each partition has one holder, and shares differ
    /// by one at most.
    #[test]
    fn whoever_comes_and_goes_the_shares_become_fair() {
        let mut held: BTreeMap<char, CoordinatorId> = BTreeMap::new();
        for live in ["a", "ab", "abc", "bc", "bcdefg", "g", "cg", "abcdefghijklmnopqrstuvwxyz"] {
            let live = ids(live);
            for _ in 0..4 {
                for me in &live {
                    let Turn { take, release } = turn(me, &live, &held);
                    held.retain(|partition, _| !release.contains(partition));
                    held.extend(take.into_iter().map(|partition| (partition, me.clone())));
                }
            }
            let shares: Vec<usize> =
                live.iter().map(|me| held.values().filter(|holder| *holder == me).count()).collect();
            assert_eq!(shares.iter().sum::<usize>(), PARTITIONS.len(), "{live:?}");
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
            for me in &live {
                assert_eq!(turn(me, &live, &held), Turn::default(), "nobody moves without a reason");
            }
        }
    }
}
