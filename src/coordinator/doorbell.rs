//! How a run's actor is told of records: by a message, or, when it is behind, by their numbers alone.
//!
//! **Invariant:** a run that is slow never makes its partition wait: what does not fit is read from the journal by the actor.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};

use crate::broker::Message;

/// Records that wait for an actor in memory, and their bytes: reading them again costs more than keeping them.
const WAITING_MAX: usize = 4_096;
const WAITING_BYTES_MAX: usize = 4 << 20;

/// The partition's end.
pub(super) struct Bell {
    records: mpsc::Sender<Message>,
    /// Bytes of the records that wait.
    bytes: Arc<AtomicUsize>,
    missed: Arc<Missed>,
}

/// The actor's end.
pub(super) struct Door {
    /// Records in the order of the stream.
    records: mpsc::Receiver<Message>,
    bytes: Arc<AtomicUsize>,
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
    let (missed, bytes) = (Arc::<Missed>::default(), Arc::<AtomicUsize>::default());
    (Bell { records: sender, bytes: Arc::clone(&bytes), missed: Arc::clone(&missed) }, Door { records, bytes, missed })
}

impl Bell {
    /// Tells the actor of a record; gives it back if the actor has left.
    pub(super) fn ring(&self, record: Message) -> Result<(), Message> {
        let size = size(&record);
        // Only this end adds, so that what was seen here can only shrink.
        if self.bytes.load(Ordering::Relaxed).saturating_add(size) > WAITING_BYTES_MAX && !self.records.is_closed() {
            self.missed.add(record.sequence);
            return Ok(());
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let rung = self.records.try_send(record);
        if rung.is_err() {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        match rung {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(record)) => Err(record),
            Err(mpsc::error::TrySendError::Full(record)) => {
                self.missed.add(record.sequence);
                Ok(())
            }
        }
    }
}

impl Door {
    /// Waits for records and takes up to `count` of them; says how many, which is 0 only when the bell is gone.
    pub(super) async fn receive(&mut self, batch: &mut Vec<Message>, count: usize) -> usize {
        let before = batch.len();
        let received = self.records.recv_many(batch, count).await;
        let bytes = batch.iter().skip(before).map(size).sum();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        received
    }

    /// Takes no more records; those that were rung are still received.
    pub(super) fn close(&mut self) {
        self.records.close();
    }

    /// Whether nothing will be rung any more.
    pub(super) fn is_closed(&self) -> bool {
        self.records.is_closed()
    }
}

fn size(record: &Message) -> usize {
    record.payload.len().saturating_add(record.subject.len())
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
        let mut batch = Vec::new();
        assert_eq!(door.receive(&mut batch, 1).await, 1);
        assert_eq!(batch[0].sequence, 1);
        assert!(door.missed.take().is_empty());
    }

    #[tokio::test]
    async fn large_records_that_wait_are_few() {
        let (bell, mut door) = doorbell();
        let large = |sequence| Message { payload: vec![0; WAITING_BYTES_MAX / 2].into(), ..record(sequence) };
        for sequence in 1..=3 {
            bell.ring(large(sequence)).unwrap();
        }
        assert_eq!(door.missed.take(), [3]);
        let mut batch = Vec::new();
        assert_eq!(door.receive(&mut batch, 10).await, 2);
        bell.ring(large(4)).unwrap();
        assert_eq!(door.receive(&mut batch, 10).await, 1, "what was taken makes room");
        assert!(door.missed.take().is_empty());
    }

    #[tokio::test]
    async fn a_record_for_one_who_left_comes_back() {
        let (bell, door) = doorbell();
        drop(door);
        assert_eq!(bell.ring(record(7)).unwrap_err().sequence, 7);
    }
}
