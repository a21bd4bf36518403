//! Visits to a JetStream consumer: requests that do not wait, for what is there.

use std::time::Duration;

use async_nats::Subscriber;
use async_trait::async_trait;
use futures::StreamExt;
use tokio::time::Instant;

use super::link::{Link, OPERATION_TIME_MAX};
use super::pull::verb;
use super::queues::delivery;
use crate::broker::{Consumer, Error, Result, Visit, Visits};

/// The most that one request asks for.
const BATCH_MAX: usize = 1_000;

/// How long a server may take between two messages of one answer once it has begun: they are in its memory or on its disk, and
/// without an end of its own an answer whose last messages were lost would be awaited for the whole time of an operation.
const GAP_MAX: Duration = Duration::from_secs(2);

/// One who looks into a consumer now and then.
pub(super) struct Visitor {
    link: Link,
    consumer: Consumer,
    subscriber: Subscriber,
    inbox: String,
    verb: String,
    number: u64,
}

impl Visitor {
    /// Visits a consumer that is there.
    pub(super) async fn new(link: &Link, consumer: &Consumer) -> Result<Self> {
        let inbox = link.client.new_inbox();
        let subscribed = link.client.subscribe(format!("{inbox}.*")).await;
        let subscriber = subscribed.map_err(|error| Error::Unavailable(error.to_string()))?;
        let verb = verb(&consumer.stream.name(), &consumer.name);
        Ok(Self { link: link.clone(), consumer: consumer.clone(), subscriber, inbox, verb, number: 0 })
    }

    /// Whether a status answers the request with this reply subject.
    fn ends(message: &async_nats::Message, reply: &str) -> Option<u16> {
        let status = message.status?.as_u16();
        // 100 is a heartbeat.
        (message.subject.as_str() == reply && status != 100).then_some(status)
    }
}

#[async_trait]
impl Visits for Visitor {
    async fn take(&mut self, count: usize) -> Result<Visit> {
        let mut visit = Visit::default();
        let count = count.min(BATCH_MAX);
        if count == 0 {
            return Ok(visit);
        }
        self.number += 1;
        let reply = format!("{}.{}", self.inbox, self.number);
        let body = format!(r#"{{"batch":{count},"no_wait":true}}"#);
        self.link.send(&self.verb, Some(&reply), None, body.into()).await?;
        let mut until = Instant::now() + OPERATION_TIME_MAX;
        while visit.deliveries.len() < count {
            let message = match tokio::time::timeout_at(until, self.subscriber.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Err(Error::Unavailable("the connection is closed".to_owned())),
                // What was taken is in hand; what was lost comes again when its lease is over.
                Err(_) if !visit.deliveries.is_empty() => break,
                Err(_) => return Err(self.link.silence(&self.verb)),
            };
            match Self::ends(&message, &reply) {
                // Nobody listens: the consumer was removed, or its server is away. The next visit finds it again.
                Some(503) => {
                    self.link.make_consumer(&self.consumer).await?;
                    break;
                }
                Some(_) => break,
                None => {
                    until = Instant::now() + GAP_MAX;
                    if let Some((delivery, place)) = delivery(&self.link, message) {
                        visit.left = place.pending;
                        visit.deliveries.push(delivery);
                    }
                }
            }
        }
        Ok(visit)
    }
}
