//! Queues as people see them: what waits in each and what they wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{Client, Error};
use crate::broker::{Message, Start as From};
use crate::model::scaling::Load;
use crate::model::schedule::Paused;
use crate::model::{Labels, Mark, Queue, requirement};
use crate::protocol::Stream;
use crate::protocol::queue::{Decided, QueueRecord, all, of_consumer};
use crate::protocol::serving::{self, Serving};
use crate::protocol::subject::{Band, Priority, TaskSubject, queue_tasks, tenant_tasks};

/// How long hosts have to say what they serve.
const SERVING_PATIENCE: Duration = Duration::from_millis(250);

/// Hosts whose answers are awaited.
const HOSTS_MAX: usize = 10_000;

/// Subjects that are looked at to find tasks that nobody hands out: twice as many as a tenant's queues hold by default.
const SUBJECTS_SEEN_MAX: usize = 2_000_000;

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
    /// Labels that a host must have to take from it.
    pub requires: Labels,
    /// Whether a host has ever served it.
    pub served: bool,
    /// Its tasks by priority and requirement, first ones first; none where all are plain.
    pub bands: Vec<BandView>,
    /// Tasks that were handed out, those handed out again among them, since it was first served: grows with what is done.
    pub delivered: u64,
    /// The hosts that serve it now, with the slots that they have for it.
    pub hosts: Vec<(Serving, u64)>,
}

/// Tasks of a queue with one priority and one requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BandView {
    /// The priority.
    pub priority: Priority,
    /// Labels that a host must have to take them.
    pub requires: Labels,
    /// Tasks that wait for a host.
    pub waiting: u64,
    /// Tasks that hosts have.
    pub running: u64,
    /// Whether a host that serves the queue now may take them.
    pub served: bool,
}

impl QueueView {
    /// What is seen of it, as the signal for hosts takes it; `rate` is of tasks that were taken in a second.
    #[must_use]
    pub fn load(&self, rate: f64) -> Load {
        Load {
            waiting: self.waiting,
            running: self.running,
            oldest: self.oldest.unwrap_or_default(),
            rate,
            hosts: self.hosts.len() as u64,
            slots: self.hosts.iter().map(|(_, slots)| *slots).sum(),
            paused: self.paused.is_some(),
        }
    }
}

/// Waiting and running.
#[derive(Clone, Copy, Default)]
struct Count {
    waiting: u64,
    running: u64,
    lease: Option<Duration>,
}

/// What is put together to a view.
#[derive(Default)]
struct Parts {
    bands: BTreeMap<Band, Count>,
    served: bool,
    delivered: u64,
    record: Option<QueueRecord>,
    marks: BTreeMap<Mark, Labels>,
}

impl Client {
    /// All queues in which tasks are, which a host has served, or of which something was decided, by name.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn queues(&self) -> Result<Vec<QueueView>, Error> {
        self.queue_views(None).await
    }

    /// A queue.
    ///
    /// # Errors
    /// That no host has ever served it and nothing waits in it, and what the broker fails with.
    pub async fn queue(&self, queue: &Queue) -> Result<QueueView, Error> {
        let found = self.queue_views(Some(queue)).await?.into_iter().find(|view| view.queue == *queue);
        found.ok_or_else(|| Error::QueueNotFound(queue.clone()))
    }

    /// What hosts say that they serve, those that answer in time.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn serving(&self) -> Result<Vec<Serving>, Error> {
        let word = serving::subject(&self.tenant);
        let answers = self.broker.bus.ask(&word, Bytes::new(), SERVING_PATIENCE, HOSTS_MAX).await?;
        Ok(answers.iter().filter_map(|answer| Serving::decode(&answer.payload).ok()).collect())
    }

    async fn queue_views(&self, only: Option<&Queue>) -> Result<Vec<QueueView>, Error> {
        let (parts, serving) = futures::join!(self.queue_parts(only), self.serving());
        let (parts, serving) = (parts?, serving?);
        let mut views = Vec::new();
        for (queue, parts) in parts {
            let oldest = self.oldest(&queue).await?;
            views.push(view(queue, parts, oldest, &serving));
        }
        Ok(views)
    }

    /// The bands of a queue in which tasks are, first ones first, each with the lease of its consumer where it has one.
    pub(super) async fn bands(&self, queue: &Queue) -> Result<Vec<(Band, Option<Duration>)>, Error> {
        let mut parts = self.queue_parts(Some(queue)).await?;
        let bands = parts.remove(queue).map(|parts| parts.bands).unwrap_or_default();
        let occupied = bands.into_iter().filter(|(_, count)| count.waiting > 0 || count.running > 0);
        Ok(occupied.map(|(band, count)| (band, count.lease)).collect())
    }

    async fn queue_parts(&self, only: Option<&Queue>) -> Result<BTreeMap<Queue, Parts>, Error> {
        let wanted = |queue: &Queue| only.is_none_or(|only| only == queue);
        let mut queues: BTreeMap<Queue, Parts> = BTreeMap::new();
        let mut covered = BTreeSet::new();
        let stream = Stream::Task(self.tenant.clone());
        let mut handed_out = 0_u64;
        for (name, backlog) in self.broker.queues.backlogs(&stream).await? {
            handed_out = handed_out.saturating_add(backlog.waiting).saturating_add(backlog.out);
            let Some((queue, band)) = of_consumer(&name).filter(|(queue, _)| wanted(queue)) else { continue };
            covered.insert((queue.clone(), band.clone()));
            let parts = queues.entry(queue).or_default();
            parts.served = true;
            parts.delivered = parts.delivered.saturating_add(backlog.delivered);
            parts
                .bands
                .insert(band, Count { waiting: backlog.waiting, running: backlog.out, lease: Some(backlog.lease) });
        }
        let records = self.broker.streams.read(&all(&self.tenant), From::LastPerSubject, false).await?;
        let read = |message: Message| async move { Ok(Decided::read(&message.subject, &message.payload).ok()) };
        let records: Vec<Decided> = records.try_filter_map(read).try_collect().await?;
        for decided in records {
            match decided {
                Decided::Queue(record) if wanted(&record.queue) => {
                    let queue = record.queue.clone();
                    queues.entry(queue).or_default().record = Some(record);
                }
                Decided::Mark(record) if wanted(&record.queue) => {
                    // A requirement alone makes no queue: its tasks may be long gone.
                    if let Some(mark) = Mark::of(&record.requires) {
                        queues.entry(record.queue).or_default().marks.insert(mark, record.requires);
                    }
                }
                Decided::Queue(_) | Decided::Mark(_) => {}
            }
        }
        // Where consumers have all that there is, nothing else is: to look at a million subjects takes the broker a second.
        if self.broker.queues.stored(&stream).await? > handed_out {
            self.count_unserved(only, &covered, &mut queues).await?;
        }
        queues.retain(|_, parts| parts.served || parts.record.is_some() || !parts.bands.is_empty());
        Ok(queues)
    }

    /// Counts what no consumer hands out: all of it waits.
    async fn count_unserved(
        &self,
        only: Option<&Queue>,
        covered: &BTreeSet<(Queue, Band)>,
        queues: &mut BTreeMap<Queue, Parts>,
    ) -> Result<(), Error> {
        let filter = only.map_or_else(|| tenant_tasks(&self.tenant), |queue| queue_tasks(&self.tenant, queue));
        for subject in self.broker.queues.occupied(&filter, SUBJECTS_SEEN_MAX).await? {
            let Some(task) = TaskSubject::read(&subject) else { continue };
            let band = task.band();
            if !covered.contains(&(task.queue.clone(), band.clone())) {
                let count = queues.entry(task.queue).or_default().bands.entry(band).or_default();
                count.waiting = count.waiting.saturating_add(1);
            }
        }
        Ok(())
    }

    async fn oldest(&self, queue: &Queue) -> Result<Option<Duration>, Error> {
        let mut tasks = self.broker.streams.read(&queue_tasks(&self.tenant, queue), From::Sequence(1), false).await?;
        let first = tasks.next().await.transpose()?;
        Ok(first.map(|message| self.broker.clock.now().since(message.time)))
    }
}

fn view(queue: Queue, parts: Parts, oldest: Option<Duration>, serving: &[Serving]) -> QueueView {
    let Parts { bands, served, delivered, record, marks } = parts;
    let hosts: Vec<(Serving, u64)> =
        serving.iter().filter_map(|host| host.queues.get(&queue).map(|slots| (host.clone(), *slots))).collect();
    let sum = |part: fn(&Count) -> u64| bands.values().map(part).fold(0, u64::saturating_add);
    let (waiting, running) = (sum(|count| count.waiting), sum(|count| count.running));
    let shown = bands.iter().filter(|(_, count)| count.waiting > 0 || count.running > 0);
    let is_plain = shown.clone().all(|(band, _)| *band == Band::PLAIN);
    let shown = shown.map(|(band, count)| {
        let requires = band.mark.as_ref().and_then(|mark| marks.get(mark)).cloned().unwrap_or_default();
        BandView {
            priority: band.priority,
            waiting: count.waiting,
            running: count.running,
            served: hosts.iter().any(|(host, _)| requirement::is_met(&host.labels, &requires)),
            requires,
        }
    });
    QueueView {
        waiting,
        running,
        oldest,
        served,
        delivered,
        bands: if is_plain { Vec::new() } else { shown.collect() },
        hosts,
        paused: record.as_ref().and_then(|record| record.paused.clone()),
        requires: record.map(|record| record.requires).unwrap_or_default(),
        queue,
    }
}
