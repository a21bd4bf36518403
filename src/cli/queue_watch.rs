//! Looks at queues now and then, for the metrics that scale hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::client::{Client, taken_per_second};
use crate::model::Queue;
use crate::model::scaling::hosts_wanted;
use crate::telemetry::QueueMetrics;

/// How often queues are looked at: about as often as metrics are scraped.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// Keeps the metrics of a tenant's queues true until `stop` fires.
pub(super) async fn watch_queues(client: &Client, metrics: &QueueMetrics, stop: &CancellationToken) {
    let mut before: BTreeMap<Queue, (u64, Instant)> = BTreeMap::new();
    loop {
        match client.queues().await {
            Ok(views) => {
                let now = Instant::now();
                let gone: Vec<Queue> =
                    before.keys().filter(|queue| views.iter().all(|view| view.queue != **queue)).cloned().collect();
                for queue in gone {
                    before.remove(&queue);
                    metrics.forget(&queue);
                }
                for view in views {
                    let earlier = before.insert(view.queue.clone(), (view.delivered, now));
                    let load = view.load(earlier.map_or(0.0, |earlier| taken_per_second(&view, earlier, now)));
                    metrics.set(&view.queue, &load, hosts_wanted(&load));
                }
            }
            Err(error) => debug!(%error, "cannot look at the queues, trying again"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(LOOKED_AT_EVERY)).await.is_none() {
            return;
        }
    }
}
