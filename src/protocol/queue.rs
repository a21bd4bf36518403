//! What an operator has decided of a queue, on `lvg.<t>.queue.<name>`, as JSON. A queue without a record is served.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Rejection, versioned};
use crate::model::limit::Rule;
use crate::model::schedule::Paused;
use crate::model::{Queue, Tenant};

/// The version of the form that this code writes.
pub const RECORD_VERSION: u32 = 1;

/// What was decided of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    /// The version of this form.
    pub v: u32,
    /// The queue.
    pub queue: Queue,
    /// Whether hosts take nothing from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// How many of its tasks start and run, over all hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Rule>,
}

impl QueueRecord {
    /// The body of the record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("queue record", RECORD_VERSION, body)
    }
}

/// `lvg.<t>.queue.<name>`: the record of a queue.
#[must_use]
pub fn subject(tenant: &Tenant, queue: &Queue) -> String {
    format!("lvg.{tenant}.queue.{queue}")
}

/// `lvg.<t>.queue.*`: the records of all queues of a tenant.
#[must_use]
pub fn all(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.queue.*")
}

/// The name of the consumer that hands out the tasks of a queue.
#[must_use]
pub fn consumer_name(queue: &Queue) -> String {
    format!("queue-{queue}")
}

/// The queue whose tasks a consumer hands out.
#[must_use]
pub fn of_consumer(name: &str) -> Option<Queue> {
    name.strip_prefix("queue-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_record_has_a_golden_form() {
        let paused = Some(Paused { since: Timestamp::from_millis(4), note: "disk".to_owned() });
        let record = QueueRecord { v: 1, queue: "images".parse().unwrap(), paused, limit: None };
        let golden = r#"{"v":1,"queue":"images","paused":{"since":4,"note":"disk"}}"#;
        assert_eq!(record.encode(), golden);
        assert_eq!(QueueRecord::decode(&Bytes::from_static(golden.as_bytes())), Ok(record));
        assert!(QueueRecord::decode(&Bytes::from_static(br#"{"v":2}"#)).unwrap_err().to_string().contains("update it"));
        let limit = Some(Rule { concurrency: Some(5), ..Rule::default() });
        let open = QueueRecord { v: 1, queue: "q".parse().unwrap(), paused: None, limit };
        assert_eq!(open.encode(), r#"{"v":1,"queue":"q","limit":{"concurrency":5}}"#);
        assert_eq!(QueueRecord::decode(&open.encode()), Ok(open));
    }

    #[test]
    fn the_name_of_a_consumer_tells_its_queue() {
        let queue: Queue = "images".parse().unwrap();
        assert_eq!(of_consumer(&consumer_name(&queue)), Some(queue));
        assert_eq!(of_consumer("mover"), None);
    }
}
