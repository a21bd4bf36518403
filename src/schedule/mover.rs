//! Takes tasks that are due from the schedule stream to their queue.
//!
//! One durable consumer serves all movers: any host moves what is due, and one that dies leaves nothing behind.
//!
//! **Invariant:** a fired message is acknowledged only when its task is queued.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::broker::patience::Patience;
use crate::broker::{Broker, Consumer, Deliveries, Delivery, Error, Publish};
use crate::protocol::subject::TaskSubject;
use crate::protocol::task::{ATTEMPT, RECHECK};
use crate::protocol::{Stream, debounce, limit};
use crate::store::{debounce as gathered, limits};

/// How long a fired message belongs to the mover that has it: moving takes a millisecond.
const LEASE: Duration = Duration::from_secs(5);

/// How soon a message is tried again whose task is still in its queue, or whose queue is full.
const OCCUPIED_WAIT: Duration = Duration::from_millis(500);

/// How soon the line of a limit is looked after again that could not be.
const TROUBLE_WAIT: Duration = Duration::from_secs(5);

/// Messages that one mover has in hand.
const IN_HAND_MAX: usize = 64;

/// The consumer of all movers.
#[must_use]
pub fn consumer() -> Consumer {
    Consumer {
        stream: Stream::Schedule,
        name: "mover".to_owned(),
        filter: "lvg.*.fire.>".to_owned(),
        lease: LEASE,
        deliveries_max: None,
    }
}

/// A mover whose consumer stands.
pub struct Mover {
    broker: Broker,
    deliveries: Box<dyn Deliveries>,
}

impl Mover {
    /// Stands ready to move what is due.
    ///
    /// # Errors
    /// What the broker refuses for good; a broker that is away is waited for.
    pub async fn begin(broker: Broker) -> Result<Self, Error> {
        let consumer = consumer();
        let consume = || broker.queues.consume(&consumer);
        let deliveries = Patience::default().retry("take what is due", consume).await?;
        Ok(Self { broker, deliveries })
    }

    /// Moves what is due until `stop` fires.
    ///
    /// # Errors
    /// What the broker refuses for good; a broker that is away is waited for.
    pub async fn serve(mut self, stop: CancellationToken) -> Result<(), Error> {
        stop.run_until_cancelled(self.carry_all()).await.unwrap_or(Ok(()))
    }

    async fn carry_all(&mut self) -> Result<(), Error> {
        self.deliveries.allow(IN_HAND_MAX);
        let mut patience = Patience::default();
        let mut in_hand = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = in_hand.next(), if !in_hand.is_empty() => self.deliveries.allow(1),
                next = self.deliveries.next() => match next {
                    Ok(delivery) => {
                        patience = Patience::default();
                        in_hand.push(carry(&self.broker, delivery));
                    }
                    Err(error) if error.is_transient() => {
                        warn!(%error, "cannot take what is due, trying again");
                        patience.wait().await;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Carries one fired message to its queue; what fails is left to the lease or handed back.
async fn carry(broker: &Broker, delivery: Delivery) {
    let subject = &delivery.message.subject;
    if let Some((tenant, token)) = limit::read_ring(subject) {
        // The line is looked after, and the next bell set, before this one is gone.
        let done = match limits::turn(broker, &tenant, &token).await {
            Ok(()) => delivery.lease.finish().await,
            Err(error) => {
                warn!(%error, %tenant, token, "failed to look after the line of a limit, trying again");
                delivery.lease.hand_back(TROUBLE_WAIT).await
            }
        };
        return drop(done);
    }
    if let Some((tenant, token)) = debounce::read_ring(subject) {
        let done = match gathered::turn(broker, &tenant, &token).await {
            Ok(()) => delivery.lease.finish().await,
            Err(error) => {
                info!(%error, %tenant, token, "failed to queue gathered calls, trying again");
                delivery.lease.hand_back(OCCUPIED_WAIT).await
            }
        };
        return drop(done);
    }
    let Some(task) = TaskSubject::read(subject) else {
        warn!(%subject, "dropped a fired message whose subject names no task");
        return drop(delivery.lease.finish().await);
    };
    let done = match publish(broker, &task, &delivery).await {
        Ok(()) => {
            debug!(id = %task.key, "a task is due");
            // If this is lost the message comes again, is known by its id, and if not by the task's record.
            delivery.lease.let_go().await
        }
        // The attempt before this one has not been acknowledged yet, or the queue is full: the message stays here.
        Err(Error::Occupied { .. } | Error::Full { .. }) => delivery.lease.hand_back(OCCUPIED_WAIT).await,
        Err(error) => {
            info!(%error, id = %task.key, "failed to queue a task that is due, trying again");
            delivery.lease.hand_back(OCCUPIED_WAIT).await
        }
    };
    if let Err(error) = done {
        debug!(%error, "left a fired message to its lease");
    }
}

async fn publish(broker: &Broker, task: &TaskSubject, delivery: &Delivery) -> Result<(), Error> {
    let message = &delivery.message;
    // The server's own headers say how the message was made; only ours and the user's travel on.
    let own = |name: &str| !name.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("nats-"));
    let headers = message.headers.iter().filter(|(name, _)| own(name)).collect::<crate::protocol::Headers>();
    let attempt = headers.value(ATTEMPT).unwrap_or("1").to_owned();
    let publish = Publish {
        subject: task.task(),
        headers: headers.with(RECHECK, "1"),
        payload: message.payload.clone(),
        // A fire that is delivered twice is queued once, even if its task was fast.
        message_id: Some(format!("{}/{}/{attempt}/{}", task.tenant, task.key, message.sequence)),
        ..Publish::default()
    };
    broker.streams.publish(publish).await.map(drop)
}
