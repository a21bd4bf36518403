//! What operators decide of queues, and what they do with the tasks in them.

use futures::{StreamExt as _, TryStreamExt as _};

use super::{Client, Error, NOTE_LEN_MAX};
use crate::broker::{self, Message, Publish, Start as From};
use crate::model::schedule::Paused;
use crate::model::signature::LABELS_MAX;
use crate::model::{Labels, Queue, TaskId, TaskKey};
use crate::protocol::limit;
use crate::protocol::queue::{QueueRecord, subject};
use crate::protocol::subject::{TaskSubject, queue_tasks};

/// How often a change is tried again when others change the queue at the same time.
const TRIES_MAX: u32 = 16;

/// Tasks that are cancelled at a time.
const CANCELLED_AT_ONCE: usize = 64;

/// What became of a purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Attempts of steps, which belong to runs and were left.
    pub steps: u64,
}

impl Client {
    /// Pauses a queue: hosts take nothing more from it, now and after restarts, and finish what they have. Tasks can be sent to it.
    ///
    /// # Errors
    /// A note that is too long, and what the broker fails with.
    pub async fn pause_queue(&self, queue: &Queue, note: &str) -> Result<(), Error> {
        if note.len() > NOTE_LEN_MAX {
            return Err(Error::Refused(format!("a note takes up to {NOTE_LEN_MAX} bytes")));
        }
        let now = self.broker.clock.now();
        self.change_queue(queue, |record| {
            let since = record.paused.as_ref().map_or(now, |paused| paused.since);
            record.paused = Some(Paused { since, note: note.to_owned() });
        })
        .await
    }

    /// Lets hosts take tasks from a queue again.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn resume_queue(&self, queue: &Queue) -> Result<(), Error> {
        self.change_queue(queue, |record| record.paused = None).await
    }

    /// Lets only hosts take from a queue that have all of these labels; with none, all hosts may.
    ///
    /// # Errors
    /// Too many labels, and what the broker fails with.
    pub async fn require_of_queue(&self, queue: &Queue, requires: &Labels) -> Result<(), Error> {
        if requires.len() > LABELS_MAX {
            return Err(Error::Refused(format!("a queue requires up to {LABELS_MAX} labels")));
        }
        self.change_queue(queue, |record| record.requires = requires.clone()).await
    }

    pub(super) async fn change_queue(&self, queue: &Queue, change: impl Fn(&mut QueueRecord)) -> Result<(), Error> {
        let subject = subject(&self.tenant, queue);
        for _ in 0..TRIES_MAX {
            let last = self.broker.streams.last(&subject).await?;
            let mut record = match &last {
                Some(message) => QueueRecord::decode(&message.payload)
                    .map_err(|rejection| Error::Unreadable { subject: subject.clone(), rejection })?,
                None => QueueRecord::new(queue.clone()),
            };
            change(&mut record);
            let expect = Some(last.map_or(0, |message| message.sequence));
            match self.broker.streams.publish(Publish { expect, ..Publish::new(&subject, record.encode()) }).await {
                Ok(_) => return Ok(()),
                Err(broker::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(broker::Error::Conflict { subject }.into())
    }

    /// Cancels all tasks of a queue, those that run too. Attempts of steps are left: they belong to runs.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn purge_queue(&self, queue: &Queue) -> Result<Purged, Error> {
        let tasks = self.broker.streams.read(&queue_tasks(&self.tenant, queue), From::Sequence(1), false).await?;
        let waiting = limit::line_of_queue(&self.tenant, queue);
        let waiting = self.broker.streams.read(&waiting, From::Sequence(1), false).await?;
        let mut purged = Purged::default();
        let of_line = |subject: &str| limit::read_line(subject).map(|(_, task)| task);
        let key = |message: Message| {
            let read = TaskSubject::read(&message.subject).or_else(|| of_line(&message.subject));
            read.map(|read| read.key).ok_or(message.subject)
        };
        // Those that wait for a limit first: they may be queued meanwhile.
        let mut keys = waiting.chain(tasks).map_ok(key).fuse().boxed();
        loop {
            let mut ids: Vec<TaskId> = Vec::new();
            while ids.len() < CANCELLED_AT_ONCE
                && let Some(key) = keys.try_next().await?
            {
                match key {
                    Ok(TaskKey::Single(id)) => ids.push(id),
                    Ok(TaskKey::Step(_)) => purged.steps = purged.steps.saturating_add(1),
                    // What names no task, no host takes.
                    Err(subject) => drop(self.broker.streams.purge(&subject).await?),
                }
            }
            if ids.is_empty() {
                return Ok(purged);
            }
            let cancelled = futures::future::join_all(ids.iter().map(|id| self.cancel(id))).await;
            for result in cancelled {
                match result {
                    Ok(()) => purged.cancelled = purged.cancelled.saturating_add(1),
                    // It was faster.
                    Err(Error::Ended { .. } | Error::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}
