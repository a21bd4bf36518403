//! Cancelling: first a committed record, then purges, then a word to the host that runs the task.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::{Client, Error, RunFilter};
use crate::broker::{self, Start as From};
use crate::model::lifecycle::{End, Record, Settled, Usage};
use crate::model::{TaskId, TaskKey};
use crate::protocol::subject::TaskSubject;
use crate::protocol::task::TaskMessage;
use crate::protocol::{Headers, limit, subject};
use crate::store::{kept, records};

/// How often a cancel tries again when the task's record changes under it.
const TRIES_MAX: u32 = 16;

/// How often tasks with a label are looked for: until a look finds none, so often at most.
const LOOKS_MAX: u32 = 8;

/// Tasks that are cancelled at a time.
const CANCELLED_AT_ONCE: usize = 64;

/// What a cancel by label has cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelledAll {
    /// Tasks that belong to no run.
    pub tasks: u64,
    /// Runs.
    pub runs: u64,
}

impl Client {
    /// Cancels a task, wherever it is. When this returns it will not run again, and its outcome is `cancelled`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an id that is not known, [`Error::Ended`] for a task that has ended, and what the broker fails with.
    pub async fn cancel(&self, id: &TaskId) -> Result<(), Error> {
        self.cancel_if(id, false).await
    }

    /// The same for an id that is known, also where no task of it is published yet: then it never runs.
    pub(super) async fn cancel_known(&self, id: &TaskId) -> Result<(), Error> {
        self.cancel_if(id, true).await
    }

    async fn cancel_if(&self, id: &TaskId, known: bool) -> Result<(), Error> {
        // Before it is gone from its queue: afterwards nobody knows what was called.
        let about = self.about(id).await.map(Box::new);
        let usage = Usage { about, ..Usage::default() };
        let record = Record::Settled(Settled { end: End::Cancelled, usage });
        for _ in 0..TRIES_MAX {
            let stored = self.record(id).await?;
            let expected = match &stored {
                Some(stored) => match &stored.record {
                    Record::Settled(settled) => {
                        return Err(Error::Ended { id: id.clone(), state: settled.end.state() });
                    }
                    Record::Retrying { .. } => stored.sequence,
                },
                None if known => 0,
                None => {
                    // An unknown id must not get a record.
                    self.state(id).await?;
                    0
                }
            };
            match records::write(&self.broker, &self.tenant, id, &record, expected).await {
                Ok(()) => {
                    if let Record::Settled(settled) = &record {
                        kept::keep(&self.broker, &self.tenant, id, settled).await;
                    }
                    return self.clean_up(id).await;
                }
                Err(broker::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(broker::Error::Conflict { subject: subject::result(&self.tenant, id) }.into())
    }

    /// Cancels all tasks and runs that have all of `labels` and have not ended, wherever they are.
    ///
    /// # Errors
    /// That no label is given, and what the broker fails with: some may be cancelled then.
    pub async fn cancel_labelled(&self, labels: &BTreeMap<String, String>) -> Result<CancelledAll, Error> {
        if labels.is_empty() {
            return Err(Error::Refused("cancel by label takes at least one label".to_owned()));
        }
        let mut all = CancelledAll::default();
        // A task that moves while it is looked for, as from its queue to its next attempt, is found by the next look.
        for _ in 0..LOOKS_MAX {
            let before = all.tasks;
            let tenant = &self.tenant;
            for place in ["line", "sched", "fire", "task"] {
                let ids = self.labelled(&format!("lvg.{tenant}.{place}.>"), labels).await?;
                let mut cancels = stream::iter(&ids).map(|id| self.cancel(id)).buffer_unordered(CANCELLED_AT_ONCE);
                while let Some(cancelled) = cancels.next().await {
                    match cancelled {
                        Ok(()) => all.tasks = all.tasks.saturating_add(1),
                        Err(Error::Ended { .. } | Error::NotFound(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            if all.tasks == before {
                break;
            }
        }
        let filter = RunFilter { labels: labels.clone(), count_max: usize::MAX, ..RunFilter::default() };
        for entry in self.runs(&filter).await?.iter().filter(|entry| entry.ended.is_none()) {
            match self.cancel_run(&entry.run).await {
                Ok(()) => all.runs = all.runs.saturating_add(1),
                Err(Error::RunEnded { .. } | Error::RunNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// The single tasks on `filter` with all of these labels.
    async fn labelled(&self, filter: &str, labels: &BTreeMap<String, String>) -> Result<Vec<TaskId>, Error> {
        let mut messages = self.broker.streams.read(filter, From::Sequence(1), false).await?;
        let mut ids = Vec::new();
        while let Some(message) = messages.next().await {
            let message = message?;
            // `lvg.<t>.sched.<id>` has the key in its last token, as the others have; a step's key has more tokens.
            let id = match TaskSubject::read(&message.subject) {
                Some(TaskSubject { key: TaskKey::Single(id), .. }) => Some(id),
                Some(_) => None,
                None if let Some((_, task)) = limit::read_line(&message.subject) => match task.key {
                    TaskKey::Single(id) => Some(id),
                    TaskKey::Step(_) => None,
                },
                None => message.subject.split_once(".sched.").and_then(|(_, id)| id.parse().ok()),
            };
            let Ok(task) = TaskMessage::decode(&message.headers, &message.payload) else { continue };
            let own = &task.signature.options.labels;
            if labels.iter().all(|(key, value)| own.get(key) == Some(value)) {
                ids.extend(id);
            }
        }
        Ok(ids)
    }

    /// What is left of a cancelled task. Hosts would drop it anyway: this is tidiness, and stops a guest that runs.
    async fn clean_up(&self, id: &TaskId) -> Result<(), Error> {
        for waiting in [
            limit::line_anywhere(&self.tenant, id),
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
