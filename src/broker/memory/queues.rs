//! Work queues in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::state::Taken;
use super::{Memory, Shared};
use crate::broker::{Backlog, Consumer, Deliveries, Delivery, Lease, Message, Queues, Result, Visit, Visits};
use crate::protocol::Stream;

#[async_trait]
impl Queues for Memory {
    async fn stored(&self, stream: &Stream) -> Result<u64> {
        self.0.with(|state, _| {
            state.up()?;
            Ok(state.store(stream).count())
        })
    }

    async fn occupied(&self, filter: &str, count_max: usize) -> Result<Vec<String>> {
        self.0.with(|state, _| {
            let (store, _) = state.store_of(filter)?;
            let subjects: BTreeSet<String> =
                store.all(filter, 1, false).into_iter().map(|message| message.subject).collect();
            Ok(subjects.into_iter().take(count_max).collect())
        })
    }

    async fn backlogs(&self, stream: &Stream) -> Result<Vec<(String, Backlog)>> {
        self.0.with(|state, _| state.backlogs(stream))
    }

    async fn consume(&self, consumer: &Consumer) -> Result<Box<dyn Deliveries>> {
        self.0.with(|state, _| state.group(consumer))?;
        Ok(Box::new(Taker { shared: self.0.clone(), consumer: consumer.clone(), allowed: 0 }))
    }

    async fn visit(&self, consumer: &Consumer) -> Result<Box<dyn Visits>> {
        self.0.with(|state, _| state.group(consumer))?;
        Ok(Box::new(Taker { shared: self.0.clone(), consumer: consumer.clone(), allowed: 0 }))
    }
}

#[async_trait]
impl Visits for Taker {
    async fn take(&mut self, count: usize) -> Result<Visit> {
        let (taken, left): (Vec<Taken>, u64) = self.shared.with(|state, now| {
            state.up()?;
            let taken: Vec<Taken> = (0..count).map_while(|_| state.take(&self.consumer, now)).collect();
            let left = if taken.is_empty() { 0 } else { state.waiting(&self.consumer) };
            Ok((taken, left))
        })?;
        Ok(Visit { deliveries: taken.into_iter().map(|taken| self.delivery(taken)).collect(), left })
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
        Ok(self.delivery(taken))
    }

    fn recall(&mut self) {
        self.allowed = 0;
    }

    /// Nothing is on its way: a message is handed out when it is asked for.
    async fn close(self: Box<Self>) {}
}

impl Taker {
    fn delivery(&self, taken: Taken) -> Delivery {
        let Taken { message, count } = taken;
        let held =
            Held { shared: self.shared.clone(), consumer: self.consumer.clone(), message: message.clone(), count };
        Delivery { message, count, lease: Box::new(held) }
    }
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

    async fn let_go(&self) -> Result<()> {
        self.finish().await
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
