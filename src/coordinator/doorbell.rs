//! How a run's actor is told of records: by a message, or, when it is behind, by their numbers alone.
//!
//! **Invariant:** a run that is slow never makes its partition wait: what does not fit is read from the journal by the actor.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};

use crate::broker::Message;

/// Records that wait for an actor in memory.
const WAITING_MAX: usize = 256;

/// The partition's end.
pub(super) struct Bell {
    records: mpsc::Sender<Message>,
    missed: Arc<Missed>,
}

/// The actor's end.
pub(super) struct Door {
    /// Records in the order of the stream.
    pub(super) records: mpsc::Receiver<Message>,
    /// Those that did not fit.
    pub(super) missed: Arc<Missed>,
}

/// Numbers of records that the actor has to read by itself.
#[derive(Default)]
pub(super) struct Missed {
    sequences: Mutex<Vec<u64>>,
    rung: Notify,
}

/// A bell and its door.
pub(super) fn doorbell() -> (Bell, Door) {
    let (sender, records) = mpsc::channel(WAITING_MAX);
    let missed = Arc::<Missed>::default();
    (Bell { records: sender, missed: Arc::clone(&missed) }, Door { records, missed })
}

impl Bell {
    /// Tells the actor of a record; gives it back if the actor has left.
    pub(super) fn ring(&self, record: Message) -> Result<(), Message> {
        match self.records.try_send(record) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(record)) => Err(record),
            Err(mpsc::error::TrySendError::Full(record)) => {
                self.missed.add(record.sequence);
                Ok(())
            }
        }
    }
}

impl Missed {
    fn add(&self, sequence: u64) {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner).push(sequence);
        self.rung.notify_one();
    }

    /// The numbers so far, once each.
    pub(super) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.sequences.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there may be some.
    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64) -> Message {
        Message { sequence, ..Message::default() }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_told_by_its_number() {
        let (bell, mut door) = doorbell();
        let count = WAITING_MAX as u64 + 3;
        for sequence in 1..=count {
            bell.ring(record(sequence)).unwrap();
        }
        door.missed.rung().await;
        assert_eq!(door.missed.take(), [count - 2, count - 1, count]);
        assert_eq!(door.records.recv().await.unwrap().sequence, 1);
        assert!(door.missed.take().is_empty());
    }

    #[tokio::test]
    async fn a_record_for_one_who_left_comes_back() {
        let (bell, door) = doorbell();
        drop(door);
        assert_eq!(bell.ring(record(7)).unwrap_err().sequence, 7);
    }
}
