//! Gathered calls whose time has come: they go to their queue as one task.
//!
//! **Invariant:** calls are marked as going before they are queued, and nobody joins them then: a call that was acknowledged is in
//! the task that its submitter was told of. **Invariant:** a bell is set as long as calls wait, except by a submitter that died
//! before it could acknowledge.

use futures::StreamExt as _;
use tracing::{debug, warn};

use crate::broker::{Broker, Error, Message, Publish, Schedule, Start};
use crate::model::debounce::Gathered;
use crate::model::{Tenant, Timestamp};
use crate::protocol::debounce::{self, GATHERED, KEPT_BEYOND};
use crate::protocol::subject::TaskSubject;
use crate::protocol::task::RECHECK;
use crate::protocol::{Headers, limit};

/// Sets the bell of a debounce. A bell takes the place of the one before it: one that rings too early is set again, and none rings
/// too late, since calls only put it off.
///
/// # Errors
/// What the broker fails with.
pub async fn ring(broker: &Broker, tenant: &Tenant, token: &str, at: Timestamp) -> Result<(), Error> {
    let schedule = Some(Schedule { at, target: debounce::ring(tenant, token) });
    broker.streams.publish(Publish { schedule, ..Publish::new(debounce::bell(tenant, token), "") }).await.map(drop)
}

/// The message that gathered calls wait as, in place of the one with sequence `expected` (0 for none).
#[must_use]
pub fn waiting(
    subject: String,
    headers: Headers,
    payload: bytes::Bytes,
    (gathered, now): (&Gathered, Timestamp),
    expected: u64,
) -> Publish {
    let headers = headers.with(GATHERED, debounce::gathered(gathered));
    let ttl = Some(gathered.due.since(now).saturating_add(KEPT_BEYOND));
    Publish { subject, headers, payload, ttl, expect: Some(expected), ..Publish::default() }
}

/// Queues the gathered calls that are due, and sets the bell for the others.
///
/// # Errors
/// What the broker fails with, as that a queue is full.
pub async fn turn(broker: &Broker, tenant: &Tenant, token: &str) -> Result<(), Error> {
    let mut messages = broker.streams.read(&limit::line_of(tenant, token), Start::Sequence(1), false).await?;
    let mut next: Option<Timestamp> = None;
    while let Some(message) = messages.next().await {
        let message = message?;
        let now = broker.clock.now();
        let read = limit::read_line(&message.subject).zip(debounce::read_gathered(&message.headers).ok());
        let Some(((_, task), gathered)) = read else {
            warn!(subject = message.subject, "a debounce holds a message that is no gathered call");
            continue;
        };
        let again = if !gathered.going && gathered.due > now {
            Some(gathered.due)
        } else {
            match go(broker, &message, &task, (gathered, now)).await {
                Ok(()) => None,
                // A call joined them just now.
                Err(Error::Conflict { .. }) => Some(now),
                Err(error) => return Err(error),
            }
        };
        next = [next, again].into_iter().flatten().min();
    }
    match next {
        Some(at) => ring(broker, tenant, token, at).await,
        None => Ok(()),
    }
}

async fn go(
    broker: &Broker,
    message: &Message,
    task: &TaskSubject,
    (gathered, now): (Gathered, Timestamp),
) -> Result<(), Error> {
    let own = |name: &str| !name.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("nats-"));
    let mut headers: Headers = message.headers.iter().filter(|(name, _)| own(name)).collect();
    if !gathered.going {
        let going = Gathered { going: true, ..gathered };
        let (headers, payload) = (headers.clone(), message.payload.clone());
        let going = waiting(message.subject.clone(), headers, payload, (&going, now), message.sequence);
        broker.streams.publish(going).await?;
    }
    headers.remove(GATHERED);
    let publish = Publish {
        subject: task.task(),
        headers: headers.with(RECHECK, "1"),
        payload: message.payload.clone(),
        message_id: Some(format!("debounce/{}/{}", task.tenant, task.key)),
        ..Publish::default()
    };
    match broker.streams.publish(publish).await {
        // Whoever marked them may have queued them before it died.
        Ok(_) | Err(Error::Occupied { .. }) => {}
        Err(error) => return Err(error),
    }
    debug!(id = %task.key, "gathered calls are a task");
    broker.streams.purge(&message.subject).await.map(drop)
}
