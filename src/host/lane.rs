//! One queue of a host: takes as many deliveries as it has free slots, none while the queue is paused, and drains when it is
//! asked to stop.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Shared, attempt, queue_consumer};
use crate::broker::patience::Patience;
use crate::broker::{self, Deliveries, Delivery};
use crate::model::Queue;

/// One queue of a host.
pub(super) struct Lane {
    shared: Arc<Shared>,
    queue: Queue,
    /// What stands since the lane began, until it is taken from.
    first: Option<Box<dyn Deliveries>>,
    paused: watch::Receiver<BTreeSet<Queue>>,
    slots: usize,
}

/// Why a lane takes no more.
enum Ended {
    Stopped,
    Paused,
}

impl Lane {
    /// Stands ready to take tasks of `queue` into `slots` slots.
    pub(super) async fn begin(shared: Arc<Shared>, queue: Queue, slots: usize) -> Result<Self, broker::Error> {
        let first = Some(open(&shared, &queue).await?);
        let paused = shared.pauses.subscribe();
        info!(%queue, slots, "serving");
        Ok(Self { shared, queue, first, paused, slots })
    }

    /// Takes tasks until `stop` fires, then waits for what runs, and hands back what runs too long.
    pub(super) async fn serve(mut self, stop: CancellationToken) -> Result<(), broker::Error> {
        // Tasks end with this set, also if the lane is dropped.
        let mut running = JoinSet::new();
        let result = self.take_unless_paused(&mut running, &stop).await;
        drain(&self.shared, &mut running).await;
        result
    }

    async fn take_unless_paused(
        &mut self,
        running: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<(), broker::Error> {
        loop {
            if self.is_paused() {
                info!(queue = %self.queue, "paused");
                if matches!(self.wait(running, stop).await, Ended::Stopped) {
                    return Ok(());
                }
                info!(queue = %self.queue, "resumed");
            }
            let mut deliveries = match self.first.take() {
                Some(first) => first,
                None => match stop.run_until_cancelled(open(&self.shared, &self.queue)).await {
                    Some(opened) => opened?,
                    None => return Ok(()),
                },
            };
            let ended = self.take(deliveries.as_mut(), running, stop).await;
            // What was on its way is handed back.
            deliveries.close().await;
            if let Ended::Stopped = ended? {
                return Ok(());
            }
        }
    }

    fn is_paused(&mut self) -> bool {
        self.paused.borrow_and_update().contains(&self.queue)
    }

    /// Waits until the queue is no longer paused, or the host stops.
    async fn wait(&mut self, running: &mut JoinSet<()>, stop: &CancellationToken) -> Ended {
        if let Some(first) = self.first.take() {
            first.close().await;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ended::Stopped,
                Some(ended) = running.join_next() => drop(reap(ended, running)),
                changed = self.paused.changed() => if changed.is_err() || !self.is_paused() {
                    return Ended::Paused;
                },
            }
        }
    }

    async fn take(
        &mut self,
        deliveries: &mut dyn Deliveries,
        running: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<Ended, broker::Error> {
        let mut patience = Patience::default();
        deliveries.allow(self.slots.saturating_sub(running.len()));
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                Some(ended) = running.join_next() => {
                    deliveries.allow(1 + reap(ended, running));
                    continue;
                }
                Ok(()) = self.paused.changed() => {
                    if self.is_paused() {
                        return Ok(Ended::Paused);
                    }
                    continue;
                }
                next = deliveries.next() => next,
            };
            match next {
                Ok(delivery) => {
                    patience = Patience::default();
                    running.spawn(occupy(Arc::clone(&self.shared), delivery));
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
}

async fn open(shared: &Shared, queue: &Queue) -> Result<Box<dyn Deliveries>, broker::Error> {
    let consumer = queue_consumer(&shared.config.tenant, queue, shared.config.lease);
    let consume = || shared.broker.queues.consume(&consumer);
    Patience::default().retry("take from the queue", consume).await
}

/// Takes note of a task that has ended, and says how many others have too.
fn reap(ended: Result<(), JoinError>, running: &mut JoinSet<()>) -> usize {
    let mut others = 0;
    let mut ended = Some(ended);
    while let Some(result) = ended {
        if let Err(error) = result {
            // Its lease runs out, and another host takes the task up.
            tracing::error!(%error, "handling a task failed");
        }
        ended = running.try_join_next();
        others += usize::from(ended.is_some());
    }
    others
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
