//! Keeping the outcomes of tasks that were submitted under a key until the key's window ends: results are gone after a day.

use super::records::StoredRecord;
use crate::broker::patience::Patience;
use crate::broker::{Broker, Error, Publish};
use crate::model::lifecycle::{Record, Settled};
use crate::model::{TaskId, Tenant, once};
use crate::protocol::{once as wire, record};

/// Keeps how a task ended, for as long as it takes to store that; nothing if it has no key. What is kept stays as it is.
pub async fn keep(broker: &Broker, tenant: &Tenant, id: &TaskId, settled: &Settled) {
    let Some(ttl) = once::keep_for(id, broker.clock.now()) else { return };
    let (headers, payload) = record::encode(&Record::Settled(settled.clone()));
    let subject = wire::kept(tenant, id);
    let publish = Publish { subject, headers, payload, expect: Some(0), ttl: Some(ttl), ..Publish::default() };
    drop(Patience::default().insist("keep an outcome", || broker.streams.publish(publish.clone())).await);
}

/// How a task with a key ended; `None` where that is not kept.
///
/// # Errors
/// What the broker fails with, and a record that cannot be read.
pub(super) async fn read(broker: &Broker, tenant: &Tenant, id: &TaskId) -> Result<Option<StoredRecord>, Error> {
    if once::until(id).is_none() {
        return Ok(None);
    }
    let subject = wire::kept(tenant, id);
    let Some(message) = broker.streams.last(&subject).await? else { return Ok(None) };
    match record::decode(&message.headers, &message.payload) {
        // It stands in another stream: nobody may replace it, and nobody does, since it is settled.
        Ok(record) => Ok(Some(StoredRecord { record, sequence: 0 })),
        Err(rejection) => Err(Error::Other(format!("the record on {subject} cannot be read: {rejection}"))),
    }
}
