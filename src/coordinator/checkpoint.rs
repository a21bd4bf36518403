//! How far a partition is: the last record before which nothing is left to do.
//!
//! **Invariant:** the checkpoint never passes a record whose effects are not published yet.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The records of a partition that are in work. Clones are one and the same.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    open: BTreeSet<u64>,
    read: u64,
}

impl Checkpoint {
    /// All up to `sequence` is done.
    pub(super) fn at(sequence: u64) -> Self {
        Self(Arc::new(Mutex::new(State { open: BTreeSet::new(), read: sequence })))
    }

    /// A record was read, and is in work until it is [`done`](Self::done).
    pub(super) fn begin(&self, sequence: u64) {
        self.with(|state| {
            state.open.insert(sequence);
            state.read = state.read.max(sequence);
        });
    }

    /// What follows from these records is published.
    pub(super) fn done(&self, sequences: impl IntoIterator<Item = u64>) {
        self.with(|state| {
            for sequence in sequences {
                state.open.remove(&sequence);
            }
        });
    }

    /// The checkpoint.
    pub(super) fn reached(&self) -> u64 {
        self.with(|state| state.open.first().map_or(state.read, |first| first.saturating_sub(1)))
    }

    /// Records in work.
    pub(super) fn open(&self) -> usize {
        self.with(|state| state.open.len())
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_waits_for_the_oldest_record_in_work() {
        let checkpoint = Checkpoint::at(7);
        assert_eq!(checkpoint.reached(), 7);
        for sequence in [9, 12, 15] {
            checkpoint.begin(sequence);
        }
        assert_eq!((checkpoint.reached(), checkpoint.open()), (8, 3));
        checkpoint.done([12, 15]);
        assert_eq!(checkpoint.reached(), 8);
        checkpoint.done([9]);
        assert_eq!(checkpoint.reached(), 15);
    }
}
