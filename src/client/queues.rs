//! Queues: what waits in them, and what operators decide of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};

use super::{Client, Error, NOTE_LEN_MAX};
use crate::broker::{self, Message, Publish, Start as From};
use crate::model::schedule::Paused;
use crate::model::{Queue, TaskId, TaskKey};
use crate::protocol::queue::{QueueRecord, RECORD_VERSION, all, of_consumer, subject};
use crate::protocol::subject::{TaskSubject, queue_tasks};
use crate::protocol::{Stream, limit};

/// How often a change is tried again when others change the queue at the same time.
const TRIES_MAX: u32 = 16;

/// Tasks that are cancelled at a time.
const CANCELLED_AT_ONCE: usize = 64;

/// A queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// The queue.
    pub queue: Queue,
    /// Tasks that wait for a host.
    pub waiting: u64,
    /// Tasks that hosts have.
    pub running: u64,
    /// How long the oldest of all of them has been in the queue.
    pub oldest: Option<Duration>,
    /// Whether it is paused.
    pub paused: Option<Paused>,
    /// Whether a host has ever served it.
    pub served: bool,
}

/// What became of a purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Attempts of steps, which belong to runs and were left.
    pub steps: u64,
}

impl Client {
    /// All queues that a host has served, or of which something was decided, by name.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn queues(&self) -> Result<Vec<QueueView>, Error> {
        let stream = Stream::Task(self.tenant.clone());
        let backlogs = self.broker.queues.backlogs(&stream).await?;
        let mut of_queue = BTreeMap::new();
        for (name, backlog) in backlogs {
            if let Some(queue) = of_consumer(&name) {
                of_queue.insert(queue, backlog);
            }
        }
        let records = self.broker.streams.read(&all(&self.tenant), From::LastPerSubject, false).await?;
        let read = |message: Message| async move { Ok(QueueRecord::decode(&message.payload).ok()) };
        let records: Vec<QueueRecord> = records.try_filter_map(read).try_collect().await?;
        let mut paused: BTreeMap<Queue, Option<Paused>> =
            records.into_iter().map(|record| (record.queue, record.paused)).collect();
        let names: BTreeSet<Queue> = of_queue.keys().chain(paused.keys()).cloned().collect();
        let mut views = Vec::new();
        for queue in names {
            let backlog = of_queue.get(&queue);
            views.push(QueueView {
                waiting: backlog.map_or(0, |backlog| backlog.waiting),
                running: backlog.map_or(0, |backlog| backlog.out),
                oldest: self.oldest(&queue).await?,
                paused: paused.remove(&queue).flatten(),
                served: backlog.is_some(),
                queue,
            });
        }
        Ok(views)
    }

    /// A queue.
    ///
    /// # Errors
    /// That no host has ever served it and nothing waits in it, and what the broker fails with.
    pub async fn queue(&self, queue: &Queue) -> Result<QueueView, Error> {
        if let Some(view) = self.queues().await?.into_iter().find(|view| view.queue == *queue) {
            return Ok(view);
        }
        let oldest = self.oldest(queue).await?;
        if oldest.is_none() {
            return Err(Error::QueueNotFound(queue.clone()));
        }
        // Nobody hands these out, so that all of them wait.
        let tasks = self.broker.streams.read(&queue_tasks(&self.tenant, queue), From::Sequence(1), false).await?;
        let waiting = tasks.try_fold(0, |count: u64, _| async move { Ok(count.saturating_add(1)) }).await?;
        Ok(QueueView { queue: queue.clone(), waiting, running: 0, oldest, paused: None, served: false })
    }

    async fn oldest(&self, queue: &Queue) -> Result<Option<Duration>, Error> {
        let mut tasks = self.broker.streams.read(&queue_tasks(&self.tenant, queue), From::Sequence(1), false).await?;
        let first = tasks.next().await.transpose()?;
        Ok(first.map(|message| self.broker.clock.now().since(message.time)))
    }

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

    pub(super) async fn change_queue(&self, queue: &Queue, change: impl Fn(&mut QueueRecord)) -> Result<(), Error> {
        let subject = subject(&self.tenant, queue);
        for _ in 0..TRIES_MAX {
            let last = self.broker.streams.last(&subject).await?;
            let mut record = match &last {
                Some(message) => QueueRecord::decode(&message.payload)
                    .map_err(|rejection| Error::Unreadable { subject: subject.clone(), rejection })?,
                None => QueueRecord { v: RECORD_VERSION, queue: queue.clone(), paused: None, limit: None },
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
            TaskSubject::read(&message.subject).or_else(|| of_line(&message.subject)).map(|subject| subject.key)
        };
        // Those that wait for a limit first: they may be queued meanwhile, and not the other way round before they were handed out.
        let mut keys = waiting.chain(tasks).map_ok(key).fuse().boxed();
        loop {
            let mut ids: Vec<TaskId> = Vec::new();
            while ids.len() < CANCELLED_AT_ONCE
                && let Some(key) = keys.try_next().await?
            {
                match key {
                    Some(TaskKey::Single(id)) => ids.push(id),
                    Some(TaskKey::Step(_)) => purged.steps = purged.steps.saturating_add(1),
                    None => {}
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
