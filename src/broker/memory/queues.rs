//! Work queues in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Memory, Shared};
use crate::broker::{Backlog, Consumer, Deliveries, Delivery, Lease, Message, Queues, Result};
use crate::protocol::Stream;

#[async_trait]
impl Queues for Memory {
    async fn backlogs(&self, stream: &Stream) -> Result<Vec<(String, Backlog)>> {
        self.0.with(|state, _| state.backlogs(stream))
    }

    async fn consume(&self, consumer: &Consumer) -> Result<Box<dyn Deliveries>> {
        self.0.with(|state, _| state.group(consumer))?;
        Ok(Box::new(Taker { shared: self.0.clone(), consumer: consumer.clone(), allowed: 0 }))
    }
}

/// One taker of a consumer's deliveries.
struct Taker {
    shared: Arc<Shared>,
    consumer: Consumer,
    allowed: usize,
}

#[async_trait]
impl Deliveries for Taker {
    fn allow(&mut self, count: usize) {
        self.allowed = self.allowed.saturating_add(count);
    }

    async fn next(&mut self) -> Result<Delivery> {
        let Self { shared, consumer, allowed } = self;
        if *allowed == 0 {
            return std::future::pending().await;
        }
        let taken = shared.wait(|state, now| state.take(consumer, now)).await;
        *allowed -= 1;
        let held = Held {
            shared: shared.clone(),
            consumer: consumer.clone(),
            message: taken.message.clone(),
            count: taken.count,
        };
        Ok(Delivery { message: taken.message, count: taken.count, lease: Box::new(held) })
    }

    /// Nothing is on its way: a message is handed out when it is asked for.
    async fn close(self: Box<Self>) {}
}

/// The right to finish a delivery.
struct Held {
    shared: Arc<Shared>,
    consumer: Consumer,
    message: Message,
    count: u64,
}

#[async_trait]
impl Lease for Held {
    async fn finish(&self) -> Result<()> {
        self.shared.with(|state, _| state.finish(&self.consumer, &self.message))
    }

    async fn extend(&self) -> Result<()> {
        self.shared.with(|state, now| {
            let (group, timers) = state.group_of(&self.consumer)?;
            group.extend(self.message.sequence, now, timers);
            Ok(())
        })
    }

    async fn hand_back(&self, delay: Duration) -> Result<()> {
        self.shared.with(|state, now| {
            let (group, timers) = state.group_of(&self.consumer)?;
            group.hand_back(self.message.sequence, self.count, now.after(delay), timers);
            Ok(())
        })
    }
}
