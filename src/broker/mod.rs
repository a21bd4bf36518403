//! What Lovage asks of a broker: four small ports, their twin in memory and their implementation on NATS.
//!
//! **Invariant:** both implementations pass one conformance suite (`tests/suite/conformance`).
//! **Invariant:** subjects decide the stream ([`Stream::of`](crate::protocol::Stream::of)); no caller names one.
//! **Invariant:** a port moves bytes; what they mean is decided in `model` and `protocol`.

mod clock;
pub mod error;
pub mod memory;
pub mod nats;
pub mod patience;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::io::AsyncRead;

pub use clock::{Clock, SystemClock};
pub use error::{Error, Result};

use crate::model::Timestamp;
use crate::protocol::stream::{Bucket, QUEUED_MAX_DEFAULT};
use crate::protocol::{Headers, Stream};

/// What an operator decides of the streams of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Queued tasks that the tenant may have.
    pub queued_max: u64,
    /// Servers that keep each stream: 1, 3 or 5.
    pub replicas: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queued_max: QUEUED_MAX_DEFAULT, replicas: 1 }
    }
}

/// A connection to a broker: the four ports. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    /// Messages that are stored.
    pub streams: Arc<dyn Streams>,
    /// Messages that are handed out, one at a time, under a lease.
    pub queues: Arc<dyn Queues>,
    /// Messages that are heard by those who listen, and by nobody else.
    pub bus: Arc<dyn Bus>,
    /// Bytes too large for a message.
    pub objects: Arc<dyn Objects>,
    /// The time, which the twin in memory lets a test move.
    pub clock: Arc<dyn Clock>,
}

/// A message as it was stored or heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub subject: String,
    /// Names and values beside the payload. Headers of the broker's own (`Nats-...`) may be among them.
    pub headers: Headers,
    /// The bytes.
    pub payload: Bytes,
    /// Its place in its stream, from 1; 0 if it was heard on the bus.
    pub sequence: u64,
    /// When the broker stored it; the epoch if it was heard on the bus.
    pub time: Timestamp,
    /// Where an answer is expected, on the bus.
    pub reply: Option<String>,
}

/// A message to be stored.
#[derive(Clone, Debug, Default)]
pub struct Publish {
    /// Where to.
    pub subject: String,
    /// Names and values beside the payload. Those of the broker's own (`Nats-...`), as of a message that was delivered, are not
    /// sent on.
    pub headers: Headers,
    /// The bytes.
    pub payload: Bytes,
    /// The sequence of the subject's last message, 0 for "none yet", without which the publish is refused
    /// with [`Error::Conflict`].
    pub expect: Option<u64>,
    /// A second publish to the stream with the same id within two minutes is dropped and acknowledged as a duplicate, whatever
    /// its subject and whether or not that is occupied; but what `expect` refuses is refused.
    pub message_id: Option<String>,
    /// How long the message is kept; rounded up to whole seconds, at least one.
    pub ttl: Option<Duration>,
    /// Whether the message is kept although its stream drops what is older than its limit of age.
    pub lasting: bool,
    /// Makes the message a schedule: when it is due the broker publishes its headers and payload to `target` (in the same
    /// stream) and removes it. A new message on its subject takes its place, a purge of its subject ends it.
    pub schedule: Option<Schedule>,
}

impl Publish {
    /// A message without more.
    #[must_use]
    pub fn new(subject: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { subject: subject.into(), payload: payload.into(), ..Self::default() }
    }

    /// The time to live as brokers count it: whole seconds, rounded up, at least one.
    pub(crate) fn ttl_seconds(&self) -> Option<u64> {
        self.ttl.map(|ttl| (ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).max(1))
    }
}

/// When and where a scheduled message is produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Not before this time (and within about 300 ms after it). A time in the past is due at once.
    pub at: Timestamp,
    /// The subject of the message that is produced.
    pub target: String,
}

/// What the broker says of a stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the stream.
    pub sequence: u64,
    /// Whether it had been stored before, by its message id.
    pub duplicate: bool,
}

/// Where a reading begins and what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Every message with this sequence or a later one.
    Sequence(u64),
    /// Every message that was stored at this time or later.
    Time(Timestamp),
    /// The last message of each subject, then, if the reading goes on, every new one.
    LastPerSubject,
}

/// Stored messages.
#[async_trait]
pub trait Streams: Send + Sync {
    /// Stores a message; when this returns it is durable.
    async fn publish(&self, publish: Publish) -> Result<Stored>;

    /// The last message on `subject`, which may hold wildcards. Streams whose rules allow direct reads may be a moment behind.
    async fn last(&self, subject: &str) -> Result<Option<Message>>;

    /// Removes all messages on `subject` (wildcards allowed) and says how many there were.
    async fn purge(&self, subject: &str) -> Result<u64>;

    /// The messages on `subject` (wildcards allowed) in stream order; with `follow` also those to come, else up to the
    /// last one that was stored when the reading began. A work queue is read by sequence and not followed
    /// ([`Error::Unsuitable`]). A reading that follows outlasts the loss of the connection; any other ends at its first error.
    async fn read(&self, subject: &str, start: Start, follow: bool) -> Result<BoxStream<'static, Result<Message>>>;
}

/// A durable position in a work queue, shared by all who name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The stream.
    pub stream: Stream,
    /// Its name among the stream's consumers.
    pub name: String,
    /// The messages that it hands out.
    pub filter: String,
    /// How long a delivery belongs to the one who got it, unless it is extended.
    pub lease: Duration,
    /// Deliveries that may be out at a time, over all who share it; `None` is "no limit".
    pub deliveries_max: Option<u64>,
}

/// What a consumer has before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that were never handed out.
    pub waiting: u64,
    /// Messages that were handed out and are not finished: under a lease, or handed back and not handed out again.
    pub out: u64,
    /// Deliveries since the consumer was made: grows with what is done, and with what is delivered again.
    pub delivered: u64,
    /// How long a delivery belongs to the one who got it.
    pub lease: Duration,
}

/// Messages that are handed out.
#[async_trait]
pub trait Queues: Send + Sync {
    /// How many messages a stream holds.
    async fn stored(&self, stream: &Stream) -> Result<u64>;

    /// The subjects below `filter` on which messages of a work queue are, at most `count_max` of them in any order.
    async fn occupied(&self, filter: &str, count_max: usize) -> Result<Vec<String>>;

    /// All consumers of a stream by their names, with what each has before it.
    async fn backlogs(&self, stream: &Stream) -> Result<Vec<(String, Backlog)>>;

    /// Begins to take deliveries of a consumer, which is made if it is not there.
    async fn consume(&self, consumer: &Consumer) -> Result<Box<dyn Deliveries>>;

    /// The same for who does not wait for deliveries.
    async fn visit(&self, consumer: &Consumer) -> Result<Box<dyn Visits>>;
}

/// Looks into a consumer now and then, which take what waits there and nothing else.
#[async_trait]
pub trait Visits: Send {
    /// Up to `count` deliveries of what waits now; none is no error. Returns as soon as no more waits. If this is dropped, what
    /// was on its way comes with a later visit, which may then yield more than its `count`, or waits for its lease to run out.
    async fn take(&mut self, count: usize) -> Result<Visit>;
}

/// What a visit brought.
#[derive(Default)]
pub struct Visit {
    /// What was taken.
    pub deliveries: Vec<Delivery>,
    /// Messages that waited still and were never handed out, when the last delivery was; none where nothing came. A broker may count
    /// the newest of them a moment later.
    pub left: u64,
}

/// Deliveries of one consumer to one taker, who says how many it can hold.
#[async_trait]
pub trait Deliveries: Send {
    /// Allows `count` more deliveries. No more are ever handed out than were allowed.
    fn allow(&mut self, count: usize);

    /// The next delivery; waits until there is one. Cancel safe. After an error that is transient the caller calls again;
    /// allowances are kept.
    async fn next(&mut self) -> Result<Delivery>;

    /// Takes back what was allowed and has not come. What is on its way to this taker is still delivered.
    fn recall(&mut self);

    /// Takes no more: what was on its way to this taker is handed back at once. Without this it waits for its lease to run out.
    async fn close(self: Box<Self>);
}

/// One handing-out of a message.
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// How often it has been handed out, from 1.
    pub count: u64,
    /// What its taker may do with it.
    pub lease: Box<dyn Lease>,
}

/// The right to finish a delivery. Dropping it lets it run out.
#[async_trait]
pub trait Lease: Send + Sync {
    /// Finishes the delivery: the message is gone. Returns when the broker has confirmed it.
    async fn finish(&self) -> Result<()>;

    /// Finishes the delivery without waiting for the broker's word. Where it is lost the message is handed out again, so this is
    /// for those whose outcome is stored.
    async fn let_go(&self) -> Result<()>;

    /// Begins the lease anew.
    async fn extend(&self) -> Result<()>;

    /// Hands the delivery back, to be handed out again after `delay`.
    async fn hand_back(&self, delay: Duration) -> Result<()>;
}

/// Messages that are not stored.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Sends to all who listen now; no acknowledgement. A subject that a stream captures is stored too, if nothing fails.
    async fn send(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<()>;

    /// Sends with a reply subject, and returns what answers within `patience`: at most `answers_max` of them.
    async fn ask(&self, subject: &str, payload: Bytes, patience: Duration, answers_max: usize) -> Result<Vec<Message>>;

    /// All messages on `subject` (wildcards allowed) from now on, stored ones included: what this connection sends or asks for
    /// after this returned, and all that follows from that, is heard. What others send is heard after a [`flush`](Self::flush).
    /// A listener that falls 65,536 messages behind misses some.
    async fn listen(&self, subject: &str) -> Result<BoxStream<'static, Message>>;

    /// Returns when the broker has all that was sent before and knows of all who listen.
    async fn flush(&self) -> Result<()>;
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// How many bytes.
    pub size: u64,
    /// When it was stored.
    pub time: Timestamp,
}

/// Bytes under a name.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Stores all that `reader` yields under `name`, in place of what was there.
    async fn put(&self, bucket: Bucket, name: &str, reader: &mut (dyn AsyncRead + Send + Unpin)) -> Result<ObjectInfo>;

    /// A reader of the object; `None` if there is none.
    async fn open(&self, bucket: Bucket, name: &str) -> Result<Option<Box<dyn AsyncRead + Send + Unpin>>>;

    /// What is known of the object; `None` if there is none.
    async fn info(&self, bucket: Bucket, name: &str) -> Result<Option<ObjectInfo>>;

    /// Removes the object; it is no error if there is none. Nothing of it is left, not even its name.
    async fn remove(&self, bucket: Bucket, name: &str) -> Result<()>;

    /// The names of all objects of a bucket that there were when the listing began, in any order.
    async fn list(&self, bucket: Bucket) -> Result<BoxStream<'static, Result<(String, ObjectInfo)>>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_whole_seconds_and_at_least_one() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2)] {
            let ttl = Some(Duration::from_millis(millis));
            assert_eq!(Publish { ttl, ..Publish::default() }.ttl_seconds(), Some(seconds), "{millis}");
        }
    }
}
