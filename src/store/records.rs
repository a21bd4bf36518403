//! The record of a task: one message that is only ever replaced by compare-and-set.

use super::kept;
use crate::broker::{Broker, Error, Publish};
use crate::model::lifecycle::Record;
use crate::model::{TaskId, Tenant};
use crate::protocol::{record, subject};

/// A task's record as it is stored.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// What it says.
    pub record: Record,
    /// Its place in the stream: what a writer expects to replace.
    pub sequence: u64,
}

/// Reads the record of a task; `None` where it has none yet.
///
/// # Errors
/// What the broker fails with, and a record that cannot be read.
pub async fn read(broker: &Broker, tenant: &Tenant, id: &TaskId) -> Result<Option<StoredRecord>, Error> {
    let subject = subject::result(tenant, id);
    let Some(message) = broker.streams.last(&subject).await? else {
        // The window of a key may be longer than results are kept.
        return kept::read(broker, tenant, id).await;
    };
    match record::decode(&message.headers, &message.payload) {
        Ok(record) => Ok(Some(StoredRecord { record, sequence: message.sequence })),
        Err(rejection) => Err(Error::Other(format!("the record on {subject} cannot be read: {rejection}"))),
    }
}

/// Writes a record in place of the one with sequence `expected` (0 for none). A settled one is kept for as long as
/// its stream keeps messages; one of a task that goes on, until it is replaced.
///
/// # Errors
/// [`Error::Conflict`] where another record is there, and what the broker fails with.
pub async fn write(broker: &Broker, tenant: &Tenant, id: &TaskId, record: &Record, expected: u64) -> Result<(), Error> {
    let (headers, payload) = record::encode(record);
    let publish = Publish {
        subject: subject::result(tenant, id),
        headers,
        payload,
        expect: Some(expected),
        lasting: matches!(record, Record::Retrying { .. }),
        ..Publish::default()
    };
    broker.streams.publish(publish).await.map(drop)
}
