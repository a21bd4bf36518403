//! Cancelling: first a committed record, then purges, then a word to the host that runs the task.

use bytes::Bytes;

use super::{Client, Error};
use crate::broker;
use crate::model::TaskId;
use crate::model::lifecycle::{End, Record, Settled, Usage};
use crate::protocol::{Headers, subject};
use crate::store::records;

/// How often a cancel tries again when the task's record changes under it.
const TRIES_MAX: u32 = 16;

impl Client {
    /// Cancels a task, wherever it is. When this returns it will not run again, and its outcome is `cancelled`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an id that is not known, [`Error::Ended`] for a task that has ended, and what the broker fails with.
    pub async fn cancel(&self, id: &TaskId) -> Result<(), Error> {
        let record = Record::Settled(Settled { end: End::Cancelled, usage: Usage::default() });
        for _ in 0..TRIES_MAX {
            let stored = self.record(id).await?;
            let expected = match &stored {
                Some(stored) => match &stored.record {
                    Record::Settled(settled) => {
                        return Err(Error::Ended { id: id.clone(), state: settled.end.state() });
                    }
                    Record::Retrying { .. } => stored.sequence,
                },
                None => {
                    // An unknown id must not get a record.
                    self.state(id).await?;
                    0
                }
            };
            match records::write(&self.broker, &self.tenant, id, &record, expected).await {
                Ok(()) => return self.clean_up(id).await,
                Err(broker::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(broker::Error::Conflict { subject: subject::result(&self.tenant, id) }.into())
    }

    /// What is left of a cancelled task. Hosts would drop it anyway: this is tidiness, and stops a guest that runs.
    async fn clean_up(&self, id: &TaskId) -> Result<(), Error> {
        for waiting in [
            subject::schedule(&self.tenant, id),
            subject::fire_anywhere(&self.tenant, id),
            subject::task_anywhere(&self.tenant, id),
        ] {
            self.broker.streams.purge(&waiting).await?;
        }
        self.broker.bus.send(&subject::cancel(&self.tenant, id), Headers::new(), Bytes::new()).await?;
        // What is sent is buffered, and a caller that has nothing else to do ends its process. The record stands in any case.
        drop(self.broker.bus.flush().await);
        Ok(())
    }
}
