//! One consumer: what it may hand out next, what is out, and under which leases.

use std::collections::BTreeMap;

use super::timers::{Due, Key, Timers};
use crate::broker::{Consumer, Message};
use crate::model::Timestamp;

/// Messages among which a seeded order chooses.
const SHUFFLED: usize = 16;

/// A message that was handed out and is not finished.
struct Out {
    /// How often it has been handed out.
    count: u64,
    /// The end of its lease or of its delay; `None` while it waits to be handed out again.
    timer: Option<Key>,
}

/// Where a message stands among those to be handed out: those handed out before come first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    new: bool,
    arrival: u64,
}

/// A consumer, shared by its takers.
pub(super) struct Group {
    pub(super) consumer: Consumer,
    /// The first message that has not been looked at.
    pub(super) next: u64,
    ready: BTreeMap<Rank, u64>,
    out: BTreeMap<u64, Out>,
    arrivals: u64,
    /// Deliveries so far.
    pub(super) delivered: u64,
}

/// A chooser of places, from a seed.
pub(super) struct Order(pub(super) u64);

impl Order {
    /// A number below `bound`, by the generator of Marsaglia (xorshift64).
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or(0)
    }
}

impl Group {
    pub(super) const fn new(consumer: Consumer) -> Self {
        Self { consumer, next: 1, ready: BTreeMap::new(), out: BTreeMap::new(), arrivals: 0, delivered: 0 }
    }

    /// Whether more of the stream should be looked at before something is handed out.
    pub(super) fn wants(&self, held: impl Fn(u64) -> bool, order: Option<&Order>) -> bool {
        let new = self.ready.iter().filter(|(rank, sequence)| rank.new && !held(**sequence)).count();
        new < if order.is_some() { SHUFFLED } else { 1 }
    }

    /// Messages that were looked at and never handed out.
    pub(super) fn waiting(&self) -> u64 {
        self.ready.keys().filter(|rank| rank.new).count() as u64
    }

    /// Messages that were handed out and are not finished, those that were handed back among them.
    pub(super) fn out(&self) -> u64 {
        self.out.len() as u64
    }

    /// Notes a new message of the stream.
    pub(super) fn add(&mut self, message: &Message) {
        self.next = message.sequence.saturating_add(1);
        self.enqueue(message.sequence, true);
    }

    /// Hands one out: its sequence and how often it has been handed out now.
    pub(super) fn take(
        &mut self,
        held: impl Fn(u64) -> bool,
        order: Option<&mut Order>,
        now: Timestamp,
        timers: &mut Timers,
    ) -> Option<(u64, u64)> {
        let full = self.consumer.deliveries_max.is_some_and(|max| self.out.len() as u64 >= max);
        let mut ready = self.ready.iter().filter(|(rank, sequence)| !(held(**sequence) || full && rank.new));
        let rank = match order {
            None => ready.next().map(|(rank, _)| *rank),
            Some(order) => {
                let ranks: Vec<Rank> = ready.take(SHUFFLED).map(|(rank, _)| *rank).collect();
                ranks.get(order.below(ranks.len())).copied()
            }
        }?;
        let sequence = self.ready.remove(&rank)?;
        let count = self.out.get(&sequence).map_or(0, |out| out.count) + 1;
        let timer = self.lease(sequence, now, timers);
        if let Some(old) = self.out.insert(sequence, Out { count, timer: Some(timer) }) {
            timers.clear(old.timer);
        }
        self.delivered = self.delivered.saturating_add(1);
        Some((sequence, count))
    }

    /// Begins the lease of what is out anew.
    pub(super) fn extend(&mut self, sequence: u64, now: Timestamp, timers: &mut Timers) {
        if self.out.get(&sequence).is_none_or(|out| out.timer.is_none()) {
            return;
        }
        let timer = self.lease(sequence, now, timers);
        if let Some(out) = self.out.get_mut(&sequence) {
            timers.clear(out.timer.replace(timer));
        }
    }

    /// Takes one back that is to be handed out again at `at`, if its last delivery is this one.
    pub(super) fn hand_back(&mut self, sequence: u64, count: u64, at: Timestamp, timers: &mut Timers) {
        let due = self.due(sequence);
        if let Some(out) = self.out.get_mut(&sequence).filter(|out| out.count == count && out.timer.is_some()) {
            let timer = timers.set(at, due);
            timers.clear(out.timer.replace(timer));
        }
    }

    /// Makes what is out ready to be handed out again: its lease or its delay is over.
    pub(super) fn give_back(&mut self, sequence: u64) {
        if let Some(out) = self.out.get_mut(&sequence)
            && out.timer.take().is_some()
        {
            self.enqueue(sequence, false);
        }
    }

    /// Makes a delivery that is out ready to be handed out a second time, while the first goes on.
    pub(super) fn repeat(&mut self, sequence: u64) {
        self.enqueue(sequence, false);
    }

    /// Ends all leases and delays.
    pub(super) fn give_back_all(&mut self, timers: &mut Timers) {
        let sequences: Vec<u64> = self.out.keys().copied().collect();
        for sequence in sequences {
            if let Some(out) = self.out.get(&sequence) {
                timers.clear(out.timer);
            }
            self.give_back(sequence);
        }
    }

    /// Forgets a message: it is finished, or gone from the stream.
    pub(super) fn forget(&mut self, sequence: u64, timers: &mut Timers) {
        if let Some(out) = self.out.remove(&sequence) {
            timers.clear(out.timer);
        }
        self.ready.retain(|_, ready| *ready != sequence);
    }

    fn enqueue(&mut self, sequence: u64, new: bool) {
        self.arrivals += 1;
        self.ready.insert(Rank { new, arrival: self.arrivals }, sequence);
    }

    fn lease(&self, sequence: u64, now: Timestamp, timers: &mut Timers) -> Key {
        timers.set(now.after(self.consumer.lease), self.due(sequence))
    }

    fn due(&self, sequence: u64) -> Due {
        Due::Return { stream: self.consumer.stream.name(), consumer: self.consumer.name.clone(), sequence }
    }
}
