//! One queue of a host: takes as many deliveries as it has free slots, and drains when it is asked to stop.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
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
        let tracker = TaskTracker::new();
        let result = self.take(&tracker, &stop).await;
        drop(self.deliveries);
        drain(&self.shared, &tracker).await;
        result
    }

    async fn take(&mut self, tracker: &TaskTracker, stop: &CancellationToken) -> Result<(), broker::Error> {
        let (freed, mut free) = mpsc::channel::<()>(self.slots);
        let mut patience = Patience::default();
        self.deliveries.allow(self.slots);
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(()) = free.recv() => {
                    let mut count = 1;
                    while free.try_recv().is_ok() {
                        count += 1;
                    }
                    self.deliveries.allow(count);
                    continue;
                }
                next = self.deliveries.next() => next,
            };
            match next {
                Ok(delivery) => {
                    patience = Patience::default();
                    tracker.spawn(occupy(Arc::clone(&self.shared), delivery, freed.clone()));
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

/// Handles one delivery in its slot, and frees the slot whatever happens.
async fn occupy(shared: Arc<Shared>, delivery: Delivery, freed: mpsc::Sender<()>) {
    shared.metrics.running.inc();
    attempt::handle(&shared, delivery).await;
    shared.metrics.running.dec();
    // The lane is gone when the host drains: nobody waits for the slot then.
    let _ = freed.send(()).await;
}

async fn drain(shared: &Shared, tracker: &TaskTracker) {
    tracker.close();
    if !tracker.is_empty() {
        info!(running = tracker.len(), "draining");
    }
    if tokio::time::timeout(shared.config.drain, tracker.wait()).await.is_err() {
        warn!(running = tracker.len(), "handing back what still runs");
        shared.hand_back.cancel();
        tracker.wait().await;
    }
}
