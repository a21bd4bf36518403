//! A host: takes tasks from queues, runs them in the sandbox, and commits what they end with.
//!
//! | file | what it does |
//! |---|---|
//! | `lane` | one queue: slots, deliveries, drain |
//! | `bands` | what of a queue is not plain: other priorities, and tasks that require labels |
//! | `rules` | which queues are paused, what they require, and what marks on tasks mean |
//! | `attempt` | one delivery, from its message to its acknowledgement |
//! | `gate` | limits across the fleet: whether a delivery may start, or is parked |
//! | `commit` | compare-and-set of a task's record, and the schedule of the next attempt |
//! | `step` | one delivery of a step's attempt, whose outcome goes into the journal of its run |
//! | `catalogue` | which versions of which modules there are, and their bytes |
//! | `loading` | modules that are fetched and compiled now, and how many tasks wait for them |
//! | `running` | what runs here: found, cancelled and handed back by id |
//! | `resources` | what stands behind the grants of guests: buckets and secrets of their tenant |
//! | `announce` | heartbeats, and answers to words of the operator and of NATS's tools |
//! | `leaving` | how a host stops: until when what runs may go on |
//! | `stats` | what was done since it began |
//! | `notes` | guests' log lines and progress, on their way to the broker |
//!
//! **Invariant:** a slot is taken before a message is. **Invariant:** nothing is acknowledged before its record is stored.
//! **Invariant:** what a task's end is, is decided in [`lifecycle`](crate::model::lifecycle) and, for a step's attempt, in
//! [`step_life`](crate::model::step_life), not here. A host knows no workflow.

mod announce;
mod attempt;
mod bands;
mod catalogue;
mod commit;
mod gate;
mod lane;
mod leaving;
mod loading;
mod notes;
mod resources;
mod rules;
mod running;
mod stats;
mod step;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use resources::resources;

use crate::broker::{self, Broker, Consumer};
use crate::model::grants::Allow;
use crate::model::{HostId, Labels, Limits, Queue, Tenant, Timestamp};
use crate::protocol::subject::Band;
use crate::sandbox::{Resources, Sandbox};
use crate::store::limits::Desks;
use crate::store::queues;
use crate::store::secrets::SealingKey;
use crate::telemetry::Metrics;

/// The lease of a delivery: long enough for a broker's failover (7.5 s seen), short enough to run elsewhere within 30 s.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(20);

/// The shortest lease: below it a busy machine's own pauses would look like its death.
pub const LEASE_MIN: Duration = Duration::from_secs(1);

/// How long running tasks may go on when a host is asked to stop; then they are handed back.
pub const DRAIN_DEFAULT: Duration = Duration::from_secs(30);

/// What a host is told once, when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose tasks it runs.
    pub tenant: Tenant,
    /// This process among all hosts.
    pub id: HostId,
    /// The machine that it runs on, for people.
    pub name: String,
    /// The queues that it serves, and how many parts of the slots each of them has.
    pub queues: Vec<(Queue, u32)>,
    /// Its labels, which queues and tasks may require.
    pub labels: Labels,
    /// Tasks that it runs at a time.
    pub concurrency: usize,
    /// How long a delivery is its own without a heartbeat.
    pub lease: Duration,
    /// What no task may exceed, whatever it asks for.
    pub ceiling: Limits,
    /// What guests may be granted here.
    pub allow: Allow,
    /// What secrets are opened with; without it there are none.
    pub secrets_key: Option<SealingKey>,
    /// How long running tasks may go on when it is asked to stop.
    pub drain: Duration,
}

impl Config {
    /// A host of `tenant` that serves the default queue.
    #[must_use]
    pub fn new(tenant: Tenant, id: HostId, concurrency: usize) -> Self {
        Self {
            tenant,
            id,
            name: String::new(),
            queues: vec![(Queue::default_queue(), 1)],
            labels: Labels::new(),
            concurrency,
            lease: LEASE_DEFAULT,
            ceiling: ceiling_default(),
            allow: Allow::default(),
            secrets_key: None,
            drain: DRAIN_DEFAULT,
        }
    }

    /// The queues with their slots.
    fn slots(&self) -> impl Iterator<Item = (&Queue, usize)> {
        let weights: Vec<u32> = self.queues.iter().map(|(_, weight)| *weight).collect();
        self.queues.iter().map(|(queue, _)| queue).zip(shares(self.concurrency, &weights))
    }
}

/// What an operator allows when he says nothing: an hour, a gigabyte, no bound on fuel below the deadline's.
#[must_use]
pub fn ceiling_default() -> Limits {
    Limits { fuel: None, memory_bytes: 1 << 30, attempt_timeout: Duration::from_secs(3600), ..Limits::default() }
}

/// The consumer of the plain tasks of a queue: one for all hosts that serve it.
#[must_use]
pub fn queue_consumer(tenant: &Tenant, queue: &Queue, lease: Duration) -> Consumer {
    queues::consumer(tenant, queue, &Band::PLAIN, lease)
}

/// What all parts of a host share.
struct Shared {
    config: Config,
    broker: Broker,
    sandbox: Sandbox,
    catalogue: catalogue::Catalogue,
    loading: loading::Loading,
    resources: Arc<dyn Resources>,
    running: running::Running,
    rules: rules::Rules,
    desks: Desks,
    metrics: Metrics,
    stats: stats::Stats,
    started: Timestamp,
    leaving: leaving::Leaving,
    /// Fires when running tasks are to be handed back.
    hand_back: CancellationToken,
}

/// A host whose consumers stand: it takes tasks once it serves.
pub struct Host {
    shared: Arc<Shared>,
    lanes: Vec<lane::Lane>,
}

impl Host {
    /// Prepares a host: when this returns, tasks that are queued now will be taken by [`serve`](Self::serve).
    ///
    /// # Errors
    /// What the broker refuses for good; a broker that is away is waited for.
    pub async fn begin(
        broker: Broker,
        sandbox: Sandbox,
        config: Config,
        metrics: Metrics,
    ) -> Result<Self, broker::Error> {
        let shared = Arc::new(Shared {
            catalogue: catalogue::Catalogue::new(
                broker.clone(),
                sandbox.clone(),
                config.tenant.clone(),
                config.allow.clone(),
            ),
            loading: loading::Loading::new(config.queues.iter().map(|(queue, _)| queue)),
            resources: resources(broker.clone(), config.tenant.clone(), config.secrets_key.clone()),
            running: running::Running::default(),
            rules: rules::Rules::begin(broker.clone(), config.tenant.clone(), config.labels.clone()).await?,
            desks: Desks::new(broker.clone(), config.tenant.clone()),
            hand_back: CancellationToken::new(),
            stats: stats::Stats::new(config.queues.iter().map(|(queue, _)| queue)),
            started: broker.clock.now(),
            leaving: leaving::Leaving::new(),
            config,
            broker,
            sandbox,
            metrics,
        });
        let mut lanes = Vec::new();
        for (queue, slots) in shared.config.slots() {
            lanes.push(lane::Lane::begin(Arc::clone(&shared), queue.clone(), slots).await?);
        }
        Ok(Self { shared, lanes })
    }

    /// Takes and runs tasks until `stop` fires or its operator drains it, and what runs has ended, or was handed back.
    ///
    /// # Errors
    /// What the broker refuses for good; a broker that is away is waited for.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), broker::Error> {
        // What is in this set ends with it, also if the host is dropped.
        let mut background = JoinSet::new();
        for listener in Listener::ALL {
            let shared = Arc::clone(&self.shared);
            background.spawn(async move { listener.run(&shared).await });
        }
        let shared = Arc::clone(&self.shared);
        background.spawn(async move {
            stop.cancelled().await;
            shared.leaving.begin(shared.config.drain);
        });
        let lanes = self.lanes.into_iter().map(|lane| lane.serve(self.shared.leaving.begun().clone()));
        let outcome = futures::future::try_join_all(lanes).await.map(drop);
        background.shutdown().await;
        announce::farewell(&self.shared).await;
        outcome
    }
}

/// What goes on beside the lanes for as long as the host runs.
#[derive(Clone, Copy)]
enum Listener {
    Control,
    Catalogue,
    Rules,
    Beat,
    Answer,
}

impl Listener {
    const ALL: [Self; 5] = [Self::Control, Self::Catalogue, Self::Rules, Self::Beat, Self::Answer];

    async fn run(self, shared: &Shared) {
        match self {
            Self::Control => running::listen(shared).await,
            Self::Catalogue => shared.catalogue.follow().await,
            Self::Rules => shared.rules.follow().await,
            Self::Beat => announce::beat(shared).await,
            Self::Answer => announce::answer(shared).await,
        }
    }
}

/// The slots of each queue, by its weight: what cannot be divided goes to the first ones, and each has at least one.
fn shares(slots: usize, weights: &[u32]) -> Vec<usize> {
    let weights = weights.iter().map(|weight| u64::from(*weight));
    let total = weights.clone().sum::<u64>().max(1);
    // Up to each queue, all before it together have their share, rounded up.
    let up_to = |parts: u64| (slots as u64).saturating_mul(parts).div_ceil(total);
    let sums = weights.scan(0_u64, |sum, weight| {
        let before = *sum;
        *sum = sum.saturating_add(weight);
        Some((before, *sum))
    });
    let share = |(before, after)| usize::try_from(up_to(after).saturating_sub(up_to(before))).unwrap_or(slots);
    sums.map(share).map(|slots| slots.max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_share_is_less_than_one_slot_from_its_part(slots in 1..500_usize, weights in proptest::collection::vec(1..=1_000_u32, 1..8)) {
            let shares = shares(slots, &weights);
            let total: usize = weights.iter().map(|weight| *weight as usize).sum();
            for (share, weight) in shares.iter().zip(&weights) {
                let distance = (share * total).abs_diff(slots * *weight as usize);
                prop_assert!(*share == 1 || distance < total, "{:?} of {} by {:?}", shares, slots, weights);
            }
            let least = shares.iter().filter(|share| **share == 1).count();
            let sum: usize = shares.iter().sum();
            prop_assert!((slots..=slots + least).contains(&sum), "{:?} of {}", shares, slots);
        }
    }

    #[test]
    fn slots_are_shared_by_weight_and_nobody_starves() {
        for (slots, weights, expected) in [
            (8, &[1, 1, 1][..], &[3, 3, 2][..]),
            (8, &[1], &[8]),
            (1, &[1, 1], &[1, 1]),
            (16, &[3, 1], &[12, 4]),
            (4, &[100, 1], &[4, 1]),
            (10, &[1, 2, 2], &[2, 4, 4]),
            (3, &[], &[]),
        ] {
            assert_eq!(shares(slots, weights), expected, "{slots} {weights:?}");
        }
    }
}
