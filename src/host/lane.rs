//! One queue of a host: takes as many deliveries as it has free slots, none while the queue is closed to it, and drains when it
//! is asked to stop.
//!
//! Plain tasks are allowed in advance for all free slots, and come by themselves. While tasks wait that are not plain
//! ([`bands`](super::bands)), and for a while after, slots that come free are given out by turns instead, and what was allowed in
//! advance is recalled where it would have more tasks come than there are slots.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::bands::Bands;
use super::rules::{Closed, Known};
use super::{Shared, attempt, queue_consumer};
use crate::broker::patience::Patience;
use crate::broker::{self, Deliveries, Delivery};
use crate::model::Queue;

/// How long more plain tasks may be allowed than there are slots, and none of them come, before what was allowed is recalled. A
/// task that is not plain came into a slot that was allowed to a plain one: most end within this time, and cost the broker nothing
/// more. What is on its way while the broker is told can be lost until its lease runs out; while they come it is not told.
const SURPLUS_TIME_MAX: Duration = Duration::from_millis(20);

/// One queue of a host.
pub(super) struct Lane {
    shared: Arc<Shared>,
    queue: Queue,
    /// What stands since the lane began, until it is taken from.
    first: Option<Box<dyn Deliveries>>,
    known: watch::Receiver<Known>,
    /// Tasks whose modules are being compiled: they wait without a slot.
    loading: watch::Receiver<usize>,
    slots: usize,
}

/// Why a lane takes no more.
enum Ended {
    Stopped,
    Closed,
}

impl Lane {
    /// Stands ready to take tasks of `queue` into `slots` slots.
    pub(super) async fn begin(shared: Arc<Shared>, queue: Queue, slots: usize) -> Result<Self, broker::Error> {
        let first = Some(open(&shared, &queue).await?);
        let known = shared.rules.subscribe();
        let loading = shared.loading.subscribe(&queue);
        info!(%queue, slots, "serving");
        Ok(Self { shared, queue, first, known, loading, slots })
    }

    /// Takes tasks until `stop` fires, then waits for what runs, and hands back what runs too long.
    pub(super) async fn serve(mut self, stop: CancellationToken) -> Result<(), broker::Error> {
        // Tasks end with this set, also if the lane is dropped.
        let mut running = JoinSet::new();
        let result = self.take_unless_closed(&mut running, &stop).await;
        drain(&self.shared, &mut running).await;
        result
    }

    async fn take_unless_closed(
        &mut self,
        running: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<(), broker::Error> {
        loop {
            if let Some(closed) = self.closed() {
                info!(queue = %self.queue, ?closed, "not taking from the queue");
                if matches!(self.wait(running, stop).await, Ended::Stopped) {
                    return Ok(());
                }
                info!(queue = %self.queue, "taking from the queue again");
            }
            let mut deliveries = match self.first.take() {
                Some(first) => first,
                None => match stop.run_until_cancelled(open(&self.shared, &self.queue)).await {
                    Some(opened) => opened?,
                    None => return Ok(()),
                },
            };
            let marks = self.known.borrow().marks.get(&self.queue).cloned();
            let mut bands = Bands::begin(Arc::clone(&self.shared), self.queue.clone(), marks.as_ref()).await;
            let ended = self.take(deliveries.as_mut(), &mut bands, running, stop).await;
            // What was on its way is handed back.
            bands.close().await;
            deliveries.close().await;
            if let Ended::Stopped = ended? {
                return Ok(());
            }
        }
    }

    fn closed(&mut self) -> Option<Closed> {
        self.known.borrow_and_update().closed.get(&self.queue).copied()
    }

    /// Waits until the queue is no longer closed, or the host stops.
    async fn wait(&mut self, running: &mut JoinSet<()>, stop: &CancellationToken) -> Ended {
        if let Some(first) = self.first.take() {
            first.close().await;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ended::Stopped,
                Some(ended) = running.join_next() => reap(ended, running),
                changed = self.known.changed() => if changed.is_err() || self.closed().is_none() {
                    return Ended::Closed;
                },
            }
        }
    }

    async fn take(
        &mut self,
        deliveries: &mut dyn Deliveries,
        bands: &mut Bands,
        running: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<Ended, broker::Error> {
        let mut patience = Patience::default();
        let mut allowed = Allowed::default();
        loop {
            // As many may wait for their modules as there are slots: more of them hold slots like any other.
            let loading = (*self.loading.borrow_and_update()).min(self.slots);
            let free = self.give_out(deliveries, bands, &mut allowed, running.len().saturating_sub(loading));
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                found = bands.next(free > 0) => {
                    for delivery in found {
                        self.occupy(running, delivery);
                    }
                    continue;
                }
                Some(ended) = running.join_next() => {
                    reap(ended, running);
                    continue;
                }
                Ok(()) = self.known.changed() => {
                    if self.closed().is_some() {
                        return Ok(Ended::Closed);
                    }
                    let marks = self.known.borrow().marks.get(&self.queue).cloned();
                    bands.learn(marks.as_ref()).await;
                    continue;
                }
                Ok(()) = self.loading.changed() => continue,
                next = deliveries.next() => next,
                () = passed(allowed.surplus_until) => {
                    allowed.recall(deliveries);
                    continue;
                }
            };
            match next {
                Ok(delivery) => {
                    patience = Patience::default();
                    allowed.note();
                    self.occupy(running, delivery);
                }
                Err(error) if error.is_transient() => {
                    warn!(%error, "cannot take tasks, trying again");
                    tokio::select! {
                        () = patience.wait() => {}
                        () = stop.cancelled() => return Ok(Ended::Stopped),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Handles a delivery in a slot of its own. What that takes is large, and in a box it is not moved about.
    fn occupy(&self, running: &mut JoinSet<()>, delivery: Delivery) {
        running.spawn(Box::pin(occupy(Arc::clone(&self.shared), delivery)));
    }

    /// Gives out free slots: to bands by turns while some are lively, else to plain tasks. How many are free still.
    fn give_out(
        &self,
        deliveries: &mut dyn Deliveries,
        bands: &mut Bands,
        allowed: &mut Allowed,
        running: usize,
    ) -> usize {
        bands.go(self.slots.saturating_sub(running + bands.asked()), allowed.count > 0);
        let taken = running + bands.asked();
        if bands.is_calm() {
            let more = self.slots.saturating_sub(taken + allowed.count);
            if more > 0 {
                deliveries.allow(more);
                allowed.count += more;
            }
        }
        let surplus = allowed.count > 0 && taken + allowed.count > self.slots;
        allowed.surplus_until =
            surplus.then(|| allowed.surplus_until.unwrap_or_else(|| Instant::now() + SURPLUS_TIME_MAX));
        self.slots.saturating_sub(taken)
    }
}

/// Plain tasks that were allowed and have not come.
#[derive(Default)]
struct Allowed {
    count: usize,
    /// Until when it is borne that they and what runs are more than there are slots.
    surplus_until: Option<Instant>,
}

impl Allowed {
    /// One came.
    fn note(&mut self) {
        self.count = self.count.saturating_sub(1);
        self.surplus_until = None;
    }

    fn recall(&mut self, deliveries: &mut dyn Deliveries) {
        if std::mem::take(&mut self.count) > 0 {
            deliveries.recall();
        }
        self.surplus_until = None;
    }
}

/// Returns when `at` has passed; never where there is none.
async fn passed(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn open(shared: &Shared, queue: &Queue) -> Result<Box<dyn Deliveries>, broker::Error> {
    let consumer = queue_consumer(&shared.config.tenant, queue, shared.config.lease);
    let consume = || shared.broker.queues.consume(&consumer);
    Patience::default().retry("take from the queue", consume).await
}

/// Takes note of a task that has ended, and of others that have too.
fn reap(ended: Result<(), JoinError>, running: &mut JoinSet<()>) {
    let mut ended = Some(ended);
    while let Some(result) = ended {
        if let Err(error) = result {
            // Its lease runs out, and another host takes the task up.
            tracing::error!(%error, "handling a task failed");
        }
        ended = running.try_join_next();
    }
}

/// Handles one delivery in its slot.
async fn occupy(shared: Arc<Shared>, delivery: Delivery) {
    let _counted = (shared.metrics.count_running(), shared.stats.take());
    attempt::handle(&shared, delivery).await;
}

async fn drain(shared: &Shared, running: &mut JoinSet<()>) {
    if !running.is_empty() {
        info!(running = running.len(), "draining");
    }
    let all = async {
        while let Some(ended) = running.join_next().await {
            reap(ended, &mut JoinSet::new());
        }
    };
    let handed_back = tokio::select! {
        () = all => false,
        () = shared.leaving.over() => true,
    };
    if handed_back && !running.is_empty() {
        warn!(running = running.len(), "handing back what still runs");
        shared.hand_back.cancel();
        while running.join_next().await.is_some() {}
    }
}
