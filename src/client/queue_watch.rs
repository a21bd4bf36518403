//! How fast a queue is, by two looks at it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Client, Error, QueueView};
use crate::model::Queue;
use crate::model::scaling::hosts_wanted;

impl Client {
    /// A queue, and how many hosts it wants, by two looks with `between` them.
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub async fn queue_with_signal(&self, queue: &Queue, between: Duration) -> Result<(QueueView, f64, u64), Error> {
        let first = self.queue(queue).await?;
        let at = Instant::now();
        tokio::time::sleep(between).await;
        let view = self.queue(queue).await?;
        let rate = taken_per_second(&view, (first.delivered, at), Instant::now());
        let wanted = hosts_wanted(&view.load(rate));
        Ok((view, rate, wanted))
    }
}

/// Tasks that were taken in a second since an earlier look.
#[must_use]
pub fn taken_per_second(view: &QueueView, (delivered, at): (u64, Instant), now: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of tasks, of which three digits matter")]
    let taken = view.delivered.saturating_sub(delivered) as f64;
    taken / now.duration_since(at).as_secs_f64().max(0.001)
}
