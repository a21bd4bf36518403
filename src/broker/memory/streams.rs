//! Stored messages in memory.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::{Memory, Shared};
use crate::broker::{Error, Message, Publish, Result, Start, Stored, Streams};
use crate::model::Timestamp;
use crate::protocol::stream::Retention;

#[async_trait]
impl Streams for Memory {
    async fn publish(&self, publish: Publish) -> Result<Stored> {
        self.0.with(|state, now| state.publish(publish, now))
    }

    async fn last(&self, subject: &str) -> Result<Option<Message>> {
        self.0.with(|state, _| state.store_of(subject).map(|(store, _)| store.last(subject).cloned()))
    }

    async fn purge(&self, subject: &str) -> Result<u64> {
        self.0.with(|state, _| state.store_of(subject).map(|(store, timers)| store.purge(subject, timers)))
    }

    async fn read(&self, subject: &str, start: Start, follow: bool) -> Result<BoxStream<'static, Result<Message>>> {
        let (first, last_per_subject) = match start {
            Start::Sequence(first) => (first, false),
            Start::LastPerSubject => (1, true),
            Start::Time(_) => (1, false),
        };
        let earliest = match start {
            Start::Time(earliest) => earliest,
            Start::Sequence(_) | Start::LastPerSubject => Timestamp::default(),
        };
        let (stored, last) = self.0.with(|state, _| {
            let (store, _) = state.store_of(subject)?;
            let by_sequence = matches!(start, Start::Sequence(_));
            if store.rules.retention == Retention::WorkQueue && (follow || !by_sequence) {
                let reason = format!("{subject}: a work queue is read by sequence, and not followed");
                return Err(Error::Unsuitable(reason));
            }
            Ok((store.all(subject, first, last_per_subject), store.last_sequence()))
        })?;
        let stored = stream::iter(stored.into_iter().filter(move |message| message.time >= earliest).map(Ok));
        if !follow {
            return Ok(stored.boxed());
        }
        let subject = subject.to_owned();
        let next = first.max(last + 1);
        Ok(stored.chain(stream::unfold((self.0.clone(), subject, next), follow_from).map(Ok)).boxed())
    }
}

/// The position of a reading that follows.
type Position = (Arc<Shared>, String, u64);

async fn follow_from((shared, subject, next): Position) -> Option<(Message, Position)> {
    let found = shared.wait(|state, _| {
        let (store, _) = state.store_of(&subject).ok()?;
        store.next(&subject, next).cloned()
    });
    let message = found.await;
    let next = message.sequence + 1;
    Some((message, (shared, subject, next)))
}
