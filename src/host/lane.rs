//! One queue of a host: takes as many deliveries as it has free slots, and drains when it is asked to stop.

use std::sync::Arc;

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
    deliveries: Box<dyn Deliveries>,
    slots: usize,
}

impl Lane {
    /// Stands ready to take tasks of `queue` into `slots` slots.
    pub(super) async fn begin(shared: Arc<Shared>, queue: Queue, slots: usize) -> Result<Self, broker::Error> {
        let consumer = queue_consumer(&shared.config.tenant, &queue, shared.config.lease);
        let consume = || shared.broker.queues.consume(&consumer);
        let deliveries = Patience::default().retry("take from the queue", consume).await?;
        info!(%queue, slots, "serving");
        Ok(Self { shared, deliveries, slots })
    }

    /// Takes tasks until `stop` fires, then waits for what runs, and hands back what runs too long.
    pub(super) async fn serve(mut self, stop: CancellationToken) -> Result<(), broker::Error> {
        // Tasks end with this set, also if the lane is dropped.
        let mut running = JoinSet::new();
        let result = self.take(&mut running, &stop).await;
        self.deliveries.close().await;
        drain(&self.shared, &mut running).await;
        result
    }

    async fn take(&mut self, running: &mut JoinSet<()>, stop: &CancellationToken) -> Result<(), broker::Error> {
        let mut patience = Patience::default();
        self.deliveries.allow(self.slots);
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ended) = running.join_next() => {
                    self.deliveries.allow(1 + reap(ended, running));
                    continue;
                }
                next = self.deliveries.next() => next,
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
                        () = stop.cancelled() => return Ok(()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
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
    let _counted = shared.metrics.count_running();
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
    if tokio::time::timeout(shared.config.drain, all).await.is_err() {
        warn!(running = running.len(), "handing back what still runs");
        shared.hand_back.cancel();
        while running.join_next().await.is_some() {}
    }
}
