//! Writing the journals of runs, and the entries of runs in lists.

use super::run_values;
use super::values::Missing;
use crate::broker::{Broker, Error, Publish};
use crate::model::{RunId, Tenant};
use crate::workflow::Event;
use crate::workflow::wire::{self, Entry, RecordName};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was written, at this sequence.
    Now(u64),
    /// Its place was taken: by itself, when its acknowledgement was lost, or by the same record of another writer.
    Before,
}

/// Writes a record, whose large values are stored first. It is written once: a second one in its place is not.
///
/// # Errors
/// A value that cannot be had, and what the broker fails with.
pub async fn write(
    broker: &Broker,
    tenant: &Tenant,
    run: &RunId,
    name: &RecordName,
    mut event: Event,
) -> Result<Written, Missing> {
    run_values::slim(broker, tenant, run, &mut event).await?;
    let (headers, payload) = wire::encode(&event).unwrap_or_default();
    let publish =
        Publish { subject: name.subject(tenant, run), headers, payload, expect: Some(0), ..Publish::default() };
    match broker.streams.publish(publish).await {
        Ok(stored) => Ok(Written::Now(stored.sequence)),
        Err(Error::Conflict { .. }) => Ok(Written::Before),
        Err(error) => Err(error.into()),
    }
}

/// Writes the entry of a run, unless one that is newer is there. `expected` is the sequence of the entry that it replaces,
/// where that is known. Says which one is there now.
///
/// # Errors
/// What the broker fails with.
pub async fn list(broker: &Broker, tenant: &Tenant, entry: &Entry, mut expected: Option<u64>) -> Result<u64, Error> {
    let subject = Entry::subject(tenant, &entry.run);
    loop {
        let expect = match expected {
            Some(expected) => expected,
            None => match broker.streams.last(&subject).await? {
                None => 0,
                Some(message) => match Entry::decode(&message.payload) {
                    Ok(there) if there.sequence > entry.sequence || there == *entry => return Ok(message.sequence),
                    // What cannot be read says nothing to anyone.
                    Ok(_) | Err(_) => message.sequence,
                },
            },
        };
        let publish = Publish { expect: Some(expect), ..Publish::new(subject.clone(), entry.encode()) };
        match broker.streams.publish(publish).await {
            Ok(stored) => return Ok(stored.sequence),
            Err(Error::Conflict { .. }) => expected = None,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::memory::Memory;
    use crate::model::{Datum, Timestamp};
    use crate::workflow::journal::{RunLimits, Start};
    use crate::workflow::wire::RunState;

    fn start() -> Start {
        Start {
            core_version: 1,
            run: "01jd0000000000000000000007".parse().unwrap(),
            flow: None,
            pin: None,
            document: Datum::null(),
            input: None,
            pins: crate::workflow::journal::Pins::default(),
            labels: std::collections::BTreeMap::new(),
            parent: None,
            limits: RunLimits::default(),
        }
    }

    #[tokio::test]
    async fn a_record_is_written_once() {
        let (broker, tenant, start) = (Memory::new().broker(), Tenant::default_tenant(), start());
        let write = || write(&broker, &tenant, &start.run, &RecordName::Start, Event::Start(start.clone().into()));
        assert_eq!(write().await.unwrap(), Written::Now(1));
        assert_eq!(write().await.unwrap(), Written::Before);
    }

    #[tokio::test]
    async fn an_older_entry_never_takes_the_place_of_a_newer() {
        let (broker, tenant) = (Memory::new().broker(), Tenant::default_tenant());
        let begun = Entry::begun(&start(), Timestamp::from_millis(1), 1);
        let ended = begun.clone().at(RunState::Succeeded, 9);
        let first = list(&broker, &tenant, &begun, Some(0)).await.unwrap();
        list(&broker, &tenant, &ended, Some(first)).await.unwrap();
        for expected in [None, Some(0), Some(first)] {
            list(&broker, &tenant, &begun, expected).await.unwrap();
            let there = broker.streams.last(&Entry::subject(&tenant, &begun.run)).await.unwrap().unwrap();
            assert_eq!(Entry::decode(&there.payload).unwrap(), ended);
        }
    }
}
