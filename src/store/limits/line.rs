//! The line of a limit: who is invited when, and the bell that sees to it when nobody else does.

use futures::StreamExt as _;
use tracing::{debug, warn};

use super::{Stored, read, write};
use crate::broker::patience::Patience;
use crate::broker::{Broker, Error, Message, Publish, Schedule, Start};
use crate::model::limit::ledger::Ledger;
use crate::model::{TaskKey, Tenant};
use crate::protocol::task::RECHECK;
use crate::protocol::{limit, subject};

/// Tasks of a line that are looked at together: each may carry an input of 128 KiB.
const LOOKED_AT_MAX: usize = 64;

/// How often a turn goes on when more may be invited, or others change the limit at the same time; then the bell does.
const ROUNDS_MAX: u32 = 64;

/// Places whose tasks are looked for in one turn.
const DOUBTFUL_MAX: usize = 16;

/// Sets the bell of a limit. A bell takes the place of the one before it.
pub async fn ring(broker: &Broker, tenant: &Tenant, ledger: &Ledger) {
    let Some(at) = ledger.bell else { return };
    let token = ledger.limit.token();
    let schedule = Some(Schedule { at, target: limit::ring(tenant, &token) });
    let publish = Publish { schedule, ..Publish::new(limit::bell(tenant, &token), "") };
    drop(Patience::default().insist("set a bell", || broker.streams.publish(publish.clone())).await);
}

/// Invites those of a line who may come now, and sets the bell for the others. A broker that is away is waited for.
///
/// # Errors
/// What the broker fails with for good, and a record that cannot be read.
pub async fn turn(broker: &Broker, tenant: &Tenant, token: &str) -> Result<(), Error> {
    for _ in 0..ROUNDS_MAX {
        match Patience::default().retry("look after a line", || once(broker, tenant, token)).await {
            // Somebody else changed the limit meanwhile.
            Ok(true) | Err(Error::Conflict { .. }) => {}
            Ok(false) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    debug!(token, "left a line to its bell");
    Ok(())
}

/// One round; whether another one may find more to do.
async fn once(broker: &Broker, tenant: &Tenant, token: &str) -> Result<bool, Error> {
    let Some(Stored { ledger, sequence }) = read(broker, tenant, token).await? else { return Ok(false) };
    let now = broker.clock.now();
    let mut next = ledger.clone();
    next.rang(now);
    for task in ledger.doubtful(now, DOUBTFUL_MAX) {
        let there = is_there(broker, tenant, &task).await?;
        next.looked(&task, there, now);
    }
    let (line, whole) = head(broker, tenant, token).await?;
    let tasks: Vec<String> = line.iter().map(|(task, _)| task.clone()).collect();
    let invited = next.invite(&tasks, whole, now);
    let rings = next.waiting && next.waits(now);
    if next != ledger {
        write(broker, tenant, &next, sequence).await?;
    }
    if rings {
        ring(broker, tenant, &next).await;
    }
    let mut all = true;
    for (task, message) in &line {
        if invited.contains(task) {
            all &= invite(broker, message).await?;
        }
    }
    if !all {
        try_soon(broker, tenant, token).await?;
        return Ok(false);
    }
    Ok(next.waiting && !invited.is_empty() && next.invitations(broker.clock.now()) > 0)
}

/// The first ones of a line, in order, and whether nobody waits behind them.
async fn head(broker: &Broker, tenant: &Tenant, token: &str) -> Result<(Vec<(String, Message)>, bool), Error> {
    let mut messages = broker.streams.read(&limit::line_of(tenant, token), Start::Sequence(1), false).await?;
    let mut line = Vec::new();
    while let Some(message) = messages.next().await {
        if line.len() == LOOKED_AT_MAX {
            return Ok((line, false));
        }
        let message = message?;
        match limit::read_line(&message.subject) {
            Some((_, task)) => line.push((task.key.to_string(), message)),
            None => warn!(subject = message.subject, "a line holds a message whose subject names no task"),
        }
    }
    Ok((line, true))
}

/// Queues a task that waited; `false` where it stays in the line: its queue is full, or the delivery that was parked is not
/// finished yet and would take the new message with it.
async fn invite(broker: &Broker, message: &Message) -> Result<bool, Error> {
    let Some((_, task)) = limit::read_line(&message.subject) else { return Ok(true) };
    let own = |name: &str| !name.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("nats-"));
    let headers = message.headers.iter().filter(|(name, _)| own(name)).collect::<crate::protocol::Headers>();
    let publish = Publish {
        subject: task.task(),
        headers: headers.with(RECHECK, "1"),
        payload: message.payload.clone(),
        // An invitation that is sent twice is queued once, even if its task was fast.
        message_id: Some(format!("line/{}/{}", task.key, message.sequence)),
        ..Publish::default()
    };
    match broker.streams.publish(publish).await {
        Ok(_) => {}
        Err(Error::Full { .. } | Error::Occupied { .. }) => return Ok(false),
        Err(error) => return Err(error),
    }
    broker.streams.purge(&message.subject).await?;
    Ok(true)
}

async fn try_soon(broker: &Broker, tenant: &Tenant, token: &str) -> Result<(), Error> {
    let Some(Stored { mut ledger, sequence }) = read(broker, tenant, token).await? else { return Ok(()) };
    ledger.soon(broker.clock.now());
    write(broker, tenant, &ledger, sequence).await?;
    ring(broker, tenant, &ledger).await;
    Ok(())
}

/// Whether a task with a place is still to be found anywhere.
async fn is_there(broker: &Broker, tenant: &Tenant, task: &str) -> Result<bool, Error> {
    let Some(key) = TaskKey::read(task) else { return Ok(false) };
    // In the order in which a task moves, so that one that moves meanwhile is found.
    let places = [
        limit::line_anywhere(tenant, &key),
        subject::schedule(tenant, &key),
        subject::fire_anywhere(tenant, &key),
        subject::task_anywhere(tenant, &key),
    ];
    for place in places {
        if broker.streams.last(&place).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
