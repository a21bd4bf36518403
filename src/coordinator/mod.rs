//! Advances runs: reads their journals, folds them in the core, and does what follows.
//!
//! | file | what it does |
//! |---|---|
//! | `turn` | whose turn it is: which partitions to take and to give back; pure |
//! | `members` | who lives and who holds what, as one coordinator sees it; pure |
//! | `claim` | the records that coordinators share |
//! | `partition` | one partition: its reading, its checkpoint, its runs |
//! | `checkpoint`, `doorbell` | how far a partition is; how a run is told of a record |
//! | `run` | one run in memory: folds records, does effects in order |
//! | `perform` | effects as publishes |
//! | `listing` | what lists show of a run |
//! | `retention` | removes runs that ended long ago |
//!
//! **Invariant:** two coordinators that work on one partition at once do no harm: every record is written once, and every
//! effect may be repeated. **Invariant:** what a record leads to is decided in [`workflow`](crate::workflow), not here.

mod checkpoint;
mod claim;
mod doorbell;
mod listing;
mod members;
mod partition;
mod perform;
mod retention;
mod run;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::broker::patience::Patience;
use crate::broker::{self, Broker, Error, Message, Publish, Start};
use crate::model::CoordinatorId;
use crate::model::name::PARTITIONS;
use crate::protocol::subject::COORDINATOR_HEARTBEATS;
use crate::store::catalogue::Catalogue;
use crate::store::marks::Marks;
use crate::telemetry::{Metrics, RunMetrics};
use claim::{Beat, Claim, PARTITION_RECORDS, coordinator_of, partition_of};
use members::{BEAT_EVERY, Members, Seen};
use partition::{News, Partition};

pub use retention::Retention;

/// Effects of all runs that are on their way at a time: enough to keep a broker busy, few enough to wait for.
const EFFECTS_AT_ONCE_MAX: usize = 2_048;

/// Runs in memory when nobody says otherwise: some kilobytes each, most of them far less.
pub const RUNS_IN_MEMORY_MAX_DEFAULT: usize = 10_000;

/// How long a heartbeat stays of a coordinator that is gone.
const BEAT_TTL: Duration = Duration::from_secs(30);

/// How long partitions have to end when the coordinator is asked to stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(8);

/// What a coordinator is told once, when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This process among all coordinators.
    pub id: CoordinatorId,
    /// Runs that it keeps in memory: the one that was longest without a record leaves first.
    pub runs_in_memory_max: usize,
    /// How long a run stays in memory without a record.
    pub idle_after: Duration,
    /// How old a run becomes without a watchdog: most are over before.
    pub watchdog_after: Duration,
    /// How long ended runs are kept.
    pub retention: Retention,
}

impl Config {
    /// The configuration of one who says nothing else.
    #[must_use]
    pub fn new(id: CoordinatorId) -> Self {
        Self {
            id,
            runs_in_memory_max: RUNS_IN_MEMORY_MAX_DEFAULT,
            idle_after: Duration::from_secs(60),
            watchdog_after: Duration::from_secs(5),
            retention: Retention::default(),
        }
    }
}

/// What all parts of a coordinator share.
struct Shared {
    config: Config,
    broker: Broker,
    catalogue: Catalogue,
    metrics: RunMetrics,
    effects: Semaphore,
    marks: Marks,
}

/// A partition in our hands.
struct Held {
    stop: CancellationToken,
    reads: bool,
    /// Where the claim stands by which it was taken.
    since: u64,
}

/// A coordinator that sees the others: it takes partitions once it serves.
pub struct Coordinator {
    shared: Arc<Shared>,
    members: Members,
    held: BTreeMap<char, Held>,
    ready: watch::Sender<bool>,
    holds: watch::Sender<BTreeSet<char>>,
    heard: BoxStream<'static, broker::Result<Message>>,
}

impl Coordinator {
    /// Begins to listen to the other coordinators.
    ///
    /// # Errors
    /// What the broker refuses for good; a broker that is away is waited for.
    pub async fn begin(broker: Broker, config: Config, metrics: &Metrics) -> Result<Self, Error> {
        let shared = Shared {
            marks: Marks::default(),
            catalogue: Catalogue::new(broker.clone()),
            broker,
            metrics: metrics.runs.clone(),
            effects: Semaphore::new(EFFECTS_AT_ONCE_MAX),
            config,
        };
        let heard = listen(&shared.broker).await?;
        let members = Members::new(shared.config.id.clone());
        let (ready, holds) = (watch::Sender::new(false), watch::Sender::default());
        Ok(Self { shared: Arc::new(shared), members, held: BTreeMap::new(), ready, holds, heard })
    }

    /// The partitions in its hands: others may share their work in the same way.
    #[must_use]
    pub fn holds(&self) -> watch::Receiver<BTreeSet<char>> {
        self.holds.subscribe()
    }

    /// Whether it has its share of the partitions, and reads them.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Advances runs until `stop` fires; then gives its partitions back, so that another takes them at once.
    ///
    /// # Errors
    /// What the broker refuses for good; a broker that is away is waited for.
    pub async fn serve(mut self, stop: CancellationToken) -> Result<(), Error> {
        // What is in this set ends with it, also if the coordinator is dropped.
        let mut background = JoinSet::new();
        background.spawn(beat(Arc::clone(&self.shared)));
        background.spawn(retention::keep(Arc::clone(&self.shared)));
        let mut partitions = JoinSet::new();
        let (sender, mut news) = mpsc::channel(PARTITIONS.len());
        let mut look = tokio::time::interval(BEAT_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                heard = self.heard.next() => match heard {
                    Some(Ok(message)) => {
                        if !self.hear(&message) {
                            continue;
                        }
                    }
                    Some(Err(error)) => {
                        warn!(%error, "cannot hear the other coordinators, trying again");
                        tokio::time::sleep(BEAT_EVERY).await;
                        self.heard = listen(&self.shared.broker).await?;
                    }
                    None => self.heard = listen(&self.shared.broker).await?,
                },
                Some((partition, news)) = news.recv() => self.note(partition, news),
                Some(_) = partitions.join_next(), if !partitions.is_empty() => {}
                _ = look.tick() => {}
            }
            self.act(&mut partitions, &sender).await;
            self.tell_holds();
        }
        self.holds.send_replace(BTreeSet::new());
        self.stop(&mut partitions, &mut news).await;
        background.shutdown().await;
        Ok(())
    }

    /// Takes a heartbeat or the record of a partition; says whether it may change what is to be done.
    fn hear(&mut self, message: &Message) -> bool {
        if let Some(partition) = partition_of(&message.subject) {
            match Claim::decode(&message.payload) {
                Ok(claim) => {
                    let free = claim.holder.is_none();
                    self.give_up(partition, &claim, message.sequence);
                    self.members.claimed(partition, Seen { claim, sequence: message.sequence });
                    return free;
                }
                Err(error) => warn!(%partition, %error, "cannot read who holds a partition"),
            }
        } else if let Some(id) = coordinator_of(&message.subject) {
            match Beat::decode(&message.payload) {
                Ok(beat) => {
                    self.members.heard(id, &beat, message.time);
                    return true;
                }
                Err(error) => warn!(%id, %error, "cannot read a heartbeat"),
            }
        }
        false
    }

    /// Ends the work on a partition that another has claimed after us. Without records its checkpoint would stand still, so that
    /// nothing of ours would be refused, and we would never take another in its place.
    fn give_up(&self, partition: char, claim: &Claim, sequence: u64) {
        let Some(held) = self.held.get(&partition).filter(|held| held.since < sequence) else { return };
        if claim.holder.as_ref().is_some_and(|holder| *holder != self.shared.config.id) {
            held.stop.cancel();
        }
    }

    fn note(&mut self, partition: char, news: News) {
        match news {
            News::Reads => {
                if let Some(held) = self.held.get_mut(&partition) {
                    held.reads = true;
                }
            }
            News::Ended(ended) => {
                self.held.remove(&partition);
                debug!(%partition, ?ended, "the work on a partition has ended");
            }
        }
    }

    fn tell_holds(&self) {
        let holds: BTreeSet<char> = self.held.keys().copied().collect();
        self.holds.send_if_modified(|told| {
            let changed = *told != holds;
            *told = holds;
            changed
        });
    }

    /// Takes and gives back what the view says.
    async fn act(&mut self, partitions: &mut JoinSet<()>, news: &mpsc::Sender<(char, News)>) {
        let working = self.held.keys().copied().collect();
        let Some(turn) = self.members.turn(&working) else { return };
        for partition in &turn.release {
            if let Some(held) = self.held.get(partition) {
                held.stop.cancel();
            }
        }
        let takes = futures::future::join_all(turn.take.iter().map(|partition| {
            let seen = self.members.partition(*partition).cloned();
            take(Arc::clone(&self.shared), *partition, seen)
        }))
        .await;
        let taken: Vec<_> = takes.into_iter().flatten().collect();
        if !taken.is_empty() {
            let partitions: String = taken.iter().map(|(partition, ..)| *partition).collect();
            info!(partitions, "took partitions");
        }
        for (partition, since, work) in taken {
            let stop = CancellationToken::new();
            self.held.insert(partition, Held { stop: stop.clone(), reads: false, since });
            partitions.spawn(work.serve(stop, news.clone()));
        }
        if turn.take.is_empty() && turn.release.is_empty() && self.held.values().all(|held| held.reads) {
            self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
    }

    /// Gives all partitions back.
    async fn stop(mut self, partitions: &mut JoinSet<()>, news: &mut mpsc::Receiver<(char, News)>) {
        for held in self.held.values() {
            held.stop.cancel();
        }
        let leave = async {
            let leaves = Publish {
                ttl: Some(BEAT_TTL),
                ..Publish::new(Beat::subject(&self.shared.config.id), Beat::new(u64::MAX, true).encode())
            };
            drop(self.shared.broker.streams.publish(leaves).await);
            while !self.held.is_empty() {
                let Some((partition, News::Ended(_))) = news.recv().await else { continue };
                self.held.remove(&partition);
            }
        };
        if tokio::time::timeout(STOP_TIME_MAX, leave).await.is_err() {
            warn!("stopped while partitions were at work");
        }
        partitions.shutdown().await;
    }
}

/// Claims a partition; `None` if another was faster, or the broker is away.
async fn take(shared: Arc<Shared>, partition: char, seen: Option<Seen>) -> Option<(char, u64, Partition)> {
    let (checkpoint, sequence) = seen.as_ref().map_or((0, 0), |seen| (seen.claim.checkpoint, seen.sequence));
    let before = seen.and_then(|seen| seen.claim.holder);
    let claim = Claim::new(Some(shared.config.id.clone()), checkpoint);
    let publish = Publish { expect: Some(sequence), ..Publish::new(Claim::subject(partition), claim.encode()) };
    match shared.broker.streams.publish(publish).await {
        Ok(stored) => {
            debug!(%partition, before = before.as_ref().map(tracing::field::display), checkpoint, "took a partition");
            shared.metrics.taken.inc();
            Some((partition, stored.sequence, Partition::new(shared, partition, stored.sequence, checkpoint)))
        }
        Err(error) => {
            debug!(%partition, %error, "did not get a partition");
            None
        }
    }
}

/// What the coordinators tell one another.
async fn listen(broker: &Broker) -> Result<BoxStream<'static, broker::Result<Message>>, Error> {
    let read = |filter: &'static str| {
        let read = move || broker.streams.read(filter, Start::LastPerSubject, true);
        async move { Patience::default().retry("listen to the other coordinators", read).await }
    };
    let (partitions, beats) = futures::try_join!(read(PARTITION_RECORDS), read(COORDINATOR_HEARTBEATS))?;
    Ok(futures::stream::select(partitions, beats).boxed())
}

/// Says again and again that we live.
async fn beat(shared: Arc<Shared>) {
    let mut pace = tokio::time::interval(BEAT_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0_u64;
    loop {
        pace.tick().await;
        number = number.saturating_add(1);
        let publish = Publish {
            ttl: Some(BEAT_TTL),
            ..Publish::new(Beat::subject(&shared.config.id), Beat::new(number, false).encode())
        };
        if let Err(error) = shared.broker.streams.publish(publish).await {
            debug!(%error, "a heartbeat was not sent");
        }
    }
}
