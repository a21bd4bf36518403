//! How often hosts handed a delivery back when they were stopped: the broker counts those as it counts lost leases.
//!
//! One host has a delivery at a time, so that the count needs no compare-and-set; a note that is lost makes a hand-back look
//! like a lost host, which is the safe side.

use serde::{Deserialize, Serialize};

use crate::broker::{Broker, Error, Publish};
use crate::model::{TaskKey, Tenant};
use crate::protocol::subject;

/// The version of this form; another one is not read.
const NOTE_VERSION: u32 = 1;

/// The note of a task.
#[derive(Serialize, Deserialize)]
struct Note {
    v: u32,
    /// The queued message that was handed back, by its place in its stream: each attempt has one of its own.
    message: u64,
    /// How often.
    count: u64,
}

/// How often the task's message at place `message` of its stream was handed back.
///
/// # Errors
/// What the broker fails with.
pub async fn count(broker: &Broker, tenant: &Tenant, key: &TaskKey, message: u64) -> Result<u64, Error> {
    let last = broker.streams.last(&subject::hand_backs(tenant, key)).await?;
    let note = last.and_then(|last| serde_json::from_slice::<Note>(&last.payload).ok());
    Ok(note.filter(|note| note.v == NOTE_VERSION && note.message == message).map_or(0, |note| note.count))
}

/// Notes that it is handed back once more.
///
/// # Errors
/// What the broker fails with.
pub async fn note(broker: &Broker, tenant: &Tenant, key: &TaskKey, message: u64) -> Result<(), Error> {
    let count = count(broker, tenant, key, message).await?.saturating_add(1);
    let note = serde_json::to_vec(&Note { v: NOTE_VERSION, message, count }).unwrap_or_default();
    broker.streams.publish(Publish::new(subject::hand_backs(tenant, key), note)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::memory::Memory;

    #[tokio::test]
    async fn each_message_of_a_task_is_counted_from_none() {
        let (broker, tenant) = (Memory::new().broker(), Tenant::default_tenant());
        let key = |id: &str| TaskKey::Single(id.parse().unwrap());
        let (id, other) = (key("a"), key("b"));
        for expected in 0..3 {
            assert_eq!(count(&broker, &tenant, &id, 7).await.unwrap(), expected);
            note(&broker, &tenant, &id, 7).await.unwrap();
        }
        assert_eq!(count(&broker, &tenant, &id, 8).await.unwrap(), 0, "the next attempt");
        assert_eq!(count(&broker, &tenant, &other, 7).await.unwrap(), 0, "another task");
        note(&broker, &tenant, &id, 8).await.unwrap();
        assert_eq!(count(&broker, &tenant, &id, 8).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_note_of_another_form_counts_for_nothing() {
        let (broker, tenant) = (Memory::new().broker(), Tenant::default_tenant());
        let id = TaskKey::Single("a".parse().unwrap());
        for body in ["", "7", r#"{"v":2,"message":7,"count":3}"#] {
            broker.streams.publish(Publish::new(subject::hand_backs(&tenant, &id), body)).await.unwrap();
            assert_eq!(count(&broker, &tenant, &id, 7).await.unwrap(), 0, "{body}");
        }
    }
}
