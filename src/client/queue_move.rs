//! Moving queued tasks to another queue: each is taken as a host takes it, queued again, and acknowledged.
//!
//! Whoever has a delivery is the only one who may run the task, so that nobody runs it while it is moved. If this ends in the
//! middle, what it had taken is delivered again when its lease is over, and the host that gets it looks whether the same task was
//! queued later somewhere else: then it leaves it to whoever has that.
//!
//! **Invariant:** a task is acknowledged in its old queue only when it is in the new one.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::{Client, Error};
use crate::broker::{self, Delivery, Publish};
use crate::model::Queue;
use crate::protocol::subject::{Band, Priority, TaskSubject};
use crate::protocol::task::{RECHECK, TaskMessage};
use crate::store::queues;

/// Tasks that are in hand at a time: each is a message in memory.
const IN_HAND_MAX: usize = 64;

/// How long a task belongs to whoever moves it, where no host has decided that of the queue.
const LEASE: Duration = Duration::from_secs(20);

/// How often an acknowledgement is tried.
const FINISHES_MAX: u32 = 3;

/// Which tasks are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoveFilter {
    /// At most so many; all that wait where it is not given.
    pub count_max: Option<u64>,
    /// Only those with this priority.
    pub priority: Option<Priority>,
}

/// What stopped a move, and how far it had come.
#[derive(Clone, Debug)]
pub struct MoveStopped {
    /// Tasks that were moved before.
    pub moved: u64,
    /// What the broker failed with; the rest is in the old queue.
    pub error: Error,
}

impl Client {
    /// Moves tasks that wait in `from` to `to`, urgent ones first. They keep their ids, attempts, inputs, priorities and
    /// requirements; what hosts run is left. How many were moved.
    ///
    /// # Errors
    /// That both are the same queue, and what the broker fails with, as when `to` is full: what was moved before stays there, and
    /// the same call goes on with the rest.
    pub async fn move_queue(&self, from: &Queue, to: &Queue, filter: &MoveFilter) -> Result<u64, MoveStopped> {
        let mut moved = 0;
        match self.move_all(from, to, filter, &mut moved).await {
            Ok(()) => Ok(moved),
            Err(error) => Err(MoveStopped { moved, error }),
        }
    }

    async fn move_all(&self, from: &Queue, to: &Queue, filter: &MoveFilter, moved: &mut u64) -> Result<(), Error> {
        if from == to {
            return Err(Error::Refused(format!("{from} cannot be moved to itself")));
        }
        let bands = self.bands(from).await?;
        if bands.is_empty() {
            return Err(Error::QueueNotFound(from.clone()));
        }
        let wanted = |band: &Band| filter.priority.is_none_or(|priority| band.priority == priority);
        for (band, lease) in bands.into_iter().filter(|(band, _)| wanted(band)) {
            let lease = lease.unwrap_or(LEASE);
            let mut visits = self.broker.queues.visit(&queues::consumer(&self.tenant, from, &band, lease)).await?;
            loop {
                let left = filter.count_max.map_or(u64::MAX, |max| max.saturating_sub(*moved));
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(IN_HAND_MAX);
                let taken = visits.take(count).await?.deliveries;
                if taken.is_empty() {
                    break;
                }
                let begun = Instant::now();
                let each = taken.into_iter().map(|delivery| self.move_one(delivery, to, begun + lease / 2));
                let mut failed = None;
                for result in join_all(each).await {
                    match result {
                        Ok(()) => *moved = moved.saturating_add(1),
                        Err(error) => failed = Some(error),
                    }
                }
                if let Some(error) = failed {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Queues a task in `to` and takes it out of where it was, if that can be done before `until`.
    async fn move_one(&self, delivery: Delivery, to: &Queue, until: Instant) -> Result<(), Error> {
        let Delivery { message, lease, .. } = delivery;
        let Some(old) = TaskSubject::read(&message.subject) else {
            // No host can do anything with it either: it stays for one to drop.
            return Ok(lease.hand_back(Duration::ZERO).await?);
        };
        let requires =
            TaskMessage::decode(&message.headers, &message.payload).map(|task| task.signature.options.requires);
        let new = TaskSubject { queue: to.clone(), ..old };
        let put = async {
            self.marks.note(&self.broker, &self.tenant, to, &requires.unwrap_or_default()).await?;
            let publish = Publish {
                subject: new.task(),
                headers: message.headers.with(RECHECK, "1"),
                payload: message.payload,
                message_id: Some(format!("move/{}/{}/{to}/{}", new.tenant, new.key, message.sequence)),
                ..Publish::default()
            };
            match self.broker.streams.publish(publish).await {
                // It is there: an earlier move was not acknowledged.
                Ok(_) | Err(broker::Error::Occupied { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        let put = tokio::time::timeout_at(until, put).await.unwrap_or_else(|_| {
            Err(broker::Error::Unavailable("the broker took longer than half of a lease to move a task".to_owned()))
        });
        if let Err(error) = put {
            // If this fails the lease runs out, which comes to the same a little later.
            drop(lease.hand_back(Duration::ZERO).await);
            return Err(error.into());
        }
        for _ in 0..FINISHES_MAX {
            if lease.finish().await.is_ok() {
                break;
            }
        }
        Ok(())
    }
}
