//! What is decided of a queue, as JSON: by an operator on `lvg.<t>.queue.<name>`, and by the first task with a requirement of its
//! own on `lvg.<t>.queue.<name>.<mark>`. A queue without a record is served by every host that names it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::subject::Band;
use super::{Rejection, versioned};
use crate::model::limit::Rule;
use crate::model::schedule::Paused;
use crate::model::{Labels, Mark, Queue, Tenant};

/// The version of the forms that this code writes.
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
    /// Labels that a host must have to take from it.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub requires: Labels,
    /// How many of its tasks start and run, over all hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Rule>,
}

/// What tasks in a queue require that carry a certain mark. Written once, before the first such task, and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRecord {
    /// The version of this form.
    pub v: u32,
    /// The queue.
    pub queue: Queue,
    /// Labels that a host must have.
    pub requires: Labels,
}

/// A record of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// What an operator decided of a queue.
    Queue(QueueRecord),
    /// What tasks with a mark require.
    Mark(MarkRecord),
}

impl QueueRecord {
    /// The record of a queue of which nothing was decided.
    #[must_use]
    pub const fn new(queue: Queue) -> Self {
        Self { v: RECORD_VERSION, queue, paused: None, limit: None, requires: Labels::new() }
    }

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

impl MarkRecord {
    /// What tasks in `queue` require.
    #[must_use]
    pub const fn new(queue: Queue, requires: Labels) -> Self {
        Self { v: RECORD_VERSION, queue, requires }
    }

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
        versioned::read("requirement record", RECORD_VERSION, body)
    }
}

impl Decided {
    /// Reads a record of either kind, told apart by its subject.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn read(subject: &str, body: &Bytes) -> Result<Self, Rejection> {
        // `lvg.<t>.queue.<name>` has four tokens.
        if subject.split('.').count() > 4 {
            MarkRecord::decode(body).map(Self::Mark)
        } else {
            QueueRecord::decode(body).map(Self::Queue)
        }
    }
}

/// `lvg.<t>.queue.<name>`: the record of a queue.
#[must_use]
pub fn subject(tenant: &Tenant, queue: &Queue) -> String {
    format!("lvg.{tenant}.queue.{queue}")
}

/// `lvg.<t>.queue.<name>.<mark>`: what tasks with a mark require.
#[must_use]
pub fn mark_subject(tenant: &Tenant, queue: &Queue, mark: &Mark) -> String {
    format!("lvg.{tenant}.queue.{queue}.{mark}")
}

/// `lvg.<t>.queue.<name>.*`: what tasks in a queue require.
#[must_use]
pub fn marks(tenant: &Tenant, queue: &Queue) -> String {
    format!("lvg.{tenant}.queue.{queue}.*")
}

/// `lvg.<t>.queue.>`: the records of all queues of a tenant.
#[must_use]
pub fn all(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.queue.>")
}

/// The name of the consumer that hands out the tasks of a band of a queue.
#[must_use]
pub fn consumer_name(queue: &Queue, band: &Band) -> String {
    if *band == Band::PLAIN { format!("queue-{queue}") } else { format!("band-{band}-{queue}") }
}

/// The queue and the band whose tasks a consumer hands out.
#[must_use]
pub fn of_consumer(name: &str) -> Option<(Queue, Band)> {
    if let Some(queue) = name.strip_prefix("queue-") {
        return Some((queue.parse().ok()?, Band::PLAIN));
    }
    let (band, queue) = name.strip_prefix("band-")?.split_once('-')?;
    Some((queue.parse().ok()?, Band::read(band)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_record_has_a_golden_form() {
        let paused = Some(Paused { since: Timestamp::from_millis(4), note: "disk".to_owned() });
        let record = QueueRecord { paused, ..QueueRecord::new("images".parse().unwrap()) };
        let golden = r#"{"v":1,"queue":"images","paused":{"since":4,"note":"disk"}}"#;
        assert_eq!(record.encode(), golden);
        assert_eq!(QueueRecord::decode(&Bytes::from_static(golden.as_bytes())), Ok(record));
        assert!(QueueRecord::decode(&Bytes::from_static(br#"{"v":2}"#)).unwrap_err().to_string().contains("update it"));
        let limit = Some(Rule { concurrency: Some(5), ..Rule::default() });
        let limited = QueueRecord { limit, ..QueueRecord::new("q".parse().unwrap()) };
        assert_eq!(limited.encode(), r#"{"v":1,"queue":"q","limit":{"concurrency":5}}"#);
        assert_eq!(QueueRecord::decode(&limited.encode()), Ok(limited));
        let open = QueueRecord::new("q".parse().unwrap());
        assert_eq!(QueueRecord::decode(&open.encode()), Ok(open.clone()));
        let requires = Labels::from([("gpu".to_owned(), "yes".to_owned())]);
        let golden = Bytes::from_static(br#"{"v":1,"queue":"q","requires":{"gpu":"yes"}}"#);
        let record = QueueRecord { requires: requires.clone(), ..open };
        assert_eq!(record.encode(), golden);
        assert_eq!(Decided::read("lvg.t.queue.q", &golden), Ok(Decided::Queue(record)));
        let mark = MarkRecord::new("q".parse().unwrap(), requires);
        assert_eq!(mark.encode(), golden);
        assert_eq!(Decided::read("lvg.t.queue.q.0123456789ab", &golden), Ok(Decided::Mark(mark)));
    }

    #[test]
    fn the_name_of_a_consumer_tells_its_queue_and_band() {
        for queue in ["images", "a-b", "5"] {
            let queue: Queue = queue.parse().unwrap();
            for band in ["5", "9", "0~0123456789ab"] {
                let band = Band::read(band).unwrap();
                assert_eq!(of_consumer(&consumer_name(&queue, &band)), Some((queue.clone(), band)));
            }
        }
        for bad in ["mover", "queue-", "band-9", "band-10-q", "band-x-q"] {
            assert_eq!(of_consumer(bad), None, "{bad}");
        }
    }
}
