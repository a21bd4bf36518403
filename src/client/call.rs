//! Waiting for the end of a task: by the very publish that stores it.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::{Client, Error, Place, Submitted};
use crate::broker::Message;
use crate::model::lifecycle::{End, Record, Settled};
use crate::model::{Failure, Signature, TaskId, Timestamp};
use crate::protocol::note::{LogLine, Progress};
use crate::protocol::{record, subject};
use crate::store::records::{self, StoredRecord};

/// How often a caller looks at the stored record beside listening: a message can be lost where a connection was.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a caller hears of its task.
#[derive(Clone, Debug, PartialEq)]
pub enum Watch {
    /// A line of its log.
    Log(LogLine),
    /// How far it is.
    Progress(Progress),
    /// An attempt failed and another follows.
    Retrying {
        /// The attempt that follows.
        next: u32,
        /// When it is due.
        due: Timestamp,
        /// What the last one failed with.
        failure: Failure,
    },
}

impl Client {
    /// Submits a task and waits for its end, however it ends.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn call(&self, signature: Signature) -> Result<Settled, Error> {
        self.call_at(signature, &Place::default()).await
    }

    /// The same, in a queue and at a time of its own.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn call_at(&self, signature: Signature, place: &Place) -> Result<Settled, Error> {
        let id = self.new_id();
        let heard = self.broker.bus.listen(&subject::result(&self.tenant, &id)).await?;
        let submitted = self.submit_first(&id, signature, place).await?;
        if *submitted.id() != id {
            return self.wait(submitted.id(), &mut |_| {}).await;
        }
        self.hear(&id, heard, &mut |_| {}).await
    }

    /// The same, telling `watch` what is heard of the task meanwhile, and `submitted` what became of the submit.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn call_watched(
        &self,
        signature: Signature,
        place: &Place,
        submitted: impl FnOnce(&Submitted),
        watch: &mut (dyn FnMut(Watch) + Send),
    ) -> Result<Settled, Error> {
        let id = self.new_id();
        let results = self.broker.bus.listen(&subject::result(&self.tenant, &id)).await?;
        let heard = self.with_notes(&id, results).await?;
        let told = self.submit_first(&id, signature, place).await?;
        submitted(&told);
        if *told.id() != id {
            return self.wait(told.id(), watch).await;
        }
        self.hear(&id, heard, watch).await
    }

    /// Waits for the end of a task that was submitted before.
    ///
    /// # Errors
    /// An unknown id, and what the broker fails with.
    pub async fn wait(&self, id: &TaskId, watch: &mut (dyn FnMut(Watch) + Send)) -> Result<Settled, Error> {
        let results = self.broker.bus.listen(&subject::result(&self.tenant, id)).await?;
        let heard = self.with_notes(id, results).await?;
        match self.state(id).await?.record {
            Some(Record::Settled(settled)) => Ok(settled),
            Some(Record::Retrying { .. }) | None => self.hear(id, heard, watch).await,
        }
    }

    /// The output of a task that succeeded.
    ///
    /// # Errors
    /// The failure of one that did not, and a value that cannot be had.
    pub async fn output(&self, settled: &Settled) -> Result<Bytes, Error> {
        match &settled.end {
            End::Succeeded(value) => self.bytes(value).await,
            End::Failed(_) | End::Cancelled | End::Expired => Err(settled.end.failure().map_or_else(
                || unreachable!("only success has no failure"),
                |failure| Error::Failed(Box::new(failure)),
            )),
        }
    }

    /// The stored record of a task.
    pub(super) async fn record(&self, id: &TaskId) -> Result<Option<StoredRecord>, Error> {
        Ok(records::read(&self.broker, &self.tenant, id).await?)
    }

    async fn with_notes(
        &self,
        id: &TaskId,
        results: BoxStream<'static, Message>,
    ) -> Result<BoxStream<'static, Message>, Error> {
        let logs = self.broker.bus.listen(&subject::log(&self.tenant, id)).await?;
        let progress = self.broker.bus.listen(&subject::progress(&self.tenant, id)).await?;
        // In this order, a line that was written before the end is told before the end.
        let poll_first = |_: &mut ()| futures::stream::PollNext::Left;
        let notes = futures::stream::select_with_strategy(logs, progress, poll_first);
        Ok(futures::stream::select_with_strategy(notes, results, poll_first).boxed())
    }

    async fn hear(
        &self,
        id: &TaskId,
        mut heard: BoxStream<'static, Message>,
        watch: &mut (dyn FnMut(Watch) + Send),
    ) -> Result<Settled, Error> {
        let mut told = 1;
        loop {
            let (record, confirmed) = match tokio::time::timeout(LOOK_EVERY, heard.next()).await {
                Ok(None) => return Err(Error::Closed(id.clone())),
                Ok(Some(message)) => match self.read(&message, watch)? {
                    Some(record) => (record, false),
                    None => continue,
                },
                Err(_) => match self.record(id).await? {
                    Some(stored) => (stored.record, true),
                    None => continue,
                },
            };
            match record {
                // A first delivery is the only one that can have committed when its outcome is heard; after that, two hosts may
                // have said something, and what is stored counts.
                Record::Settled(settled) if confirmed || settled.usage.delivery <= 1 => return Ok(settled),
                Record::Settled(_) => {
                    if let Some(StoredRecord { record: Record::Settled(settled), .. }) = self.record(id).await? {
                        return Ok(settled);
                    }
                }
                Record::Retrying { next, due, failure, .. } if next > told => {
                    told = next;
                    watch(Watch::Retrying { next, due, failure });
                }
                Record::Retrying { .. } => {}
            }
        }
    }

    /// Tells a note to `watch`, or returns the record that the message is.
    fn read(&self, message: &Message, watch: &mut (dyn FnMut(Watch) + Send)) -> Result<Option<Record>, Error> {
        let kind = message.subject.split('.').nth(2);
        if kind == Some("res") {
            let read = record::decode(&message.headers, &message.payload);
            let unreadable = |rejection| Error::Unreadable { subject: message.subject.clone(), rejection };
            return read.map(Some).map_err(unreadable);
        }
        // A note that cannot be read is a stranger's: notes are no part of a task's outcome.
        let note = if kind == Some("log") {
            serde_json::from_slice(&message.payload).map(Watch::Log)
        } else {
            serde_json::from_slice(&message.payload).map(Watch::Progress)
        };
        if let Ok(note) = note {
            watch(note);
        }
        Ok(None)
    }
}
