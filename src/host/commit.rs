//! Commits what a task ends with: compare-and-set of its record, then the schedule of the next attempt where there is one.
//!
//! **Invariant:** a record is stored before anything that follows from it is published.

use crate::broker::patience::Patience;
use crate::broker::{Broker, Publish, Schedule};
use crate::model::lifecycle::{Record, Standing, standing};
use crate::model::{TaskId, Tenant, Timestamp};
use crate::protocol::subject::{self, TaskSubject};
use crate::protocol::task::TaskMessage;
use crate::store::records;

/// What became of a record that a host wanted to write.
#[derive(Debug, PartialEq)]
pub(super) enum Written {
    /// It is the task's record now.
    Committed,
    /// Another one was there first.
    Lost(Standing),
}

/// Writes `record` for `attempt`, for as long as it takes, in place of the one with sequence `expected` (0 for none; `None` to
/// look first). A conflict is decided by what is stored.
pub(super) async fn commit(
    broker: &Broker,
    (tenant, id): (&Tenant, &TaskId),
    attempt: u32,
    record: &Record,
    mut expected: Option<u64>,
) -> Written {
    loop {
        if let Some(expected) = expected {
            let write = || records::write(broker, tenant, id, record, expected);
            if Patience::default().insist("commit the outcome", write).await.is_ok() {
                return Written::Committed;
            }
        }
        let read = || records::read(broker, tenant, id);
        let Ok(winner) = Patience::default().insist("read the record", read).await else { continue };
        match standing(attempt, winner.as_ref().map(|winner| &winner.record)) {
            Standing::Current => expected = Some(winner.map_or(0, |winner| winner.sequence)),
            lost @ (Standing::Superseded { .. } | Standing::Over) => return Written::Lost(lost),
        }
    }
}

/// Publishes the schedule of attempt `next`, due at `due`; again and again until it is stored. Repeating it changes nothing.
pub(super) async fn schedule(broker: &Broker, task: &TaskSubject, message: &TaskMessage, next: u32, due: Timestamp) {
    let message = TaskMessage { attempt: next, recheck: true, ..message.clone() };
    let publish = scheduled(task, &message, due);
    // A schedule takes the place of one that is there, so neither conflict nor occupied subject can be the answer.
    drop(Patience::default().insist("schedule the next attempt", || broker.streams.publish(publish.clone())).await);
}

/// A task message that is queued when it is due.
fn scheduled(task: &TaskSubject, message: &TaskMessage, due: Timestamp) -> Publish {
    let (headers, payload) = message.encode();
    Publish {
        subject: subject::schedule(&task.tenant, &task.key),
        headers,
        payload,
        schedule: Some(Schedule { at: due, target: task.fire() }),
        ..Publish::default()
    }
}
