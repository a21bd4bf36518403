//! One partition in this coordinator's hands: reads its records in order and rings the bells of their runs.
//!
//! **Invariant:** whoever holds the partition's record reads; whoever finds it changed stops at once.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use lru::LruCache;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Shared;
use super::checkpoint::Checkpoint;
use super::claim::Claim;
use super::doorbell::{Bell, doorbell};
use super::run::Actor;
use crate::broker::patience::Patience;
use crate::broker::{Error, Message, Publish, Start};
use crate::model::name::PARTITIONS;
use crate::model::{RunId, Tenant};
use crate::protocol::subject;
use crate::workflow::wire;

/// How often the checkpoint is written: what is after it is looked at again by whoever takes over.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Records of a partition in work: beyond them the reading waits.
const IN_WORK_MAX: usize = 50_000;

/// How long runs have to finish what they are at when the partition is given back.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(3);

/// Runs of a partition that are in memory.
type Runs = LruCache<(Tenant, RunId), Bell>;

/// How the work on a partition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was given back.
    Released,
    /// Another coordinator has taken it.
    Lost,
}

/// Word from a partition.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// It is read.
    Reads,
    /// The work on it has ended.
    Ended(Ended),
}

/// A partition that was taken.
pub(super) struct Partition {
    shared: Arc<Shared>,
    partition: char,
    checkpoint: Checkpoint,
    /// Where our claim stands.
    claim: u64,
    saved: u64,
    /// The last record before we took it: what is up to it may have been acted upon.
    head: u64,
    runs: Runs,
    actors: JoinSet<()>,
}

impl Partition {
    /// Work on a partition whose claim we wrote at sequence `claim`, after the record `checkpoint`.
    pub(super) fn new(shared: Arc<Shared>, partition: char, claim: u64, checkpoint: u64) -> Self {
        let runs_max = (shared.config.runs_in_memory_max / PARTITIONS.len()).max(1);
        let runs = LruCache::new(NonZeroUsize::new(runs_max).unwrap_or(NonZeroUsize::MIN));
        Self {
            shared,
            partition,
            checkpoint: Checkpoint::at(checkpoint),
            claim,
            saved: checkpoint,
            head: checkpoint,
            runs,
            actors: JoinSet::new(),
        }
    }

    /// Works until `stop` fires or the partition is lost.
    pub(super) async fn serve(mut self, stop: CancellationToken, news: mpsc::Sender<(char, News)>) {
        let Some(reading) = stop.run_until_cancelled(self.begin()).await else {
            let ended = self.give_back().await;
            return self.tell(&news, News::Ended(ended)).await;
        };
        self.tell(&news, News::Reads).await;
        let ended = match self.read(reading, &stop).await {
            Ended::Released => self.give_back().await,
            Ended::Lost => Ended::Lost,
        };
        // What runs of a lost partition are at does no harm, and is dropped with them.
        self.tell(&news, News::Ended(ended)).await;
    }

    /// A coordinator that is gone hears nothing.
    async fn tell(&self, news: &mpsc::Sender<(char, News)>, word: News) {
        let _gone = news.send((self.partition, word)).await;
    }

    async fn begin(&mut self) -> BoxStream<'static, Result<Message, Error>> {
        let filter = subject::partition_records(self.partition);
        let last = || self.shared.broker.streams.last(&filter);
        if let Ok(Some(last)) = Patience::default().insist("find the end of a partition", last).await {
            self.head = self.head.max(last.sequence);
        }
        self.open(self.saved).await
    }

    async fn open(&self, after: u64) -> BoxStream<'static, Result<Message, Error>> {
        let filter = subject::partition_records(self.partition);
        let mut patience = Patience::default();
        loop {
            match self.shared.broker.streams.read(&filter, Start::Sequence(after.saturating_add(1)), true).await {
                Ok(reading) => return reading,
                Err(error) => {
                    warn!(partition = %self.partition, %error, "failed to read a partition, trying again");
                    patience.wait().await;
                }
            }
        }
    }

    async fn read(
        &mut self,
        mut reading: BoxStream<'static, Result<Message, Error>>,
        stop: &CancellationToken,
    ) -> Ended {
        let mut save = tokio::time::interval_at(Instant::now() + SAVE_EVERY, SAVE_EVERY);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read = self.saved;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ended::Released,
                _ = save.tick() => {
                    if self.save(true).await == Some(Ended::Lost) {
                        return Ended::Lost;
                    }
                }
                Some(_) = self.actors.join_next(), if !self.actors.is_empty() => {}
                next = reading.next(), if self.checkpoint.open() < IN_WORK_MAX => match next {
                    Some(Ok(record)) => {
                        read = record.sequence;
                        self.ring(record);
                    }
                    Some(Err(error)) => {
                        warn!(partition = %self.partition, %error, "a reading broke off, beginning anew");
                        tokio::time::sleep(SAVE_EVERY).await;
                        reading = self.open(read).await;
                    }
                    None => reading = self.open(read).await,
                },
            }
        }
    }

    /// Tells the run of a record.
    fn ring(&mut self, record: Message) {
        let sequence = record.sequence;
        self.checkpoint.begin(sequence);
        let Some((tenant, run, _)) = wire::place(&record.subject) else {
            debug!(subject = record.subject, "dropped a record that names no run");
            self.shared.metrics.stray.inc();
            return self.checkpoint.done([sequence]);
        };
        let key = (tenant, run);
        let record = match self.runs.get(&key) {
            Some(bell) => match bell.ring(record) {
                Ok(()) => return,
                Err(record) => record,
            },
            None => record,
        };
        let (bell, door) = doorbell();
        // The door is open and empty.
        drop(bell.ring(record));
        let (tenant, run) = key.clone();
        let actor = Actor::new(Arc::clone(&self.shared), self.checkpoint.clone(), tenant, run, self.head);
        self.actors.spawn(actor.live(door));
        // The run that was longest without a record leaves memory: its bell is dropped.
        self.runs.push(key, bell);
    }

    /// Writes the checkpoint if it has moved; a claim that is not ours any more is lost.
    async fn save(&mut self, keep: bool) -> Option<Ended> {
        let reached = self.checkpoint.reached();
        if reached == self.saved && keep {
            return None;
        }
        let holder = keep.then(|| self.shared.config.id.clone());
        let publish = Publish {
            expect: Some(self.claim),
            ..Publish::new(Claim::subject(self.partition), Claim::new(holder, reached).encode())
        };
        match self.shared.broker.streams.publish(publish).await {
            Ok(stored) => {
                (self.claim, self.saved) = (stored.sequence, reached);
                None
            }
            Err(Error::Conflict { subject }) => self.who_holds(&subject).await,
            Err(error) => {
                debug!(partition = %self.partition, %error, "failed to save a checkpoint");
                None
            }
        }
    }

    /// The claim was replaced: by ourselves, when an acknowledgement was lost, or by another.
    async fn who_holds(&mut self, subject: &str) -> Option<Ended> {
        let there = self.shared.broker.streams.last(subject).await.ok()??;
        let claim = Claim::decode(&there.payload).ok();
        if claim.is_some_and(|claim| claim.holder.as_ref() == Some(&self.shared.config.id)) {
            self.claim = there.sequence;
            return None;
        }
        info!(partition = %self.partition, "another coordinator has taken the partition");
        Some(Ended::Lost)
    }

    /// Lets the runs finish what they are at, and gives the partition back with the checkpoint that was reached.
    async fn give_back(&mut self) -> Ended {
        self.runs.clear();
        let finish = async { while self.actors.join_next().await.is_some() {} };
        if tokio::time::timeout(RELEASE_TIME_MAX, finish).await.is_err() {
            warn!(partition = %self.partition, "gave a partition back while runs were at work");
        }
        self.actors.shutdown().await;
        self.save(false).await.unwrap_or(Ended::Released)
    }
}
