//! Deliveries of one JetStream consumer by credit: what was allowed is pulled, in few and large requests, and never more.
//!
//! A pull request is a publish whose reply subject is `<inbox>.<number>.<size>`. Deliveries come under their stream's subjects
//! and say nothing of their request; statuses come under the reply subject, whose `size` tells what a refused request gives
//! back. Each allowance is in one of two places: `allowed` (not asked for) or `asked` (in a request that the server holds).
//!
//! **Invariant:** no delivery is handed on that takes neither from `asked` nor from `allowed`; it is surplus and goes back.
//! **Invariant:** `next` may be dropped at any await.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::link::{Connection, Link};
use crate::broker::{Error, Result};

/// How long the server holds a request. It is repeated then, so that a forgotten one is not held for ever.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often the server says that it still holds a request. Two that are missed mean that it does not: its restart and the
/// loss of the connection are noticed sooner in other ways, so this may be slow.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The most that one request asks for.
const BATCH_MAX: usize = 1_000;

/// What the server sent for a consumer.
pub(super) enum Pulled {
    /// A delivery that was allowed.
    Message(Message),
    /// A delivery that was not: a request was repeated that had not been lost after all.
    Surplus(Message),
    /// All requests were lost (a new connection, a new leader, silence). They are repeated by the next call.
    Lost,
    /// The consumer, or its stream, is not there.
    Gone,
}

/// A subscription that is left.
struct Recalled {
    subscriber: Subscriber,
    /// Whether the server knows that.
    ends: bool,
}

/// Allowances for a consumer and what came of them.
pub(super) struct Pull {
    link: Link,
    connection: watch::Receiver<Connection>,
    reconnects: u64,
    subscriber: Subscriber,
    /// Where answers to what was recalled still come.
    recalled: Option<Recalled>,
    /// Whether the requests that the server holds are to be forgotten before the next one.
    recall: bool,
    inbox: String,
    verb: String,
    /// Allowed and not asked for.
    allowed: usize,
    /// Asked for and neither delivered nor given back.
    asked: usize,
    /// The number of the next request.
    number: u64,
    /// Requests before this one were given up: their statuses mean nothing any more.
    valid_from: u64,
    /// When the server was last heard of.
    heard: Instant,
}

impl Pull {
    /// Takes from `consumer` of `stream`; nothing is asked for yet.
    pub(super) async fn new(link: &Link, stream: &str, consumer: &str) -> Result<Self> {
        let inbox = link.client.new_inbox();
        let subscribed = link.client.subscribe(format!("{inbox}.*.*")).await;
        let subscriber = subscribed.map_err(|error| Error::Unavailable(error.to_string()))?;
        let mut connection = link.connection.clone();
        let reconnects = connection.borrow_and_update().reconnects;
        Ok(Self {
            link: link.clone(),
            connection,
            reconnects,
            subscriber,
            recalled: None,
            recall: false,
            inbox,
            verb: verb(stream, consumer),
            allowed: 0,
            asked: 0,
            number: 0,
            valid_from: 0,
            heard: Instant::now(),
        })
    }

    /// Allows `count` more deliveries.
    pub(super) fn allow(&mut self, count: usize) {
        self.allowed = self.allowed.saturating_add(count);
    }

    /// Takes back what was allowed and has not come. Takes effect with the next call of `next`.
    pub(super) fn recall(&mut self) {
        self.allowed = 0;
        self.recall |= std::mem::take(&mut self.asked) > 0;
    }

    /// Deliveries that were allowed and have not come.
    pub(super) const fn outstanding(&self) -> usize {
        self.allowed.saturating_add(self.asked)
    }

    /// Goes on with another consumer of the stream; what was asked for counts as allowed again.
    pub(super) fn switch(&mut self, stream: &str, consumer: &str) {
        self.verb = verb(stream, consumer);
        self.give_up();
    }

    /// What the server sends next.
    pub(super) async fn next(&mut self) -> Result<Pulled> {
        loop {
            let reconnects = self.connection.borrow_and_update().reconnects;
            if reconnects != self.reconnects {
                self.reconnects = reconnects;
                self.give_up();
                return Ok(Pulled::Lost);
            }
            self.forget().await?;
            self.ask().await?;
            let silent_at = self.heard + HEARTBEAT * 2 + Duration::from_secs(1);
            tokio::select! {
                biased;
                message = self.subscriber.next() => match message {
                    Some(message) => if let Some(pulled) = self.receive(message) { return Ok(pulled) },
                    None => return Err(Error::Unavailable("the connection is closed".to_owned())),
                },
                message = late(&mut self.recalled) => match message {
                    Some(message) if message.status.is_none() => return Ok(Pulled::Message(message)),
                    Some(_) => {}
                    None => self.recalled = None,
                },
                Ok(()) = self.connection.changed() => {}
                () = tokio::time::sleep_until(silent_at), if self.asked > 0 => {
                    self.give_up();
                    return Ok(Pulled::Lost);
                }
            }
        }
    }

    /// What has arrived and was not handed on. Nothing more comes after this.
    pub(super) async fn close(mut self) -> Vec<Message> {
        let mut rest = Vec::new();
        let recalled = self.recalled.take().map(|recalled| recalled.subscriber);
        for mut subscriber in recalled.into_iter().chain([self.subscriber]) {
            // If this fails the connection is gone, and with it all that would have come.
            if subscriber.drain().await.is_ok() {
                while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(1), subscriber.next()).await {
                    if message.status.is_none() {
                        rest.push(message);
                    }
                }
            }
        }
        rest
    }

    /// Lets the server forget the requests that were recalled: it drops those to whose reply subject nobody listens. What is on
    /// its way comes to the old subject.
    async fn forget(&mut self) -> Result<()> {
        if self.recall && self.recalled.is_none() {
            let inbox = self.link.client.new_inbox();
            let subscribed = self.link.client.subscribe(format!("{inbox}.*.*")).await;
            let subscriber = subscribed.map_err(|error| Error::Unavailable(error.to_string()))?;
            self.inbox = inbox;
            self.recall = false;
            self.recalled =
                Some(Recalled { subscriber: std::mem::replace(&mut self.subscriber, subscriber), ends: false });
            // What was asked for since the recall is forgotten too.
            self.give_up();
        }
        if let Some(recalled) = self.recalled.as_mut().filter(|recalled| !recalled.ends) {
            // If this fails the connection is gone, and with it all that would have come.
            drop(recalled.subscriber.drain().await);
            recalled.ends = true;
        }
        Ok(())
    }

    /// Asks for what is allowed, once that is worth a request: at least as much as is asked for already, so that slots which
    /// come free one at a time make a few requests, and the server never runs out of them while half of the slots wait.
    async fn ask(&mut self) -> Result<()> {
        while self.allowed > 0 && self.allowed >= self.asked {
            let batch = self.allowed.min(BATCH_MAX);
            let reply = format!("{}.{}.{batch}", self.inbox, self.number);
            let (expires, heartbeat) = (EXPIRES.as_nanos(), HEARTBEAT.as_nanos());
            let body = format!(r#"{{"batch":{batch},"expires":{expires},"idle_heartbeat":{heartbeat}}}"#);
            self.link.send(&self.verb, Some(&reply), None, body.into()).await?;
            if self.asked == 0 {
                self.heard = Instant::now();
            }
            self.number += 1;
            self.allowed -= batch;
            self.asked += batch;
        }
        Ok(())
    }

    /// Takes note of what arrived; `None` if that is of no interest to the caller.
    fn receive(&mut self, message: Message) -> Option<Pulled> {
        self.heard = Instant::now();
        let Some(status) = message.status.map(|status| status.as_u16()) else {
            if self.asked > 0 {
                self.asked -= 1;
            } else if self.allowed > 0 {
                self.allowed -= 1;
            } else {
                return Some(Pulled::Surplus(message));
            }
            return Some(Pulled::Message(message));
        };
        let (number, size) = self.request_of(message.subject.as_str())?;
        if number < self.valid_from {
            return None;
        }
        let description = message.description.as_deref().unwrap_or_default();
        match status {
            // A heartbeat.
            100 => None,
            // Nobody listens to requests for this consumer.
            503 => Some(self.gone()),
            409 if description.contains("Consumer Deleted") => Some(self.gone()),
            409 if description.contains("Leadership") || description.contains("Shutdown") => {
                self.give_up();
                Some(Pulled::Lost)
            }
            // The request ended: too many of them (409), nothing there (404), or its time is over (408).
            _ => {
                let pending = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
                let back = pending.and_then(|value| value.as_str().parse().ok()).unwrap_or(size).min(self.asked);
                self.asked -= back;
                self.allowed += back;
                // Asking at once would only be refused again.
                (status == 409).then_some(Pulled::Gone)
            }
        }
    }

    fn gone(&mut self) -> Pulled {
        self.give_up();
        Pulled::Gone
    }

    fn give_up(&mut self) {
        self.allowed += std::mem::take(&mut self.asked);
        self.valid_from = self.number;
    }

    /// The number and size of the request that a status answers.
    fn request_of(&self, subject: &str) -> Option<(u64, usize)> {
        let (number, size) = subject.strip_prefix(&self.inbox)?.strip_prefix('.')?.split_once('.')?;
        Some((number.parse().ok()?, size.parse().ok()?))
    }
}

/// The next message of a subscription that ends; waits for ever where there is none.
async fn late(recalled: &mut Option<Recalled>) -> Option<Message> {
    match recalled {
        Some(recalled) => recalled.subscriber.next().await,
        None => std::future::pending().await,
    }
}

pub(super) fn verb(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
