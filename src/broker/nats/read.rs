//! Readings of stored messages: batches of direct gets up to a known end, or a consumer of its own that goes on.
//!
//! **Invariant:** a reading that does not follow ends at the last message that the stream's leader knew when it began, whatever
//! replica answers: what a replica does not know yet is asked of the leader.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::json;
use std::time::Duration;

use super::link::{Link, OPERATION_TIME_MAX};
use super::pull::{Pull, Pulled, nanos};
use super::wire::{self, Place};
use crate::broker::{Error, Message, Result, Start};
use crate::model::Timestamp;
use crate::protocol::Stream;
use crate::protocol::stream::Retention;

/// Messages that one request brings, and their bytes: a round trip for that many costs little, and they are held in memory.
const BATCH_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// How long the server keeps a reading's consumer that nobody pulls from any more.
const INACTIVE_MAX: Duration = Duration::from_secs(60);

/// The pause before a reading's consumer is made again.
const PAUSE: Duration = Duration::from_millis(200);

/// Begins a reading of `filter` in `stream`.
pub(super) async fn begin(
    link: &Link,
    stream: Stream,
    filter: &str,
    start: Start,
    follow: bool,
) -> Result<BoxStream<'static, Result<Message>>> {
    let name = stream.name();
    if let (Start::Sequence(first), false) = (start, follow) {
        return batches(link, &name, filter, first).await;
    }
    if stream.rules().retention == Retention::WorkQueue {
        return Err(Error::Unsuitable(format!("{filter}: a work queue is read by sequence, and not followed")));
    }
    let end = match follow {
        true => None,
        false => match link.ask_leader(&name, &json!({ "last_by_subj": filter })).await? {
            Some(last) => Some(last.sequence),
            None => return Ok(stream::empty().boxed()),
        },
    };
    let (next, per_subject, earliest) = match start {
        Start::Sequence(first) => (first.max(1), false, None),
        Start::LastPerSubject => (1, true, None),
        Start::Time(earliest) => (1, false, Some(earliest)),
    };
    let pull = Pull::new(link, &name, "").await?;
    let mut reading = Follow {
        link: link.clone(),
        stream: name,
        filter: filter.to_owned(),
        pull,
        per_subject,
        earliest,
        next,
        end,
        name: String::new(),
        delivery: 0,
    };
    reading.make_consumer().await?;
    Ok(stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Some(message)) => Some((Ok(message), Some(reading))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed())
}

/// The messages of a stream from `first` up to the last that its leader knows now.
pub(super) async fn batches(
    link: &Link,
    stream: &str,
    filter: &str,
    first: u64,
) -> Result<BoxStream<'static, Result<Message>>> {
    let end = match link.ask_leader(stream, &json!({ "last_by_subj": filter })).await? {
        Some(last) if last.sequence >= first => last.sequence,
        _ => return Ok(stream::empty().boxed()),
    };
    let reading = Batches {
        link: link.clone(),
        stream: stream.to_owned(),
        filter: filter.to_owned(),
        next: first.max(1),
        end,
        held: VecDeque::new(),
    };
    Ok(stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        if reading.held.is_empty()
            && reading.next <= reading.end
            && let Err(error) = reading.fetch().await
        {
            return Some((Err(error), None));
        }
        let message = reading.held.pop_front()?;
        Some((Ok(message), Some(reading)))
    })
    .boxed())
}

/// A reading with an end.
struct Batches {
    link: Link,
    stream: String,
    filter: String,
    next: u64,
    end: u64,
    held: VecDeque<Message>,
}

impl Batches {
    /// Fetches the next batch; nothing is held after it only if there is nothing up to the end.
    async fn fetch(&mut self) -> Result<()> {
        let inbox = self.link.client.new_inbox();
        let subscribed = self.link.client.subscribe(inbox.clone()).await;
        let mut answers = subscribed.map_err(|error| Error::Unavailable(error.to_string()))?;
        let which =
            json!({ "seq": self.next, "next_by_subj": self.filter, "batch": BATCH_MAX, "max_bytes": BATCH_BYTES_MAX });
        let verb = format!("$JS.API.DIRECT.GET.{}", self.stream);
        self.link.send(&verb, Some(&inbox), None, which.to_string().into()).await?;
        loop {
            let Ok(Some(answer)) = tokio::time::timeout(OPERATION_TIME_MAX, answers.next()).await else {
                return Err(self.link.silence(&verb));
            };
            match answer.status.map(|status| status.as_u16()) {
                None => self.hold(wire::direct(answer)?),
                // The end of the batch, or nothing there.
                Some(204 | 404) => break,
                Some(503) => return Err(Error::NotFound(self.stream.clone())),
                Some(status) => return Err(Error::Other(format!("{verb} answered {status}"))),
            }
        }
        if self.held.is_empty() {
            let which = json!({ "seq": self.next, "next_by_subj": self.filter });
            match self.link.ask_leader(&self.stream, &which).await? {
                Some(message) => self.hold(message),
                None => self.next = self.end.saturating_add(1),
            }
        }
        Ok(())
    }

    fn hold(&mut self, message: Message) {
        self.next = message.sequence.saturating_add(1);
        if message.sequence <= self.end {
            self.held.push_back(message);
        }
    }
}

/// A reading by a consumer of its own, which is made anew whenever a delivery may have been lost.
struct Follow {
    link: Link,
    stream: String,
    filter: String,
    pull: Pull,
    /// Whether only the last message of each subject is wanted still.
    per_subject: bool,
    /// Nothing that was stored before this is wanted; until the first message was read the server finds where that is.
    earliest: Option<Timestamp>,
    /// The first sequence that has not been read.
    next: u64,
    end: Option<u64>,
    /// The consumer's name, a token of each of its reply subjects.
    name: String,
    /// The number of the consumer's last delivery, to notice gaps.
    delivery: u64,
}

impl Follow {
    async fn make_consumer(&mut self) -> Result<()> {
        let inbox = self.link.client.new_inbox();
        let name = format!("read-{}", inbox.rsplit('.').next().unwrap_or_default());
        // The server takes a start sequence with one policy only.
        let earliest = self.earliest.filter(|_| self.next <= 1);
        let (policy, first) = match (self.per_subject, earliest) {
            (true, _) => ("last_per_subject", None),
            (false, Some(_)) => ("by_start_time", None),
            (false, None) => ("by_start_sequence", Some(self.next)),
        };
        let config = json!({
            "name": name, "filter_subject": self.filter, "ack_policy": "none", "replay_policy": "instant", "max_deliver": 1,
            "mem_storage": true, "num_replicas": 1, "inactive_threshold": nanos(INACTIVE_MAX),
            "deliver_policy": policy, "opt_start_seq": first,
            "opt_start_time": earliest.map(|earliest| earliest.to_string()),
        });
        let verb = format!("CONSUMER.CREATE.{}.{name}.{}", self.stream, self.filter);
        let body = json!({ "stream_name": self.stream, "config": config });
        let made: Made = self.link.api(&verb, &body).await?;
        if made.num_pending == 0 {
            self.caught_up();
        }
        self.pull.switch(&self.stream, &name);
        self.pull.allow(BATCH_MAX.saturating_sub(self.pull.outstanding()));
        self.name = name;
        self.delivery = 0;
        Ok(())
    }

    /// The next message; `None` at the end.
    async fn next(&mut self) -> Result<Option<Message>> {
        loop {
            if self.end.is_some_and(|end| self.next > end) {
                return Ok(None);
            }
            match self.pull.next().await? {
                Pulled::Message(message) | Pulled::Surplus(message) => {
                    self.pull.allow(1);
                    let Some(place) = self.place(&message) else { continue };
                    if place.delivery != self.delivery + 1 {
                        self.remake().await;
                        continue;
                    }
                    self.delivery = place.delivery;
                    let read = place.sequence >= self.next;
                    self.next = self.next.max(place.sequence.saturating_add(1));
                    if place.pending == 0 {
                        self.caught_up();
                    }
                    if read {
                        return Ok(Some(wire::delivered(message, &place)));
                    }
                }
                Pulled::Lost => self.remake().await,
                Pulled::Gone => {
                    tokio::time::sleep(PAUSE).await;
                    self.remake().await;
                }
            }
        }
    }

    /// Where a message stands; `None` if it comes from a consumer that was given up.
    fn place(&self, message: &async_nats::Message) -> Option<Place> {
        let reply = message.reply.as_ref()?;
        reply.split('.').any(|token| token == self.name).then(|| Place::read(reply))?
    }

    /// All that was stored has been read: what is left is what comes.
    fn caught_up(&mut self) {
        self.per_subject = false;
        if let Some(end) = self.end {
            self.next = self.next.max(end.saturating_add(1));
        }
    }

    /// Makes the consumer anew, however long that takes.
    async fn remake(&mut self) {
        while let Err(error) = self.make_consumer().await {
            tracing::debug!(stream = self.stream, %error, "a reading waits for the broker");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What the server says of a new consumer.
#[derive(serde::Deserialize)]
struct Made {
    #[serde(default)]
    num_pending: u64,
}
