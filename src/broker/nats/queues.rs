//! Work queues on JetStream: durable pull consumers, deliveries by credit, leases.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Subject;
use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::link::Link;
use super::pull::{Pull, Pulled, nanos};
use super::streams::stream_of;
use super::visit::Visitor;
use super::wire::{self, Place};
use crate::broker::{Backlog, Consumer, Deliveries, Delivery, Error, Lease, Queues, Result, Visits};
use crate::protocol::Stream;

/// Pull requests that the server holds for one consumer, over all that share it: its own default is too few for a thousand
/// hosts with a handful of requests each.
const WAITING_MAX: u32 = 8_192;

/// The first pause before a lost consumer is made again, doubled up to the last.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Pages of a stream's consumers that are read, of 256 each: more than a server allows.
const CONSUMER_PAGES_MAX: usize = 64;

/// A page of a stream's consumers.
#[derive(Deserialize)]
struct Page {
    total: usize,
    consumers: Option<Vec<Info>>,
}

/// What the server says of a consumer.
#[derive(Deserialize)]
struct Info {
    name: String,
    num_pending: u64,
    num_ack_pending: u64,
    delivered: Delivered,
    config: Leased,
}

/// What a consumer was made with.
#[derive(Deserialize)]
struct Leased {
    /// In nanoseconds.
    #[serde(default)]
    ack_wait: u64,
}

/// How far a consumer is.
#[derive(Deserialize)]
struct Delivered {
    consumer_seq: u64,
}

/// What a stream says of itself.
#[derive(Deserialize)]
struct Holding {
    state: HeldState,
}

#[derive(Deserialize)]
struct HeldState {
    messages: u64,
}

/// What a stream says of the subjects in it.
#[derive(Deserialize)]
struct Subjects {
    state: SubjectState,
    #[serde(default)]
    total: usize,
}

#[derive(Deserialize)]
struct SubjectState {
    subjects: Option<BTreeMap<String, u64>>,
}

#[async_trait]
impl Queues for Link {
    async fn stored(&self, stream: &Stream) -> Result<u64> {
        let held: Holding = self.api(&format!("STREAM.INFO.{}", stream.name()), &json!({})).await?;
        Ok(held.state.messages)
    }

    async fn occupied(&self, filter: &str, count_max: usize) -> Result<Vec<String>> {
        let verb = format!("STREAM.INFO.{}", stream_of(filter)?.name());
        let mut subjects = Vec::new();
        while subjects.len() < count_max {
            let which = json!({ "subjects_filter": filter, "offset": subjects.len() });
            let page: Subjects = self.api(&verb, &which).await?;
            let found = page.state.subjects.unwrap_or_default();
            let count = found.len();
            subjects.extend(found.into_keys());
            if count == 0 || subjects.len() >= page.total {
                break;
            }
        }
        subjects.truncate(count_max);
        Ok(subjects)
    }

    async fn backlogs(&self, stream: &Stream) -> Result<Vec<(String, Backlog)>> {
        let verb = format!("CONSUMER.LIST.{}", stream.name());
        let mut backlogs = Vec::new();
        for _ in 0..CONSUMER_PAGES_MAX {
            let page: Page = self.api(&verb, &json!({ "offset": backlogs.len() })).await?;
            let count = page.consumers.as_ref().map_or(0, Vec::len);
            let infos = page.consumers.into_iter().flatten();
            backlogs.extend(infos.map(|info| {
                let (waiting, out) = (info.num_pending, info.num_ack_pending);
                let lease = Duration::from_nanos(info.config.ack_wait);
                (info.name, Backlog { waiting, out, delivered: info.delivered.consumer_seq, lease })
            }));
            if count == 0 || backlogs.len() >= page.total {
                break;
            }
        }
        Ok(backlogs)
    }

    async fn consume(&self, consumer: &Consumer) -> Result<Box<dyn Deliveries>> {
        self.make_consumer(consumer).await?;
        let pull = Pull::new(self, &consumer.stream.name(), &consumer.name).await?;
        let (consumer, link) = (consumer.clone(), self.clone());
        Ok(Box::new(Taker { link, consumer, pull, repair: None, pause: PAUSE_MIN }))
    }

    async fn visit(&self, consumer: &Consumer) -> Result<Box<dyn Visits>> {
        self.make_consumer(consumer).await?;
        Ok(Box::new(Visitor::new(self, consumer).await?))
    }
}

impl Link {
    /// Makes the consumer, or changes its limits to those given.
    pub(super) async fn make_consumer(&self, consumer: &Consumer) -> Result<()> {
        let Consumer { stream, name, filter, lease, deliveries_max } = consumer;
        let stream = stream.name();
        let config = json!({
            "name": name, "durable_name": name, "filter_subject": filter,
            "deliver_policy": "all", "ack_policy": "explicit", "replay_policy": "instant",
            "ack_wait": nanos(*lease), "max_deliver": -1, "max_waiting": WAITING_MAX,
            "max_ack_pending": deliveries_max.map_or(-1, |max| i64::try_from(max).unwrap_or(-1)),
        });
        let body = json!({ "stream_name": stream, "config": config });
        let verb = format!("CONSUMER.CREATE.{stream}.{name}.{filter}");
        self.api::<serde::de::IgnoredAny>(&verb, &body).await.map(drop)
    }
}

/// One taker of a consumer's deliveries.
struct Taker {
    link: Link,
    consumer: Consumer,
    pull: Pull,
    /// When the consumer is to be made again, if it was lost.
    repair: Option<Instant>,
    /// The pause before the next repair.
    pause: Duration,
}

#[async_trait]
impl Deliveries for Taker {
    fn allow(&mut self, count: usize) {
        self.pull.allow(count);
    }

    fn recall(&mut self) {
        self.pull.recall();
    }

    async fn next(&mut self) -> Result<Delivery> {
        loop {
            if let Some(at) = self.repair {
                tokio::time::sleep_until(at).await;
                self.repair = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                self.link.make_consumer(&self.consumer).await?;
                self.repair = None;
            }
            match self.pull.next().await? {
                Pulled::Message(message) => {
                    self.pause = PAUSE_MIN;
                    match delivery(&self.link, message) {
                        Some((delivery, _)) => return Ok(delivery),
                        None => self.pull.allow(1),
                    }
                }
                Pulled::Surplus(message) => self.hand_back(&message).await?,
                Pulled::Lost => {}
                Pulled::Gone => self.repair = Some(Instant::now() + self.pause),
            }
        }
    }

    async fn close(self: Box<Self>) {
        let Self { link, pull, .. } = *self;
        for message in pull.close().await {
            if let Some(reply) = &message.reply {
                // If this fails the lease runs out, which comes to the same a little later.
                drop(link.send(reply, None, None, Bytes::from_static(b"-NAK")).await);
            }
        }
        drop(link.flush().await);
    }
}

/// A message of a consumer as a delivery, and its place; `None` if its reply subject is not one of those.
pub(super) fn delivery(link: &Link, message: async_nats::Message) -> Option<(Delivery, Place)> {
    let reply = message.reply.clone()?;
    let place = Place::read(&reply)?;
    let lease = Box::new(Held { link: link.clone(), reply });
    Some((Delivery { message: wire::delivered(message, &place), count: place.count, lease }, place))
}

impl Taker {
    async fn hand_back(&self, message: &async_nats::Message) -> Result<()> {
        match &message.reply {
            Some(reply) => self.link.send(reply, None, None, Bytes::from_static(b"-NAK")).await,
            None => Ok(()),
        }
    }
}

/// The right to finish a delivery: the subject that acknowledges it.
struct Held {
    link: Link,
    reply: Subject,
}

#[async_trait]
impl Lease for Held {
    async fn finish(&self) -> Result<()> {
        let answer = self.link.request(&self.reply, None, Bytes::from_static(b"+ACK")).await?;
        match answer.payload.is_empty() {
            true => Ok(()),
            false => Err(Error::Other(format!("finish answered: {}", String::from_utf8_lossy(&answer.payload)))),
        }
    }

    async fn let_go(&self) -> Result<()> {
        self.link.send(&self.reply, None, None, Bytes::from_static(b"+ACK")).await
    }

    async fn extend(&self) -> Result<()> {
        self.link.send(&self.reply, None, None, Bytes::from_static(b"+WPI")).await
    }

    async fn hand_back(&self, delay: Duration) -> Result<()> {
        let word = match delay.is_zero() {
            true => Bytes::from_static(b"-NAK"),
            false => format!("-NAK {{\"delay\": {}}}", nanos(delay)).into(),
        };
        self.link.send(&self.reply, None, None, word).await?;
        // A host hands back when it goes: what is only buffered would end with the process.
        self.link.flush().await
    }
}
