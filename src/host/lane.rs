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

/// Serves `queue` with `slots` slots until `stop` fires, then waits for what runs, and hands back what runs too long.
pub(super) async fn run(
    shared: Arc<Shared>,
    queue: Queue,
    slots: usize,
    stop: CancellationToken,
) -> Result<(), broker::Error> {
    let consumer = queue_consumer(&shared.config.tenant, &queue, shared.config.lease);
    let begin =
        async { Patience::default().retry("take from the queue", || shared.broker.queues.consume(&consumer)).await };
    let Some(deliveries) = stop.run_until_cancelled(begin).await else { return Ok(()) };
    let mut deliveries = deliveries?;
    info!(%queue, slots, "serving");
    deliveries.allow(slots);
    let tracker = TaskTracker::new();
    let result = serve(&shared, deliveries.as_mut(), slots, &tracker, &stop).await;
    drop(deliveries);
    drain(&shared, &tracker).await;
    result
}

async fn serve(
    shared: &Arc<Shared>,
    deliveries: &mut dyn Deliveries,
    slots: usize,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), broker::Error> {
    let (freed, mut free) = mpsc::channel::<()>(slots);
    let mut patience = Patience::default();
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            Some(()) = free.recv() => {
                let mut count = 1;
                while free.try_recv().is_ok() {
                    count += 1;
                }
                deliveries.allow(count);
                continue;
            }
            next = deliveries.next() => next,
        };
        match next {
            Ok(delivery) => {
                patience = Patience::default();
                tracker.spawn(occupy(Arc::clone(shared), delivery, freed.clone()));
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
