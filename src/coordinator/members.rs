//! Who lives and who holds what, as one coordinator sees it.
//!
//! Time is counted in this coordinator's own heartbeats, as they come back from the broker: another that missed six of them is
//! dead. So one that hears nothing sees nobody die, a broker that was away for a while kills nobody, and no two clocks are
//! ever compared.
//!
//! **Invariant:** no IO.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::claim::{Beat, Claim};
use super::turn::{Turn, turn};
use crate::model::{CoordinatorId, Timestamp};

/// How often a heartbeat is sent.
pub(super) const BEAT_EVERY: Duration = Duration::from_millis(500);

/// Heartbeats of our own without one of another's, after which it is dead: 3 s, longer than a pause of a busy machine, and
/// short enough to take over within 5 s.
const MISSED_MAX: u32 = 6;

/// A heartbeat that was stored so long before our own first one is a dead one's, from before we began.
const STALE_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct Member {
    missed: u32,
    heard: Timestamp,
}

/// A partition as its record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// What it says.
    pub(super) claim: Claim,
    /// Where it stands: what a new claim expects to replace.
    pub(super) sequence: u64,
}

/// The view of one coordinator.
#[derive(Debug)]
pub(super) struct Members {
    me: CoordinatorId,
    others: BTreeMap<CoordinatorId, Member>,
    partitions: BTreeMap<char, Seen>,
    /// Whether our own heartbeat has come back: before that nothing is known of the others.
    present: bool,
}

impl Members {
    pub(super) const fn new(me: CoordinatorId) -> Self {
        Self { me, others: BTreeMap::new(), partitions: BTreeMap::new(), present: false }
    }

    /// Takes a heartbeat, which the broker stored at `time`.
    pub(super) fn heard(&mut self, id: CoordinatorId, beat: &Beat, time: Timestamp) {
        if id == self.me {
            for other in self.others.values_mut() {
                let stale = !self.present && time.since(other.heard) > STALE_AFTER;
                other.missed = if stale { MISSED_MAX } else { other.missed.saturating_add(1) };
            }
            self.others.retain(|_, other| other.missed < MISSED_MAX);
            self.present = true;
        } else if beat.leaves {
            self.others.remove(&id);
        } else {
            self.others.insert(id, Member { missed: 0, heard: time });
        }
    }

    /// Takes the record of a partition.
    pub(super) fn claimed(&mut self, partition: char, seen: Seen) {
        let known = self.partitions.get(&partition);
        if known.is_none_or(|known| known.sequence < seen.sequence) {
            self.partitions.insert(partition, seen);
        }
    }

    /// What is known of a partition.
    pub(super) fn partition(&self, partition: char) -> Option<&Seen> {
        self.partitions.get(&partition)
    }

    /// What is to be done, where we work on `working`; `None` as long as nothing is known of the others.
    pub(super) fn turn(&self, working: &BTreeSet<char>) -> Option<Turn> {
        if !self.present {
            return None;
        }
        let live = self.others.keys().cloned().collect();
        let others = self.partitions.iter().filter_map(|(partition, seen)| {
            let holder = seen.claim.holder.clone().filter(|holder| *holder != self.me)?;
            Some((*partition, holder))
        });
        let mut holders: BTreeMap<char, CoordinatorId> = others.collect();
        // What we work on is ours until a write of ours is refused, whatever the view says that may be a moment behind.
        holders.extend(working.iter().map(|partition| (*partition, self.me.clone())));
        Some(turn(&self.me, &live, &holders))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::PARTITIONS;

    fn id(name: &str) -> CoordinatorId {
        name.parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn beat() -> Beat {
        Beat::new(1, false)
    }

    /// `b`, which sees `a` hold all partitions.
    fn second() -> Members {
        let mut members = Members::new(id("b"));
        for (sequence, partition) in (1..).zip(PARTITIONS.chars()) {
            members.claimed(partition, Seen { claim: Claim::new(Some(id("a")), 0), sequence });
        }
        members.heard(id("a"), &beat(), at(10));
        members.heard(id("b"), &beat(), at(10));
        members
    }

    fn takes(members: &Members) -> usize {
        members.turn(&BTreeSet::new()).map_or(0, |turn| turn.take.len())
    }

    #[test]
    fn nothing_is_decided_before_the_own_heartbeat_has_come_back() {
        let mut members = Members::new(id("b"));
        assert_eq!(takes(&members), 0);
        members.heard(id("b"), &beat(), at(0));
        assert_eq!(takes(&members), 32);
    }

    #[test]
    fn one_that_missed_six_heartbeats_is_dead() {
        let mut members = second();
        for _ in 0..4 {
            members.heard(id("b"), &beat(), at(10));
            assert_eq!(takes(&members), 0);
        }
        members.heard(id("a"), &beat(), at(10));
        for _ in 0..5 {
            members.heard(id("b"), &beat(), at(100));
        }
        assert_eq!(takes(&members), 0, "a heartbeat begins the count anew");
        members.heard(id("b"), &beat(), at(100));
        assert_eq!(takes(&members), 32);
    }

    #[test]
    fn heartbeats_from_before_we_began_are_those_of_the_dead() {
        let mut members = Members::new(id("b"));
        members.heard(id("a"), &beat(), at(10));
        members.heard(id("c"), &beat(), at(13));
        members.heard(id("b"), &beat(), at(14));
        assert_eq!(takes(&members), 16, "c lives, a does not");
    }

    #[test]
    fn one_that_leaves_is_not_waited_for() {
        let mut members = second();
        members.heard(id("a"), &Beat::new(2, true), at(11));
        assert_eq!(takes(&members), 32);
    }

    #[test]
    fn an_older_record_of_a_partition_never_replaces_a_newer() {
        let mut members = second();
        members.claimed('0', Seen { claim: Claim::new(None, 5), sequence: 100 });
        members.claimed('0', Seen { claim: Claim::new(Some(id("a")), 0), sequence: 1 });
        assert_eq!(members.partition('0').unwrap().claim.checkpoint, 5);
        assert_eq!(takes(&members), 1);
    }

    #[test]
    fn what_we_work_on_is_ours_and_what_we_lost_is_not() {
        let mut members = second();
        members.heard(id("a"), &Beat::new(2, true), at(11));
        let working: BTreeSet<char> = PARTITIONS.chars().collect();
        assert_eq!(members.turn(&working), Some(Turn::default()));
        members.claimed('0', Seen { claim: Claim::new(Some(id("b")), 0), sequence: 100 });
        assert!(
            members.turn(&BTreeSet::new()).unwrap().take.contains(&'0'),
            "a record of ours without work of ours is free"
        );
    }
}
