//! What a host has done since it began, by queue, and what it has in hand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::lifecycle::Usage;
use crate::model::{Outcome, Queue};
use crate::protocol::host::{Done, WATCHED_BEATS};

/// The longest words of a last failure, in characters: a heartbeat's reader wants a hint, not a report.
const FAILURE_LEN_MAX: usize = 200;

/// Counters of one host.
pub(super) struct Stats {
    in_hand: AtomicU64,
    queues: BTreeMap<Queue, Mutex<Done>>,
    /// For how many heartbeats somebody is believed to look at events.
    watched: AtomicU32,
    /// Beginnings that may be told until the next heartbeat.
    told_left: AtomicU32,
}

/// Tasks of which a host says in a second that they begin, while somebody looks: more than anybody reads.
const TOLD_MAX: u32 = 1_000;

/// A delivery that is in hand until this is dropped.
pub(super) struct InHand<'a>(&'a AtomicU64);

impl Stats {
    /// Counters for these queues: no message can make them more.
    pub(super) fn new<'a>(queues: impl Iterator<Item = &'a Queue>) -> Self {
        let queues = queues.map(|queue| (queue.clone(), Mutex::default())).collect();
        Self { in_hand: AtomicU64::new(0), queues, watched: AtomicU32::new(0), told_left: AtomicU32::new(0) }
    }

    /// Somebody looks.
    pub(super) fn watch(&self) {
        self.watched.store(WATCHED_BEATS, Ordering::Relaxed);
        self.told_left.store(TOLD_MAX, Ordering::Relaxed);
    }

    /// A heartbeat has passed.
    pub(super) fn beat(&self) {
        let less = |count: u32| Some(count.saturating_sub(1));
        if self.watched.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) > Ok(1) {
            self.told_left.store(TOLD_MAX, Ordering::Relaxed);
        } else {
            self.told_left.store(0, Ordering::Relaxed);
        }
    }

    /// Whether it is to be told that a task begins: while somebody looks, and within the bound.
    pub(super) fn is_told(&self) -> bool {
        // All that it costs while nobody looks.
        self.told_left.load(Ordering::Relaxed) > 0
            && self.told_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Takes a delivery in hand.
    pub(super) fn take(&self) -> InHand<'_> {
        self.in_hand.fetch_add(1, Ordering::Relaxed);
        InHand(&self.in_hand)
    }

    /// Deliveries in hand.
    pub(super) fn in_hand(&self) -> u64 {
        self.in_hand.load(Ordering::Relaxed)
    }

    /// Counts an attempt that ended.
    pub(super) fn ended(&self, queue: &Queue, outcome: &Outcome, usage: &Usage) {
        let Some(done) = self.queues.get(queue) else { return };
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.attempts = done.attempts.saturating_add(1);
        done.busy_us = done.busy_us.saturating_add(usage.duration_us);
        done.fuel = done.fuel.saturating_add(usage.fuel);
        if let Outcome::Failed(failure) = outcome {
            done.failed = done.failed.saturating_add(1);
            done.last_failure = failure.to_string().chars().take(FAILURE_LEN_MAX).collect();
        }
    }

    /// What was done, by queue.
    pub(super) fn done(&self) -> BTreeMap<Queue, Done> {
        let read = |done: &Mutex<Done>| done.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.queues.iter().map(|(queue, done)| (queue.clone(), read(done))).collect()
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, Kind};

    #[test]
    fn attempts_are_counted_by_queue_and_strangers_queues_add_nothing() {
        let (queue, other): (Queue, Queue) = ("a".parse().unwrap(), "b".parse().unwrap());
        let stats = Stats::new([&queue].into_iter());
        let usage = Usage { fuel: 5, duration_us: 7, ..Usage::default() };
        stats.ended(&queue, &Outcome::Output("1".into()), &usage);
        stats.ended(&queue, &Outcome::Failed(Failure::new(Kind::Trap, "x".repeat(1_000))), &usage);
        stats.ended(&other, &Outcome::Output("1".into()), &usage);
        let done = stats.done();
        assert_eq!(done.len(), 1);
        let Done { attempts, failed, busy_us, fuel, last_failure } = done[&queue].clone();
        assert_eq!((attempts, failed, busy_us, fuel, last_failure.len()), (2, 1, 14, 10, FAILURE_LEN_MAX));
    }

    #[test]
    fn beginnings_are_told_while_somebody_looks_and_within_a_bound() {
        let stats = Stats::new(std::iter::empty());
        assert!(!stats.is_told());
        stats.watch();
        assert_eq!((0..2_000).filter(|_| stats.is_told()).count(), TOLD_MAX as usize);
        for _ in 1..WATCHED_BEATS {
            stats.beat();
            assert!(stats.is_told());
        }
        stats.beat();
        assert!(!stats.is_told());
        stats.beat();
        assert!(!stats.is_told());
    }

    #[test]
    fn what_is_in_hand_is_let_go_with_its_guard() {
        let stats = Stats::new(std::iter::empty());
        let one = stats.take();
        assert_eq!(stats.in_hand(), 1);
        drop(one);
        assert_eq!(stats.in_hand(), 0);
    }
}
