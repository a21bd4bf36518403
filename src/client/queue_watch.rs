//! Looks at queues now and then, for the metrics that scale hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Client, QueueView};
use crate::model::Queue;
use crate::model::scaling::hosts_wanted;
use crate::telemetry::QueueMetrics;

/// How often queues are looked at: about as often as metrics are scraped.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// Keeps the metrics of a tenant's queues true until `stop` fires.
pub async fn watch_queues(client: &Client, metrics: &QueueMetrics, stop: &CancellationToken) {
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
                    let load = view.load(earlier.map_or(0.0, |earlier| rate(&view, earlier, now)));
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

/// Tasks that were taken in a second since an earlier look.
fn rate(view: &QueueView, (delivered, at): (u64, Instant), now: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of tasks, of which three digits matter")]
    let taken = view.delivered.saturating_sub(delivered) as f64;
    taken / now.duration_since(at).as_secs_f64().max(0.001)
}

impl Client {
    /// A queue, and how many hosts it wants, by two looks with `between` them.
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub async fn queue_with_signal(
        &self,
        queue: &Queue,
        between: Duration,
    ) -> Result<(QueueView, f64, u64), super::Error> {
        let first = self.queue(queue).await?;
        let at = Instant::now();
        tokio::time::sleep(between).await;
        let view = self.queue(queue).await?;
        let rate = rate(&view, (first.delivered, at), Instant::now());
        let wanted = hosts_wanted(&view.load(rate));
        Ok((view, rate, wanted))
    }
}
